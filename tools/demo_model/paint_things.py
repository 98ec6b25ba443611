"""Draws what stands in a landscape: trees, pines, cacti, houses and boats.

Each thing is given by where it touches the ground (x, y) and its height, in canvas pixels.
"""

from __future__ import annotations

import numpy as np
from PIL import ImageDraw

from tools.demo_model.paint_sky import disc
from tools.demo_model.palette import COLORS, RGB, lit, mix

LEAVES: dict[str, RGB] = {
    "green": (52, 150, 62),
    "orange": (236, 130, 34),
    "pink": (246, 160, 192),
    "red": (206, 50, 44),
    "yellow": (240, 200, 50),
}


def tree(draw: ImageDraw.ImageDraw, x: float, y: float, height: float, color: str, time: str) -> None:
    """A round-crowned tree."""
    leaf, shade = lit(LEAVES[color], time), lit(mix(LEAVES[color], (0, 40, 30), 0.22), time)
    trunk = lit((112, 72, 42), time)
    w = height * 0.065
    draw.polygon([(x - w, y), (x + w, y), (x + w * 0.7, y - height * 0.5), (x - w * 0.7, y - height * 0.5)], fill=trunk)
    for dx, dy, r in ((-0.17, 0.52, 0.2), (0.18, 0.52, 0.2), (0.0, 0.6, 0.25)):
        disc(draw, x + dx * height, y - dy * height, r * height, shade)
    for dx, dy, r in ((-0.12, 0.62, 0.18), (0.12, 0.64, 0.17), (0.0, 0.78, 0.2)):
        disc(draw, x + dx * height, y - dy * height, r * height, leaf)


def pine(draw: ImageDraw.ImageDraw, x: float, y: float, height: float, time: str, snowy: bool) -> None:
    """A pine of three tiers, snow on them when `snowy`."""
    leaf = lit((26, 104, 74), time)
    shade = lit((20, 82, 62), time)
    w = height * 0.05
    draw.rectangle((x - w, y - height * 0.16, x + w, y), fill=lit((96, 62, 40), time))
    for bottom, top, half in ((0.12, 0.56, 0.28), (0.36, 0.78, 0.22), (0.6, 1.0, 0.16)):
        apex, foot, h = y - height * top, y - height * bottom, half * height
        draw.polygon([(x, apex), (x + h, foot), (x - h, foot)], fill=shade)
        draw.polygon([(x, apex), (x + h * 0.2, foot), (x - h, foot)], fill=leaf)
        if snowy:
            cap = (foot - apex) * 0.42
            edge = [(0.42, 1.0), (0.14, 0.74), (-0.1, 1.05), (-0.42, 1.0)]
            draw.polygon([(x, apex), *[(x + h * a, apex + cap * b) for a, b in edge]], fill=lit((244, 248, 255), time))


def cactus(draw: ImageDraw.ImageDraw, x: float, y: float, height: float, time: str) -> None:
    """A saguaro with two arms."""
    green = lit((58, 142, 72), time)
    w, arm = height * 0.1, height * 0.075
    draw.rounded_rectangle((x - w, y - height, x + w, y + 1), w, fill=green)
    for sign, low, high in ((-1, 0.38, 0.72), (1, 0.5, 0.84)):
        outer = x + sign * height * 0.3
        left, right = min(x, outer), max(x, outer)
        draw.rounded_rectangle((left - arm, y - height * low - arm * 2, right + arm, y - height * low), arm, fill=green)
        draw.rounded_rectangle((outer - arm, y - height * high, outer + arm, y - height * low), arm, fill=green)


def house(draw: ImageDraw.ImageDraw, x: float, y: float, height: float, color: str, time: str, snowy: bool) -> None:
    """A house with a gabled roof, a door, two windows (lit at night) and a chimney."""
    wall = lit(mix(COLORS[color], (255, 255, 255), 0.08), time)
    roof_color: RGB = (96, 58, 48) if color in ("red", "orange", "pink", "purple") else (178, 70, 52)
    roof = lit((244, 248, 255) if snowy else roof_color, time)
    glass: RGB = (255, 226, 110) if time == "night" else lit((176, 222, 244), time)
    frame = lit((252, 250, 244) if color not in ("white",) else (120, 110, 104), time)
    half, eave, top = height * 0.46, y - height * 0.58, y - height
    draw.rectangle((x + half * 0.42, top, x + half * 0.66, eave), fill=lit((120, 84, 72), time))
    draw.rectangle((x - half, eave, x + half, y), fill=wall)
    draw.polygon(
        [(x, top), (x + half * 1.22, eave + height * 0.03), (x - half * 1.22, eave + height * 0.03)], fill=roof
    )
    access_control = height * 0.085
    draw.rectangle((x - access_control, y - height * 0.32, x + access_control, y), fill=lit((92, 56, 36), time))
    for sign in (-1, 1):
        cx, cy, r = x + sign * half * 0.62, y - height * 0.34, height * 0.085
        draw.rectangle((cx - r * 1.25, cy - r * 1.25, cx + r * 1.25, cy + r * 1.25), fill=frame)
        draw.rectangle((cx - r, cy - r, cx + r, cy + r), fill=glass)


def boat(draw: ImageDraw.ImageDraw, x: float, y: float, height: float, color: str, time: str) -> None:
    """A sailing boat with two sails of `color`."""
    hull = lit((134, 66, 40), time)
    sail = lit(COLORS[color], time)
    jib = lit(mix(COLORS[color], (120, 120, 130), 0.18), time)
    deck = y - height * 0.16
    draw.polygon(
        [(x - height * 0.4, deck), (x + height * 0.42, deck), (x + height * 0.28, y), (x - height * 0.26, y)], fill=hull
    )
    w = height * 0.018
    draw.rectangle((x - w, y - height, x + w, deck), fill=lit((84, 54, 36), time))
    draw.polygon(
        [
            (x + w * 1.6, y - height * 0.98),
            (x + w * 1.6, deck - height * 0.05),
            (x + height * 0.38, deck - height * 0.05),
        ],
        fill=sail,
    )
    draw.polygon(
        [
            (x - w * 1.6, y - height * 0.88),
            (x - w * 1.6, deck - height * 0.05),
            (x - height * 0.32, deck - height * 0.05),
        ],
        fill=jib,
    )


def positions(count: int, low: float, high: float, rng: np.random.Generator) -> list[float]:
    """`count` places spread over [low, high] with some disorder, in drawing order from left to right."""
    step = (high - low) / count
    return [low + step * (k + 0.5 + float(rng.uniform(-0.22, 0.22))) for k in range(count)]

"""Draws the far half of a landscape: sky, sun, moon, stars, clouds, mountains and hills.

Lengths named *_share are shares of the picture's shorter side; everything else is in canvas pixels.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from tools.demo_model.palette import RGB, SKIES, jitter, lit, mix
from tools.demo_model.scene import Landscape


def sky(width: int, height: int, horizon: float, scene: Landscape, rng: np.random.Generator) -> Image.Image:
    """The gradient of the hour from the zenith to the horizon, `width` × `height`."""
    stops = SKIES["overcast" if scene.clouds == "overcast" and scene.time == "day" else scene.time]
    colors = np.array([jitter(stop, rng, 7) for stop in stops], dtype=np.float32)
    depth = np.clip(np.arange(height) / max(horizon, 1.0), 0, 1)
    column = np.stack([np.interp(depth, (0.0, 0.55, 1.0), colors[:, c]) for c in range(3)], axis=1)
    picture = np.repeat(column[:, None, :], width, axis=1).round().astype(np.uint8)
    return Image.fromarray(picture)


def disc(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, color: RGB) -> None:
    """A filled circle."""
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)


def sky_color(canvas: Image.Image, x: float, y: float) -> RGB:
    """The colour already on the canvas at (x, y), clamped to it: what a halo fades into."""
    px = min(max(int(x), 0), canvas.width - 1)
    py = min(max(int(y), 0), canvas.height - 1)
    value = canvas.getpixel((px, py))
    assert isinstance(value, tuple)
    return (int(value[0]), int(value[1]), int(value[2]))


def stars(draw: ImageDraw.ImageDraw, width: int, bottom: float, side: int, rng: np.random.Generator) -> None:
    """Dots and a few four-pointed stars, large enough to survive an 8-fold encoder."""
    for _ in range(int(rng.integers(26, 42))):
        x, y = rng.uniform(0, width), rng.uniform(0, bottom)
        disc(draw, x, y, side * float(rng.uniform(0.005, 0.0085)), (250, 246, 214))
    for _ in range(int(rng.integers(4, 9))):
        x, y = float(rng.uniform(0.03, 0.97)) * width, float(rng.uniform(0.03, 0.95)) * bottom
        r = side * float(rng.uniform(0.018, 0.028))
        points = []
        for k in range(8):
            length = r if k % 2 == 0 else r * 0.34
            points.append((x + length * math.cos(k * math.pi / 4), y + length * math.sin(k * math.pi / 4)))
        draw.polygon(points, fill=(255, 252, 226))


def sun(
    canvas: Image.Image, draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, scene: Landscape, rays: bool
) -> None:
    """The sun with its glow; `rays` draws the flat-illustration rays of a day sun."""
    color: RGB = {"day": (255, 222, 58), "sunset": (255, 226, 120), "sunrise": (255, 240, 150)}[scene.time]
    behind = sky_color(canvas, x, y)
    for factor, amount in ((1.9, 0.25), (1.45, 0.45)):
        disc(draw, x, y, radius * factor, mix(behind, color, amount))
    if rays:
        for k in range(12):
            a = k * math.pi / 6
            tip = (x + radius * 1.75 * math.cos(a), y + radius * 1.75 * math.sin(a))
            foot = [(x + radius * 1.1 * math.cos(a + s), y + radius * 1.1 * math.sin(a + s)) for s in (-0.16, 0.16)]
            draw.polygon([tip, *foot], fill=color)
    disc(draw, x, y, radius, color)


def moon(canvas: Image.Image, draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, kind: str) -> None:
    """A full moon with craters, or a crescent cut out of it; both with a glow."""
    color: RGB = (246, 240, 208)
    behind = sky_color(canvas, x, y)
    glow = mix(behind, color, 0.16)
    disc(draw, x, y, radius * 1.5, glow)
    disc(draw, x, y, radius, color)
    if kind == "crescent":
        disc(draw, x + radius * 0.46, y - radius * 0.18, radius * 0.84, glow)
        return
    for dx, dy, r in ((-0.35, -0.2, 0.2), (0.3, 0.3, 0.24), (0.25, -0.42, 0.13), (-0.25, 0.45, 0.12)):
        disc(draw, x + dx * radius, y + dy * radius, r * radius, (222, 214, 178))


def clouds(
    draw: ImageDraw.ImageDraw,
    width: int,
    horizon: float,
    side: int,
    scene: Landscape,
    light_x: float,
    rng: np.random.Generator,
) -> None:
    """A few clouds beside the sun or moon at `light_x`, or many gray ones for an overcast sky."""
    overcast = scene.clouds == "overcast"
    color: RGB = {
        "day": (252, 253, 255),
        "sunset": (250, 160, 140),
        "sunrise": (255, 236, 232),
        "night": (92, 100, 150),
    }[scene.time]
    if overcast and scene.time == "day":
        color = (236, 239, 243)
    count = int(rng.integers(5, 8)) if overcast else int(rng.integers(2, 5))
    for k in range(count):
        x = width * (k + float(rng.uniform(0.15, 0.85))) / count
        if light_x >= 0 and abs(x - light_x) < side * 0.27:
            x = light_x + side * float(rng.uniform(0.28, 0.36)) * (1 if light_x < width / 2 else -1)
        y = horizon * float(rng.uniform(0.12, 0.62 if overcast else 0.5))
        shade = mix(color, (150, 160, 176), float(rng.uniform(0, 0.4))) if overcast else color
        cloud(draw, x, y, side * float(rng.uniform(0.1, 0.15)), shade)


def cloud(draw: ImageDraw.ImageDraw, x: float, y: float, size: float, color: RGB) -> None:
    """One cloud about `size` in half width: puffs on a flat base."""
    for dx, dy, r in ((-0.62, -0.1, 0.3), (-0.2, -0.34, 0.42), (0.28, -0.26, 0.36), (0.66, -0.08, 0.26)):
        disc(draw, x + dx * size, y + dy * size, r * size, color)
    draw.rounded_rectangle((x - size * 0.95, y - size * 0.18, x + size * 0.95, y + size * 0.2), size * 0.19, fill=color)


def mountains(
    draw: ImageDraw.ImageDraw, width: int, base: float, side: int, scene: Landscape, rng: np.random.Generator
) -> list[tuple[float, float, float]]:
    """A range of two-sided peaks standing on `base`; returns the peaks as (x, y of the top, half width)."""
    rock = jitter((104, 112, 134), rng, 10)
    count = int(rng.integers(3, 5)) if width <= side * 1.2 else int(rng.integers(4, 6))
    foot = base + side * 0.04  # under the land in front, whose edge waves
    peaks = []
    for k in range(count):
        x = width * (k + 0.5 + float(rng.uniform(-0.22, 0.22))) / count
        height = side * float(rng.uniform(0.2, 0.36))
        peaks.append((x, base - height, height * float(rng.uniform(0.95, 1.25))))
    for x, top, half in sorted(peaks, key=lambda p: p[1]):
        light, dark = lit(mix(rock, (255, 255, 255), 0.16), scene.time), lit(rock, scene.time)
        draw.polygon([(x, top), (x + half, base), (x + half, foot), (x - half, foot), (x - half, base)], fill=dark)
        draw.polygon([(x, top), (x + half * 0.16, base), (x, foot), (x - half, foot), (x - half, base)], fill=light)
        if scene.mountains == "snowy":
            cap = (base - top) * 0.42
            edge = [(0.42, 1.0), (0.2, 0.78), (0.05, 1.12), (-0.14, 0.8), (-0.42, 1.0)]
            white = lit((248, 250, 255), scene.time)
            shade = lit((206, 216, 232), scene.time)
            ridge = [(x + half * dx, top + cap * dy) for dx, dy in edge]
            draw.polygon([(x, top), *ridge], fill=white)
            draw.polygon([(x, top), ridge[0], ridge[1], ridge[2]], fill=shade)
    return peaks


def wavy_land(
    draw: ImageDraw.ImageDraw, width: int, height: int, top: float, swing: float, color: RGB, rng: np.random.Generator
) -> None:
    """Land below a gentle wave around `top` that swings by `swing`."""
    phase, turns = float(rng.uniform(0, 6.28)), float(rng.uniform(0.6, 1.3))
    edge = [(width * k / 32, top + swing * math.sin(phase + turns * 6.28 * k / 32)) for k in range(33)]
    draw.polygon([*edge, (width, height), (0, height)], fill=color)

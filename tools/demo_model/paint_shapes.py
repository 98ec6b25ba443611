"""Draws `Shapes`: one or two flat coloured shapes on a flat ground."""

from __future__ import annotations

import math

import numpy as np
from PIL import ImageDraw

from tools.demo_model.palette import COLORS, RGB, jitter
from tools.demo_model.scene import Shapes

# Radius of a shape as a share of the picture's shorter side.
RADII = {"small": 0.15, "medium": 0.27, "large": 0.38}
PAIR_RADIUS = 0.19
CENTERS: dict[str, tuple[float, float]] = {
    "center": (0.5, 0.5),
    "left": (0.26, 0.5),
    "right": (0.74, 0.5),
    "top": (0.5, 0.26),
    "bottom": (0.5, 0.74),
    "top left": (0.26, 0.26),
    "top right": (0.74, 0.26),
    "bottom left": (0.26, 0.74),
    "bottom right": (0.74, 0.74),
}


def draw_shapes(draw: ImageDraw.ImageDraw, scene: Shapes, width: int, height: int, rng: np.random.Generator) -> None:
    """Draw the scene on a canvas of `width` × `height` canvas pixels."""
    ground = jitter(COLORS[scene.background], rng, 6)
    draw.rectangle((0, 0, width, height), fill=ground)
    side = min(width, height)
    pair = len(scene.items) == 2
    for item in scene.items:
        radius = side * (PAIR_RADIUS if pair else RADII[item.size]) * float(rng.uniform(0.93, 1.07))
        if item.place != "center" and not pair:
            radius = min(radius, side * 0.2)
        x, y = CENTERS[item.place]
        center_x = width * x + side * float(rng.uniform(-0.02, 0.02))
        center_y = height * y + side * float(rng.uniform(-0.02, 0.02))
        draw_shape(draw, item.shape, jitter(COLORS[item.color], rng, 6), center_x, center_y, radius, ground)


def draw_shape(
    draw: ImageDraw.ImageDraw, shape: str, color: RGB, x: float, y: float, radius: float, ground: RGB
) -> None:
    """One shape of `radius` around (x, y), in canvas pixels; a ring shows `ground` through its hole."""
    r = radius
    if shape == "circle":
        draw.ellipse((x - r, y - r, x + r, y + r), fill=color)
    elif shape == "ring":
        hole = r * 0.56
        draw.ellipse((x - r, y - r, x + r, y + r), fill=color)
        draw.ellipse((x - hole, y - hole, x + hole, y + hole), fill=ground)
    elif shape == "square":
        half = r * 0.88
        draw.rectangle((x - half, y - half, x + half, y + half), fill=color)
    elif shape == "cross":
        arm = r * 0.34
        draw.rectangle((x - r, y - arm, x + r, y + arm), fill=color)
        draw.rectangle((x - arm, y - r, x + arm, y + r), fill=color)
    else:
        draw.polygon([(x + r * px, y + r * py) for px, py in outline(shape)], fill=color)


def outline(shape: str) -> list[tuple[float, float]]:
    """The corners of a polygonal shape in units of its radius, y downwards."""
    if shape == "triangle":
        return [(0.0, -0.95), (1.05, 0.85), (-1.05, 0.85)]
    if shape == "diamond":
        return [(0.0, -1.05), (0.78, 0.0), (0.0, 1.05), (-0.78, 0.0)]
    if shape == "star":
        turns = [-math.pi / 2 + k * math.pi / 5 for k in range(10)]
        return [
            ((1.1 if k % 2 == 0 else 0.44) * math.cos(a), (1.1 if k % 2 == 0 else 0.44) * math.sin(a) + 0.06)
            for k, a in enumerate(turns)
        ]
    if shape == "heart":
        points = []
        for k in range(64):
            a = 2 * math.pi * k / 64
            x = 16 * math.sin(a) ** 3
            y = 13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)
            points.append((x / 16.5, -y / 16.0 - 0.08))
        return points
    raise ValueError(f"no outline for {shape!r}")

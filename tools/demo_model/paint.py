"""Draws a scene as an RGB picture: the same scene, size and seed give the same pixels.

Everything is drawn at twice the size and averaged down, which is what smooths the edges.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from tools.demo_model import paint_sky, paint_things
from tools.demo_model.paint_shapes import draw_shapes
from tools.demo_model.palette import RGB, jitter, lit, mix
from tools.demo_model.scene import FOREST, Landscape, Scene, Shapes

OVERSAMPLING = 2


def paint(scene: Scene, width: int, height: int, seed: int) -> np.ndarray:
    """`scene` as uint8 (height, width, 3)."""
    rng = np.random.default_rng(seed)
    if isinstance(scene, Shapes):
        canvas = Image.new("RGB", (width * OVERSAMPLING, height * OVERSAMPLING))
        draw_shapes(ImageDraw.Draw(canvas), scene, canvas.width, canvas.height, rng)
    else:
        canvas = paint_landscape(scene, width * OVERSAMPLING, height * OVERSAMPLING, rng)
    return np.asarray(canvas.reduce(OVERSAMPLING))


def paint_landscape(scene: Landscape, width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """The landscape from back to front on a canvas of `width` × `height`."""
    side = min(width, height)
    horizon = height * float(rng.uniform(0.58, 0.66))
    if scene.ground == "none":
        horizon = height * (0.8 if scene.mountains or scene.hills else 1.0)
    canvas = paint_sky.sky(width, height, horizon, scene, rng)
    draw = ImageDraw.Draw(canvas)
    if scene.stars:
        paint_sky.stars(draw, width, horizon * 0.82, side, rng)
    light_x = paint_lights(canvas, draw, scene, width, horizon, side, rng)
    if scene.clouds:
        paint_sky.clouds(draw, width, horizon, side, scene, light_x, rng)
    if scene.mountains:
        paint_sky.mountains(draw, width, horizon + 2, side, scene, rng)
    if scene.mountains and scene.ground == "none" and not scene.hills:
        foot = lit(jitter((62, 84, 92), rng), scene.time)
        paint_sky.wavy_land(draw, width, height, horizon, side * 0.012, foot, rng)
    if scene.hills:
        for k, shade in enumerate((0.0, 0.2, 0.4)):
            green = lit(mix((132, 190, 92), (40, 120, 70), shade * 1.6), scene.time)
            top = horizon - side * (0.1 - 0.075 * k)
            paint_sky.wavy_land(draw, width, height, top, side * 0.045, green, rng)
    paint_ground(draw, scene, width, height, horizon, light_x, rng)
    paint_standing(draw, scene, width, height, horizon, rng)
    return canvas


def paint_lights(
    canvas: Image.Image,
    draw: ImageDraw.ImageDraw,
    scene: Landscape,
    width: int,
    horizon: float,
    side: int,
    rng: np.random.Generator,
) -> float:
    """Sun or moon; returns its x, where the sea will glitter (negative when there is neither)."""
    x = width * float(rng.uniform(0.2, 0.8))
    if scene.sun:
        low = scene.time in ("sunset", "sunrise")
        radius = side * float(rng.uniform(0.085, 0.115))
        if not low:
            y = horizon * float(rng.uniform(0.2, 0.34))
        elif scene.mountains:
            y = horizon - side * float(rng.uniform(0.34, 0.42))
        else:
            y = horizon - radius * float(rng.uniform(0.1, 1.5)) - (side * 0.1 if scene.hills else 0)
        paint_sky.sun(canvas, draw, x, y, radius, scene, rays=not low and rng.random() < 0.6)
        return x
    if scene.moon:
        radius = side * float(rng.uniform(0.075, 0.105))
        paint_sky.moon(canvas, draw, x, horizon * float(rng.uniform(0.2, 0.34)), radius, scene.moon)
        return x
    return -1.0


def paint_ground(
    draw: ImageDraw.ImageDraw,
    scene: Landscape,
    width: int,
    height: int,
    horizon: float,
    light_x: float,
    rng: np.random.Generator,
) -> None:
    """Meadow, sea, beach, desert or snow from the horizon down."""
    side = min(width, height)
    lands: dict[str, tuple[RGB, RGB]] = {
        "meadow": ((122, 190, 84), (92, 164, 70)),
        "desert": ((240, 204, 130), (224, 178, 100)),
        "snow": ((240, 246, 252), (220, 232, 244)),
    }
    if scene.ground in lands:
        far, near = (lit(jitter(color, rng, 6), scene.time) for color in lands[scene.ground])
        paint_sky.wavy_land(draw, width, height, horizon, side * 0.018, far, rng)
        paint_sky.wavy_land(draw, width, height, horizon + side * 0.16, side * 0.03, near, rng)
    if scene.ground in ("sea", "beach"):
        paint_sea(draw, scene, width, height, horizon, light_x, rng)
    if scene.ground == "beach":
        sand = lit(jitter((244, 216, 156), rng, 6), scene.time)
        foam = lit((250, 252, 252), scene.time)
        edge = rng.integers(1 << 30)
        top = horizon + (height - horizon) * 0.52
        for color, lift in ((foam, side * 0.02), (sand, 0.0)):
            paint_sky.wavy_land(draw, width, height, top - lift, side * 0.025, color, np.random.default_rng(edge))


def paint_sea(
    draw: ImageDraw.ImageDraw,
    scene: Landscape,
    width: int,
    height: int,
    horizon: float,
    light_x: float,
    rng: np.random.Generator,
) -> None:
    """Water in bands, a few wave strokes and the glitter path under sun or moon."""
    side = min(width, height)
    water = jitter({"day": (30, 116, 186), "sunset": (86, 66, 128), "sunrise": (104, 140, 190), "night": (16, 34, 88)}[
        scene.time
    ], rng, 6)  # fmt: skip
    near = mix(water, (8, 20, 60), 0.3)
    bands = 5
    for k in range(bands):
        top = horizon + (height - horizon) * (k / bands) ** 1.4
        draw.rectangle((0, top, width, height), fill=mix(water, near, k / (bands - 1)))
    for _ in range(int(rng.integers(7, 12))):
        y = horizon + (height - horizon) * float(rng.uniform(0.12, 0.95))
        x, half = width * float(rng.uniform(0, 1)), side * float(rng.uniform(0.03, 0.07))
        thick = side * 0.006
        draw.rounded_rectangle((x - half, y - thick, x + half, y + thick), thick, fill=mix(water, (255, 255, 255), 0.3))
    if light_x >= 0:
        glow: RGB = {
            "day": (255, 236, 150),
            "sunset": (255, 190, 110),
            "sunrise": (255, 230, 170),
            "night": (224, 222, 200),
        }[scene.time]
        for k in range(7):
            y = horizon + (height - horizon) * (0.05 + 0.13 * k)
            half = side * (0.1 - 0.008 * k) * float(rng.uniform(0.6, 1.0))
            thick = side * 0.009
            draw.rounded_rectangle(
                (light_x - half, y - thick, light_x + half, y + thick), thick, fill=mix(water, glow, 0.7)
            )


def paint_standing(
    draw: ImageDraw.ImageDraw, scene: Landscape, width: int, height: int, horizon: float, rng: np.random.Generator
) -> None:
    """Trees, pines, cacti, house and boat, each on its side of the picture, the far ones first."""
    side = min(width, height)
    snowy = scene.ground == "snow"
    placed: list[tuple[float, str, float, float]] = []  # (ground y, thing, x, height)
    for thing in ("trees", "pines", "cacti", "house", "boat"):
        number = (
            int(getattr(scene, thing)) if thing in ("trees", "pines", "cacti") else int(bool(getattr(scene, thing)))
        )
        low, high = span_of(scene, thing)
        for x in paint_things.positions(number, low, high, rng) if number else []:
            y, tall = stance(thing, number, horizon, height, side, rng)
            placed.append((y, thing, width * x, tall))
    for y, thing, x, tall in sorted(placed):
        if thing == "trees":
            paint_things.tree(draw, x, y, tall, scene.tree_color, scene.time)
        elif thing == "pines":
            paint_things.pine(draw, x, y, tall, scene.time, snowy)
        elif thing == "cacti":
            paint_things.cactus(draw, x, y, tall, scene.time)
        elif thing == "house":
            paint_things.house(draw, x, y, tall, scene.house, scene.time, snowy)
        else:
            paint_things.boat(draw, x, y, tall, scene.boat, scene.time)


def span_of(scene: Landscape, thing: str) -> tuple[float, float]:
    """The horizontal share of the picture in which `thing` stands."""
    if scene.left == thing:
        return (0.08, 0.48)
    if scene.right == thing:
        return (0.52, 0.92)
    many = thing in ("trees", "pines") and int(getattr(scene, thing)) > 1
    return (0.06, 0.94) if many else (0.3, 0.7)


def stance(
    thing: str, number: int, horizon: float, height: int, side: int, rng: np.random.Generator
) -> tuple[float, float]:
    """(y of the ground contact, height) of one `thing` among `number` of its kind."""
    depth = height - horizon
    if thing == "boat":
        return horizon + depth * float(rng.uniform(0.12, 0.4)), side * float(rng.uniform(0.3, 0.38))
    if thing == "house":
        return horizon + depth * float(rng.uniform(0.35, 0.5)), side * float(rng.uniform(0.32, 0.4))
    if number >= FOREST:
        return horizon + depth * float(rng.uniform(0.05, 0.6)), side * float(rng.uniform(0.28, 0.4))
    tall = 0.4 if number == 1 else 0.34
    if thing == "cacti":
        tall = 0.32
    return horizon + depth * float(rng.uniform(0.3, 0.6)), side * tall * float(rng.uniform(0.9, 1.15))

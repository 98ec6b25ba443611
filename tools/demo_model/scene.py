"""What a picture shows, as plain data, and the sampling of such descriptions.

Two kinds: `Shapes` (one or two coloured shapes on a coloured ground) and `Landscape`. A scene holds everything that
a caption may say and nothing that only a brush needs; `paint` draws it, `captions` words it, `labels` numbers it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tools.demo_model.palette import BOAT_COLORS, COLORS, HOUSE_COLORS, TIMES, TREE_COLORS

SHAPES = ("circle", "square", "triangle", "star", "heart", "diamond", "ring", "cross")
SIZES = ("small", "medium", "large")
PLACES = ("center", "left", "right", "top", "bottom", "top left", "top right", "bottom left", "bottom right")
PAIR_PLACES = (("left", "right"), ("right", "left"), ("top", "bottom"), ("bottom", "top"))
GROUNDS = ("none", "meadow", "sea", "desert", "snow", "beach")
FOREST = 6  # this many trees or more is "a forest"


@dataclass(frozen=True)
class Item:
    """One coloured shape. `place` is one of PLACES; `size` one of SIZES."""

    shape: str
    color: str
    size: str = "medium"
    place: str = "center"


@dataclass(frozen=True)
class Shapes:
    """One or two items on a flat background."""

    background: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Landscape:
    """A flat-illustration scene. Empty strings and zero counts mean: not in the picture.

    `trees`, `pines` and `cacti` are counts (FOREST or more is a forest). `left` and `right` name the object that
    stands on that side when two objects share the ground.
    """

    time: str = "day"
    sun: bool = False
    moon: str = ""  # "", full, crescent
    stars: bool = False
    clouds: str = ""  # "", some, overcast
    mountains: str = ""  # "", plain, snowy
    hills: bool = False
    ground: str = "none"
    trees: int = 0
    tree_color: str = "green"
    pines: int = 0
    cacti: int = 0
    house: str = ""  # its colour
    boat: str = ""  # the colour of its sail
    left: str = ""
    right: str = ""


Scene = Shapes | Landscape


def pick(rng: np.random.Generator, options: tuple[str, ...] | list[str], weights: list[float] | None = None) -> str:
    """One of `options`, by weight when given."""
    if weights is None:
        return options[int(rng.integers(len(options)))]
    total = float(sum(weights))
    return options[int(rng.choice(len(options), p=[w / total for w in weights]))]


def sample_shapes(rng: np.random.Generator) -> Shapes:
    """One item or two, equally often; colours of neighbours and ground always differ."""
    names = list(COLORS)
    background, first, second = (names[int(i)] for i in rng.permutation(len(names))[:3])
    if rng.random() < 0.5:
        place = "center" if rng.random() < 0.6 else pick(rng, PLACES[1:])
        size = "medium" if rng.random() < 0.5 else pick(rng, ("small", "large"))
        if place != "center" and size == "large":
            size = "medium"
        return Shapes(background, (Item(pick(rng, SHAPES), first, size, place),))
    places = pick_pair(rng)
    return Shapes(
        background,
        (
            Item(pick(rng, SHAPES), first, "medium", places[0]),
            Item(pick(rng, SHAPES), second, "medium", places[1]),
        ),
    )


def pick_pair(rng: np.random.Generator) -> tuple[str, str]:
    """Where two items stand; left-right is the usual order, as a caption without places implies it."""
    weights = np.array([0.55, 0.15, 0.15, 0.15])
    return PAIR_PLACES[int(rng.choice(4, p=weights))]


def sample_landscape(rng: np.random.Generator) -> Landscape:
    """A consistent landscape: suns by day, moons and stars by night, boats on water, cacti in deserts."""
    time = pick(rng, TIMES, [0.4, 0.24, 0.1, 0.26])
    ground = pick(rng, GROUNDS, [0.2, 0.3, 0.24, 0.08, 0.12, 0.06])
    clouds = pick(rng, ("", "some", "overcast"), [0.62, 0.26, 0.12 if time == "day" else 0.0])
    sun = time in ("sunset", "sunrise") or (time == "day" and clouds != "overcast" and rng.random() < 0.5)
    moon = pick(rng, ("", "full", "crescent"), [0.45, 0.35, 0.2]) if time == "night" else ""
    stars = time == "night" and rng.random() < (0.5 if moon else 0.75)
    mountains = pick(rng, ("", "plain", "snowy"), [0.52, 0.26, 0.22] if ground != "none" else [0.3, 0.36, 0.34])
    hills = ground in ("none", "meadow") and rng.random() < 0.2
    things = {"trees": 0, "pines": 0, "cacti": 0}
    house = boat = ""
    if ground == "meadow":
        kind = pick(rng, ["", "trees", "pines", "house", "house+trees", "house+pines"], [16, 20, 14, 18, 24, 8])
    elif ground == "snow":
        kind = pick(rng, ["", "trees", "pines", "house", "house+pines"], [22, 6, 42, 14, 16])
    elif ground == "desert":
        kind = pick(rng, ["", "cacti"], [30, 70])
    elif ground == "sea":
        kind = pick(rng, ["", "boat"], [42, 58])
    elif ground == "beach":
        kind = pick(rng, ["", "boat"], [65, 35])
    else:
        kind = ""
    for name in things:
        if name in kind:
            few = "house" in kind or name == "cacti"
            weights = [0.7, 0.2, 0.1, 0.0] if few else [0.34, 0.16, 0.16, 0.34]
            things[name] = int(pick(rng, ("1", "2", "3", "9"), weights))
    if "house" in kind:
        house = pick(rng, HOUSE_COLORS)
    if "boat" in kind:
        boat = pick(rng, BOAT_COLORS, [4, 2, 1, 1, 1, 1, 1, 1])
    tree_color = pick(rng, TREE_COLORS, [80, 8, 6, 3, 3]) if things["trees"] else "green"
    left, right = sample_sides(rng, kind)
    return Landscape(time, sun, moon, stars, clouds, mountains, hills, ground, things["trees"], tree_color,
                     things["pines"], things["cacti"], house, boat, left, right)  # fmt: skip


def sample_sides(rng: np.random.Generator, kind: str) -> tuple[str, str]:
    """Which object stands left and which right, for the kinds of objects named in `kind` ("house+trees")."""
    names = kind.split("+") if kind else []
    if len(names) == 2:
        return (names[0], names[1]) if rng.random() < 0.5 else (names[1], names[0])
    if len(names) == 1 and rng.random() < 0.4:
        return (names[0], "") if rng.random() < 0.5 else ("", names[0])
    return "", ""


def sample_scene(rng: np.random.Generator, shapes_share: float = 0.6) -> Scene:
    """A scene of either kind."""
    return sample_shapes(rng) if rng.random() < shapes_share else sample_landscape(rng)

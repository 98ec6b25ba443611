"""Colours by name, the words people use for them, and the skies of each time of day.

All colours are sRGB triples of 0-255. This module knows no geometry and no captions.
"""

from __future__ import annotations

import numpy as np

RGB = tuple[int, int, int]

COLORS: dict[str, RGB] = {
    "red": (222, 40, 42),
    "green": (44, 160, 60),
    "blue": (36, 84, 214),
    "yellow": (250, 212, 40),
    "purple": (128, 50, 170),
    "orange": (246, 134, 26),
    "white": (250, 250, 250),
    "black": (16, 16, 18),
    "pink": (250, 140, 184),
    "gray": (136, 138, 142),
    "brown": (124, 76, 40),
    "cyan": (48, 204, 222),
}

# The first word is the usual one; it is drawn more often in captions than the rest together.
COLOR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("red", "crimson", "scarlet", "ruby"),
    "green": ("green", "emerald"),
    "blue": ("blue", "navy", "azure", "cobalt"),
    "yellow": ("yellow", "golden", "lemon"),
    "purple": ("purple", "violet", "lilac"),
    "orange": ("orange", "tangerine"),
    "white": ("white", "ivory"),
    "black": ("black", "ebony"),
    "pink": ("pink", "rose", "magenta"),
    "gray": ("gray", "grey", "silver"),
    "brown": ("brown", "chocolate"),
    "cyan": ("cyan", "turquoise", "teal", "aqua"),
}

HOUSE_COLORS = ("red", "blue", "yellow", "white", "brown", "orange", "pink", "purple", "green", "gray")
BOAT_COLORS = ("white", "red", "blue", "yellow", "orange", "green", "pink", "purple")
TREE_COLORS = ("green", "orange", "pink", "red", "yellow")

TIMES = ("day", "sunset", "sunrise", "night")

# Gradient stops from the zenith down to the horizon.
SKIES: dict[str, tuple[RGB, RGB, RGB]] = {
    "day": ((74, 152, 232), (132, 194, 246), (204, 232, 250)),
    "sunset": ((78, 48, 122), (232, 98, 84), (255, 190, 92)),
    "sunrise": ((122, 164, 226), (248, 184, 196), (255, 232, 176)),
    "night": ((8, 12, 44), (20, 28, 78), (44, 54, 116)),
    "overcast": ((126, 140, 158), (164, 175, 188), (208, 214, 220)),
}

# What the light of the hour does to everything on the ground: (tint, strength 0-1).
LIGHT: dict[str, tuple[RGB, float]] = {
    "day": ((255, 255, 255), 0.0),
    "sunset": ((130, 40, 60), 0.34),
    "sunrise": ((255, 190, 170), 0.22),
    "night": ((12, 18, 60), 0.5),
}


def mix(a: RGB, b: RGB, amount: float) -> RGB:
    """`a` moved towards `b` by `amount` (0 gives a, 1 gives b)."""
    return (
        round(a[0] + (b[0] - a[0]) * amount),
        round(a[1] + (b[1] - a[1]) * amount),
        round(a[2] + (b[2] - a[2]) * amount),
    )


def lit(color: RGB, time: str) -> RGB:
    """`color` as it looks at that time of day."""
    tint, strength = LIGHT[time]
    return mix(color, tint, strength)


def jitter(color: RGB, rng: np.random.Generator, amount: int = 8) -> RGB:
    """`color` shifted by up to `amount` per channel, so that no shade is learned as the only one."""
    shifted = np.clip(np.asarray(color) + rng.integers(-amount, amount + 1, size=3), 0, 255)
    return (int(shifted[0]), int(shifted[1]), int(shifted[2]))

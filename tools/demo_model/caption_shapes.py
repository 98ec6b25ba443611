"""Caption grammar of `Shapes`: colour, shape, size, place and background in many wordings."""

from __future__ import annotations

import numpy as np

from tools.demo_model.palette import COLOR_WORDS
from tools.demo_model.scene import Item, Shapes, pick

SHAPE_WORDS: dict[str, tuple[str, ...]] = {
    "circle": ("circle", "disc", "dot", "ball"),
    "square": ("square", "box", "block"),
    "triangle": ("triangle",),
    "star": ("star",),
    "heart": ("heart",),
    "diamond": ("diamond", "rhombus"),
    "ring": ("ring", "hoop", "donut"),
    "cross": ("cross", "plus", "plus sign"),
}
SIZE_WORDS: dict[str, tuple[str, ...]] = {
    "small": ("small", "little", "tiny"),
    "medium": ("medium",),
    "large": ("large", "big", "huge"),
}
PLACE_WORDS: dict[str, tuple[str, ...]] = {
    "center": ("in the center", "in the middle", "centered"),
    "left": ("on the left", "on the left side", "at the left"),
    "right": ("on the right", "on the right side", "at the right"),
    "top": ("at the top", "on top", "in the upper part"),
    "bottom": ("at the bottom", "in the lower part"),
    "top left": ("in the top left corner", "in the upper left", "at the top left"),
    "top right": ("in the top right corner", "in the upper right", "at the top right"),
    "bottom left": ("in the bottom left corner", "in the lower left", "at the bottom left"),
    "bottom right": ("in the bottom right corner", "in the lower right", "at the bottom right"),
}
GROUND_WORDS = ("background", "background", "background", "background", "backdrop", "canvas", "field", "ground")


def word_for(words: tuple[str, ...], rng: np.random.Generator, usual: float = 0.62) -> str:
    """The usual word most of the time, else one of its synonyms."""
    return words[0] if len(words) == 1 or rng.random() < usual else pick(rng, words[1:])


def with_article(phrase: str, rng: np.random.Generator, drop: float = 0.12) -> str:
    """`phrase` with a/an, sometimes without, as people type."""
    if rng.random() < drop:
        return phrase
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def item_phrase(item: Item, rng: np.random.Generator) -> str:
    """'a small red circle', 'a circle in red', 'a box that is blue'."""
    color = word_for(COLOR_WORDS[item.color], rng)
    shape = word_for(SHAPE_WORDS[item.shape], rng)
    size = ""
    if item.size != "medium" or rng.random() < 0.06:
        size = word_for(SIZE_WORDS[item.size], rng, 0.4) + " "
    form = rng.random()
    if form < 0.84:
        return with_article(f"{size}{color} {shape}", rng)
    if form < 0.92:
        return with_article(f"{size}{shape} in {color}", rng)
    return with_article(f"{size}{shape} that is {color}", rng)


def ground_phrase(scene: Shapes, rng: np.random.Generator) -> str:
    """'a blue background', or just 'blue'."""
    color = word_for(COLOR_WORDS[scene.background], rng)
    if rng.random() < 0.08:
        return color
    plain = pick(rng, ("", "", "", "", "", "plain ", "solid ", "flat "))
    return with_article(f"{plain}{color} {pick(rng, GROUND_WORDS)}", rng)


def pair_phrase(first: Item, second: Item, rng: np.random.Generator) -> tuple[str, bool]:
    """Two items and how they stand: (words, whether the order alone says left to right)."""
    if first.place in ("right", "bottom"):
        first, second = second, first  # now first is the left or the upper one
    a, b = item_phrase(first, rng), item_phrase(second, rng)
    if first.place == "left":
        forms = (
            f"{a} and {b}", f"{a} and {b}", f"{a} and {b}", f"{a} next to {b}", f"{a} beside {b}",
            f"{a} to the left of {b}", f"{a} left of {b}", f"{b} to the right of {a}", f"{b} right of {a}",
            f"{a} on the left and {b} on the right", f"{b} on the right and {a} on the left", f"{a} with {b}",
        )  # fmt: skip
    else:
        forms = (
            f"{a} above {b}", f"{a} over {b}", f"{b} below {a}", f"{b} under {a}", f"{a} on top of {b}",
            f"{a} at the top and {b} at the bottom", f"{b} beneath {a}",
        )  # fmt: skip
    return pick(rng, forms), False


def caption_shapes(scene: Shapes, rng: np.random.Generator) -> str:
    """One wording of the scene. Without a background word the background is white; without a place, the centre."""
    if len(scene.items) == 2:
        subject, _ = pair_phrase(scene.items[0], scene.items[1], rng)
        place = ""
    else:
        item = scene.items[0]
        subject = item_phrase(item, rng)
        named = item.place != "center" or rng.random() < 0.12
        place = " " + word_for(PLACE_WORDS[item.place], rng, 0.5) if named else ""
    if scene.background == "white" and rng.random() < 0.4:
        return subject + place
    ground = ground_phrase(scene, rng)
    form = rng.random()
    if form < 0.66:
        where = pick(rng, ("on", "on", "on", "on", "against", "over", "in front of"))
        return f"{subject}{place} {where} {ground}" if rng.random() < 0.7 else f"{subject} {where} {ground}{place}"
    if form < 0.8:
        return f"{subject}{place}, {ground}"
    if form < 0.93:
        return f"{ground} with {subject}{place}"
    return f"{ground}, {subject}{place}"

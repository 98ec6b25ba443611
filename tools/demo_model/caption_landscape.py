"""Caption grammar of `Landscape`: names exactly the elements in the picture, in many wordings.

Only what an element implies may stay unsaid: a boat its sea, a cactus its desert, a house or tree its meadow, a
sunset its sun, and the plain day itself.
"""

from __future__ import annotations

import numpy as np

from tools.demo_model.caption_shapes import with_article, word_for
from tools.demo_model.palette import COLOR_WORDS
from tools.demo_model.scene import FOREST, Landscape, pick

COUNT_WORDS = {2: ("two", "two", "2", "a pair of"), 3: ("three", "three", "3", "some", "a few", "several")}
MOUNTAINS = ("mountains", "mountains", "mountains", "the mountains", "mountain peaks", "a mountain range", "a mountain")
SNOWY_MOUNTAINS = (
    "snowy mountains", "snowy mountains", "snow capped mountains", "snow-capped mountains", "snow covered mountains",
    "mountains with snow", "snowy peaks", "mountains covered in snow", "white mountains", "a snowy mountain",
)  # fmt: skip
HILLS = ("hills", "green hills", "rolling hills", "the hills", "rolling green hills")
GROUNDS: dict[str, tuple[str, ...]] = {
    "meadow": ("a meadow", "a green meadow", "a field", "a green field", "grass", "a grassy field", "the grass",
               "a grassland", "the countryside"),
    "sea": ("the sea", "the sea", "the ocean", "the ocean", "a calm sea", "the water", "a lake", "the blue sea",
            "a calm ocean", "the waves"),
    "desert": ("a desert", "the desert", "sand dunes", "dunes", "a sandy desert", "desert sand"),
    "snow": ("snow", "snow", "the snow", "a snowy field", "a snowy landscape", "a winter landscape", "a snowy meadow"),
    "beach": ("a beach", "the beach", "a sandy beach", "a beach by the sea", "the seashore"),
}  # fmt: skip
ON_GROUND: dict[str, tuple[str, ...]] = {
    "meadow": ("in", "on", "in"),
    "sea": ("on", "on", "at"),
    "desert": ("in", "in", "on"),
    "snow": ("in", "in", "on"),
    "beach": ("at", "near", "by", "off"),
}
TREES: dict[str, tuple[str, ...]] = {
    "green": ("tree", "tree", "tree", "green tree", "green tree", "leafy tree"),
    "orange": ("orange tree", "autumn tree", "fall tree"),
    "pink": ("pink tree", "cherry tree", "cherry blossom tree", "blossoming tree"),
    "red": ("red tree",),
    "yellow": ("yellow tree", "golden tree"),
}
PINES = ("pine tree", "pine tree", "pine", "fir tree", "fir", "evergreen tree", "spruce", "conifer")
HOUSES = ("house", "house", "house", "house", "cottage", "cabin", "home", "hut")
BOATS = ("sailboat", "sailboat", "boat", "boat", "sailing boat", "ship", "yacht", "sailing ship")
BESIDE = ("beside", "next to", "and", "by", "near", "with")


def plural(noun: str) -> str:
    """'tree' → 'trees', 'cactus' → 'cacti'."""
    return "cacti" if noun == "cactus" else noun + "s"


def counted(noun: str, count: int, rng: np.random.Generator) -> str:
    """`count` of `noun` in words; many are a forest."""
    if count >= FOREST:
        base = noun.removesuffix(" tree") if noun != "tree" else ""
        forests = (with_article(f"{base} forest".strip(), rng), f"a forest of {plural(noun)}", f"many {plural(noun)}")
        return forests[int(rng.choice(3, p=[0.66, 0.18, 0.16]))]
    if count == 1:
        return with_article(noun, rng, 0.08)
    return plural(noun) if rng.random() < 0.3 else f"{pick(rng, COUNT_WORDS[count])} {plural(noun)}"


def thing_phrase(scene: Landscape, thing: str, rng: np.random.Generator) -> str:
    """The words for the trees, pines, cacti, house or boat of the scene."""
    if thing == "trees":
        return counted(pick(rng, TREES[scene.tree_color]), scene.trees, rng)
    if thing == "pines":
        return counted(pick(rng, PINES), scene.pines, rng)
    if thing == "cacti":
        return counted("cactus", scene.cacti, rng)
    noun = pick(rng, HOUSES if thing == "house" else BOATS)
    color = getattr(scene, thing)
    if rng.random() < 0.4:
        noun = pick(rng, ("small ", "little ", "lonely ", "old ")) + noun if rng.random() < 0.2 else noun
        return with_article(noun, rng, 0.08)
    colored = word_for(COLOR_WORDS[color], rng, 0.85)
    if thing == "boat" and rng.random() < 0.35:
        return with_article(f"{noun} with {pick(rng, (f'a {colored} sail', f'{colored} sails'))}", rng, 0.08)
    return with_article(f"{colored} {noun}", rng, 0.08)


def things_phrase(scene: Landscape, rng: np.random.Generator) -> str:
    """What stands in the picture, with its side when the scene has one; '' when nothing does."""
    named = [t for t in ("house", "trees", "pines", "cacti", "boat") if getattr(scene, t)]
    words = {t: thing_phrase(scene, t, rng) for t in named}
    if len(named) == 2:
        if scene.left in words and rng.random() < 0.4:
            a, b = words[scene.left], words[scene.right]
            return pick(
                rng, (f"{a} to the left of {b}", f"{b} to the right of {a}", f"{a} on the left and {b} on the right")
            )
        first, second = named if rng.random() < 0.5 else named[::-1]
        return f"{words[first]} {pick(rng, BESIDE)} {words[second]}"
    if not named:
        return ""
    side = "left" if scene.left else "right" if scene.right else ""
    if side and rng.random() < 0.5:
        return f"{words[named[0]]} {pick(rng, (f'on the {side}', f'on the {side} side'))}"
    return words[named[0]]


def land_phrases(scene: Landscape, rng: np.random.Generator, has_things: bool) -> tuple[str, str]:
    """(far land: mountains and hills, ground), either possibly ''. An implied ground may stay unsaid."""
    far = []
    if scene.mountains:
        far.append(pick(rng, SNOWY_MOUNTAINS if scene.mountains == "snowy" else MOUNTAINS))
    if scene.hills:
        far.append(pick(rng, HILLS))
    if len(far) == 2 and rng.random() < 0.5:
        far.reverse()
    implied = (
        (scene.ground == "meadow" and (has_things or scene.hills))
        or scene.cacti
        or (scene.ground == "sea" and scene.boat)
    )
    if scene.ground == "none" or (implied and rng.random() < 0.55):
        return " and ".join(far), ""
    return " and ".join(far), pick(rng, GROUNDS[scene.ground])

"""Turns a scene into a caption: the top level of the grammar, with common filler words."""

from __future__ import annotations

import numpy as np

from tools.demo_model.caption_landscape import ON_GROUND, land_phrases, things_phrase
from tools.demo_model.caption_shapes import caption_shapes
from tools.demo_model.caption_sky import sky_noun, sky_setting
from tools.demo_model.scene import Landscape, Scene, Shapes, pick

PREFIXES = (
    "a picture of", "an illustration of", "a painting of", "a drawing of", "an image of", "a photo of", "draw",
    "show me", "please draw", "a flat illustration of", "a simple picture of", "a poster of", "a view of",
    "create an image of", "a scene with", "a landscape with", "a minimalist illustration of", "i want",
    "picture of", "generate",
)  # fmt: skip
SUFFIXES = (
    "flat style", "minimalist", "vector art", "beautiful colors", "highly detailed", "digital art", "4k",
    "masterpiece", "vibrant colors", "peaceful", "flat illustration", "high quality", "simple", "colorful",
    "best quality", "cartoon style", "calm and quiet", "beautiful", "scenic", "cinematic", "warm light",
)  # fmt: skip
MOODS = ("beautiful", "lovely", "calm", "peaceful", "quiet", "big", "pretty", "wonderful", "amazing")
BEHIND = (
    "in front of {far}",
    "with {far} in the background",
    "with {far} behind",
    "with {far}",
    "and {far}",
    "below {far}",
)


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """One caption of `scene`, lower case, a few words to about thirty."""
    if isinstance(scene, Shapes):
        text = caption_shapes(scene, rng)
        prefixes, chance = PREFIXES[:13], 0.16
    else:
        text = caption_landscape(scene, rng)
        prefixes, chance = PREFIXES, 0.22
    if rng.random() < chance:
        text = f"{pick(rng, prefixes)} {text}"
    if rng.random() < 0.12:
        text = f"{text}, {pick(rng, SUFFIXES)}"
        if rng.random() < 0.3:
            text = f"{text}, {pick(rng, SUFFIXES)}"
    if rng.random() < 0.06:
        text = with_stranger(text, rng)
    if rng.random() < 0.08:
        text += "."
    return text


def with_stranger(text: str, rng: np.random.Generator) -> str:
    """`text` with a made-up word somewhere, so that the model tolerates unknown words."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    stranger = "".join(letters[int(k)] for k in rng.integers(26, size=int(rng.integers(3, 9)))) + "q"
    words = text.split(" ")
    words.insert(int(rng.integers(len(words) + 1)), stranger)
    return " ".join(words)


def caption_landscape(scene: Landscape, rng: np.random.Generator) -> str:
    """One wording of a landscape: sky first, subject first, or a list."""
    things = things_phrase(scene, rng)
    far, ground = land_phrases(scene, rng, bool(things))
    land = joined_land(far, ground, rng)
    if not things and not land:
        return sky_noun(scene, rng)
    form = rng.random()
    if form < 0.14:
        return listed([sky_noun(scene, rng), far, ground, things], rng)
    if form < 0.44 or (not things and form < 0.6):
        return sky_first(scene, things, far, ground, land, rng)
    if not things:
        return f"{mooded(land, rng)} {sky_setting(scene, rng)}".strip()
    text = things
    if ground:
        text += f" {pick(rng, ON_GROUND[scene.ground])} {ground}"
        if rng.random() < 0.12:
            text = f"{ground} with {things}"
    if far:
        text += " " + pick(rng, BEHIND).format(far=far)
    setting = sky_setting(scene, rng)
    if setting and rng.random() < 0.1:
        return f"{setting}, {text}"
    return f"{text} {setting}".strip()


def sky_first(scene: Landscape, things: str, far: str, ground: str, land: str, rng: np.random.Generator) -> str:
    """'a sunset over mountains', 'a night sky with stars over the sea with a boat'."""
    text = mooded(sky_noun(scene, rng), rng)
    over = pick(rng, ("over", "over", "over", "over", "above", "behind", "and", "with"))
    if not land:
        return f"{text} {over} {things}"
    text = f"{text} {over} {land}"
    if things:
        text += f" {pick(rng, ('with', 'with', 'and'))} {things}"
    return text


def joined_land(far: str, ground: str, rng: np.random.Generator) -> str:
    """Far land and ground as one phrase; either may be ''."""
    if not far or not ground:
        return far or ground
    return pick(
        rng,
        (f"{far} and {ground}", f"{ground} and {far}", f"{ground} with {far}", f"{far} behind {ground}",
         f"{ground} in front of {far}", f"{far} by {ground}", f"{ground} with {far} in the background"),
    )  # fmt: skip


def mooded(text: str, rng: np.random.Generator) -> str:
    """Sometimes 'a beautiful …' instead of 'a …'."""
    if text.startswith("a ") and rng.random() < 0.14:
        return f"a {pick(rng, MOODS[:-1])} {text[2:]}"
    return text


def listed(parts: list[str], rng: np.random.Generator) -> str:
    """The parts as a list of tags in any order, without articles half of the time."""
    words = [p for p in parts if p]
    if rng.random() < 0.5:
        words = [w.removeprefix("a ").removeprefix("an ").removeprefix("the ") for w in words]
    order = rng.permutation(len(words))
    return ", ".join(words[int(k)] for k in order)

"""Caption grammar of the sky, as a subject ("a starry night") and as a setting ("under a full moon")."""

from __future__ import annotations

import numpy as np

from tools.demo_model.scene import Landscape, pick

NOUNS: dict[str, tuple[str, ...]] = {
    "sunset": ("a sunset", "a sunset", "a sunset", "sunset", "a beautiful sunset", "an orange sunset", "a red sunset",
               "a colorful sunset", "the setting sun", "a sunset sky", "an evening sky", "dusk", "a warm sunset"),
    "sunrise": ("a sunrise", "a sunrise", "sunrise", "a beautiful sunrise", "a pink sunrise", "the rising sun", "dawn",
                "a sunrise sky", "a morning sky", "an early morning"),
    "night": ("night", "the night sky", "a dark night", "a night sky", "nighttime", "a dark night sky"),
    "stars": ("a night sky with stars", "a night sky with stars", "a starry night", "a starry sky", "stars",
              "a night sky full of stars", "the stars", "a starry night sky", "stars in the night sky"),
    "clear": ("a clear blue sky", "a blue sky", "a clear sky", "the blue sky", "a clear day"),
    "sun": ("a bright sun", "the sun", "a sunny day", "a sunny sky", "sunshine", "a yellow sun", "a sun",
            "a sunny blue sky", "bright sunshine"),
    "some": ("a cloudy sky", "a blue sky with clouds", "white clouds", "fluffy clouds", "clouds", "a few clouds",
             "a blue sky with white clouds", "a partly cloudy sky"),
    "overcast": ("a cloudy sky", "a gray sky with clouds", "an overcast sky", "gray clouds", "a cloudy day",
                 "a gray cloudy sky", "clouds", "a cloudy sky"),
    "full": ("a full moon", "a full moon", "the full moon", "a bright full moon", "a moon", "the moon", "a round moon"),
    "crescent": ("a crescent moon", "a crescent moon", "the crescent moon", "a half moon", "a moon", "the moon",
                 "a new moon"),
}  # fmt: skip
SETTINGS: dict[str, tuple[str, ...]] = {
    "sunset": ("at sunset", "at sunset", "at sunset", "at dusk", "in the evening", "during sunset", "with a sunset",
               "under a sunset sky", "in front of a sunset", "in the light of the setting sun", "with a setting sun"),
    "sunrise": ("at sunrise", "at sunrise", "at dawn", "in the morning", "during sunrise", "with a sunrise",
                "early in the morning", "with the rising sun", "under a pink sky"),
    "night": ("at night", "at night", "by night", "under a dark sky", "under the night sky", "in the dark night"),
}  # fmt: skip
AND_CLOUDS = ("with clouds", "and clouds", "with some clouds", "with a few clouds", "with a cloudy sky")


def sky_noun(scene: Landscape, rng: np.random.Generator) -> str:
    """The sky as a noun phrase that names all it holds."""
    if scene.time == "night":
        parts = []
        if scene.moon:
            parts.append(pick(rng, NOUNS[scene.moon]))
        if scene.stars:
            parts.append(pick(rng, NOUNS["stars"]))
        if not parts:
            parts.append(pick(rng, NOUNS["night"]))
        elif scene.moon and not scene.stars and rng.random() < 0.35:
            parts[0] = f"{pick(rng, NOUNS['night'])} with {parts[0]}"
        if len(parts) == 2 and rng.random() < 0.5:
            parts.reverse()
        noun = pick(rng, (" and ", " and ", " with ")).join(parts)
    elif scene.time == "day":
        if scene.sun:
            noun = pick(rng, NOUNS["sun"])
        else:
            return pick(rng, NOUNS[scene.clouds or "clear"])
    else:
        noun = pick(rng, NOUNS[scene.time])
    return f"{noun} {pick(rng, AND_CLOUDS)}" if scene.clouds else noun


def sky_setting(scene: Landscape, rng: np.random.Generator) -> str:
    """The sky as a setting after a subject; '' for the plain clear day."""
    if scene.time == "day":
        if not scene.sun and not scene.clouds and rng.random() < 0.6:
            return ""
        noun = sky_noun(scene, rng)
        if noun.startswith(("a sunny day", "a cloudy day", "a clear day")):
            return f"on {noun}"
        return f"{pick(rng, ('under', 'under', 'with', 'below'))} {noun}"
    if scene.time == "night" and (scene.moon or scene.stars):
        noun = sky_noun(scene, rng)
        return f"{pick(rng, ('under', 'under', 'with', 'at night with', 'below'))} {noun}"
    setting = pick(rng, SETTINGS[scene.time])
    return f"{setting} {pick(rng, AND_CLOUDS)}" if scene.clouds else setting

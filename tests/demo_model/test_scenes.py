"""Scenes are reproducible, and captions describe exactly what they contain."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tools.demo_model.captions import caption
from tools.demo_model.labels import ATTRIBUTES, describe, label
from tools.demo_model.paint import paint
from tools.demo_model.palette import COLOR_WORDS, COLORS
from tools.demo_model.pictures import BUCKETS, HELD_OUT_SEED, held_out_combination, is_held_out, picture_of, scene_of
from tools.demo_model.scene import Item, Landscape, Shapes, sample_landscape, sample_scene, sample_shapes

NAMES = {
    "boat": r"boat|ship|yacht",
    "house": r"house|cottage|cabin|home|hut",
    "moon": r"moon",
    "mountains": r"mountain|peaks",
    "cacti": r"cact",
    "pines": r"pine|fir\b|firs\b|evergreen|spruce|conifer",
}


def test_the_same_seed_paints_the_same_picture_in_every_format() -> None:
    for bucket in BUCKETS.values():
        first, again = picture_of(bucket, 5), picture_of(bucket, 5)
        assert first.shape == (bucket.height, bucket.width, 3)
        assert np.array_equal(first, again)
        assert not np.array_equal(first, picture_of(bucket, 6))


@pytest.mark.parametrize("shape", ["circle", "square", "diamond", "heart", "star", "cross", "triangle"])
def test_a_shape_has_its_color_on_its_background(shape: str) -> None:
    picture = paint(Shapes("blue", (Item(shape, "red"),)), 256, 256, seed=3).astype(int)
    assert np.abs(picture[128, 128] - COLORS["red"]).max() <= 8
    assert np.abs(picture[4, 4] - COLORS["blue"]).max() <= 8


def test_a_ring_has_a_hole() -> None:
    picture = paint(Shapes("white", (Item("ring", "black"),)), 256, 256, seed=3).astype(int)
    assert np.abs(picture[128, 128] - COLORS["white"]).max() <= 8
    assert (picture.sum(axis=2) < 90).mean() > 0.05


@pytest.mark.parametrize("thing", sorted(NAMES))
def test_landscape_captions_name_a_thing_exactly_when_it_is_there(thing: str) -> None:
    for seed in range(400):
        rng = np.random.default_rng(seed)
        scene = sample_landscape(rng)
        text = caption(scene, rng)
        assert bool(re.search(NAMES[thing], text)) == bool(getattr(scene, thing)), (text, scene)


def test_shape_captions_name_every_color_and_a_missing_background_means_white() -> None:
    for seed in range(400):
        rng = np.random.default_rng(seed)
        scene = sample_shapes(rng)
        text = caption(scene, rng)
        for item in scene.items:
            assert any(word in text for word in COLOR_WORDS[item.color]), (text, scene)
        named = any(re.search(rf"\b{word}\b", text) for word in COLOR_WORDS[scene.background])
        assert named or scene.background == "white", (text, scene)


def test_labels_number_every_scene_and_tell_pairs_from_left_to_right() -> None:
    for seed in range(300):
        numbers = label(sample_scene(np.random.default_rng(seed)))
        assert len(numbers) == len(ATTRIBUTES)
    swapped = describe(Shapes("white", (Item("star", "red", place="right"), Item("ring", "blue", place="left"))))
    assert (swapped["shape 1"], swapped["color 1"], swapped["shape 2"]) == ("ring", "blue", "star")


def test_training_never_sees_a_held_out_combination() -> None:
    assert not any(is_held_out(scene_of(BUCKETS["square"], k)) for k in range(500))
    combinations = [held_out_combination(b, c, s) for b in COLORS for c in COLORS if b != c for s in ("circle", "star")]
    assert 0.08 < np.mean(combinations) < 0.22
    assert all(bucket.first_seed + 1_000_000 < HELD_OUT_SEED for bucket in BUCKETS.values())


def test_landscapes_are_consistent() -> None:
    for seed in range(500):
        scene = sample_landscape(np.random.default_rng(seed))
        assert not (scene.sun and scene.time == "night")
        assert not ((scene.moon or scene.stars) and scene.time != "night")
        assert not scene.boat or scene.ground in ("sea", "beach")
        assert not scene.cacti or scene.ground == "desert"
        assert isinstance(scene, Landscape)

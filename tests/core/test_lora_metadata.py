"""What is read of a LoRA's metadata, as trainers write it."""

from __future__ import annotations

import json

import pytest

from app.core.lora_metadata import base_model_of, stated_family, trigger_words_of


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({}, ()),
        ({"modelspec.trigger_phrase": "ohwx woman, studio"}, ("ohwx woman", "studio")),
        ({"trigger_words": '["a", "b", "a"]'}, ("a", "b")),
        ({"ss_tag_frequency": json.dumps({"10_x": {"cat": 3, "dog ": 9}, "5_y": {"cat": 7}})}, ("cat", "dog")),
        ({"modelspec.trigger_phrase": "ohwx", "ss_tag_frequency": json.dumps({"x": {"cat": 3}})}, ("ohwx",)),
        ({"ss_tag_frequency": "{broken"}, ()),
        ({"ss_tag_frequency": json.dumps({"x": ["cat"], "y": {"dog": "many", "": 3}})}, ()),
        ({"trigger_word": "x" * 300}, ("x" * 100,)),
        ({"trigger_word": ",".join(map(str, range(99)))}, tuple(map(str, range(10)))),
    ],
)
def test_the_trigger_words(metadata, words):
    assert trigger_words_of(metadata) == words


@pytest.mark.parametrize(
    ("metadata", "base"),
    [
        ({}, None),
        ({"ss_base_model_version": "sdxl_base_v1-0", "modelspec.architecture": "x"}, "sdxl_base_v1-0"),
        ({"modelspec.architecture": "flux-1-dev/lora"}, "flux-1-dev/lora"),
        ({"ss_base_model_version": "y" * 300}, "y" * 100),
    ],
)
def test_the_base_model(metadata, base):
    assert base_model_of(metadata) == base


@pytest.mark.parametrize(
    ("stated", "by_shapes", "family"),
    [
        ("kolors", "sdxl", "kolors"),
        ("stable-diffusion-xl-v1-base/lora", "unet", "sdxl"),
        ("sd_v1", None, "sd15"),
        ("flux2", "flux", "flux2"),
        ("hunyuan-video", "flux", "hunyuan"),
        ("sdxl_base_v1-0", "flux", "flux"),  # its tensors are certain
        ("wan2.2", None, "wan"),
        ("stable-diffusion-3-medium/lora", None, "sd3"),
        ("qwen-image", None, "qwen"),
        ("something", None, None),
    ],
)
def test_the_family_is_stated_where_the_tensors_do_not_tell(stated, by_shapes, family):
    assert stated_family({"modelspec.architecture": stated}, by_shapes) == family

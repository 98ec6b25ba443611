"""Processors load without torchvision, and give what they give with it."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from transformers.utils import is_torchvision_available

from app.engines.diffusers.load import processors
from app.engines.diffusers.load.checkpoint import inspect_folder
from app.errors import ModelUnavailable
from tools.tiny_models.sample import picture
from tools.tiny_models.tokens import llama_tokenizer

WITH_VIDEOS = {
    "qwen-image-edit": "processor",
    "qwen-image-edit-plus": "processor",
    "qwen-image-21": "processor",
    "kandinsky5": "tokenizer",
    "longcat-image": "text_processor",
}
without_torchvision = pytest.mark.skipif(is_torchvision_available(), reason="transformers loads these by itself")


def loaded(built, family):
    return processors.load_processors(inspect_folder(built(family), None))


@without_torchvision
@pytest.mark.parametrize(("family", "part"), WITH_VIDEOS.items())
def test_a_processor_with_a_video_processor_loads(built, family, part):
    found = loaded(built, family)
    assert list(found) == [part]
    assert type(found[part]) is usable(inspect_folder(built(family), None).kinds[part])
    words = found[part](text=["<|image_pad|> a cat"], images=[picture(64, 64)], return_tensors="pt")
    assert words["pixel_values"].shape[0] == words["image_grid_thw"].prod()
    assert (words["input_ids"] == found[part].image_token_id).sum() * 4 == len(words["pixel_values"])


def usable(kind):
    return processors.usable_class(kind.rpartition(".")[2])


@without_torchvision
def test_videos_are_refused_with_what_to_install(built):
    found = loaded(built, "qwen-image-edit")["processor"]
    with pytest.raises(ModelUnavailable, match="install torchvision"):
        found.video_processor(videos=[[picture(28, 28)]])


@without_torchvision
def test_the_settings_of_the_video_processor_are_kept(built, tmp_path):
    loaded(built, "qwen-image-21")["processor"].save_pretrained(tmp_path)
    again = (tmp_path / "processor_config.json").read_text()
    assert '"Qwen3VLVideoProcessor"' in again
    assert "NoVideos" not in again


@without_torchvision
def test_flux2s_tokenizer_loads_by_its_own_class(built):
    assert loaded(built, "flux2-dev") == {}
    found = transformers.PixtralProcessor.from_pretrained(built("flux2-dev") / "tokenizer")
    words = found(text=["[IMG]a cat"], images=[picture(56, 56)], return_tensors="pt")
    assert words["pixel_values"].shape[-2:] == (56, 56)
    assert "transformers.models.pixtral.image_processing_pixtral" not in sys.modules  # nothing else gets the other one


@without_torchvision
@pytest.mark.parametrize("name", ["Siglip2ImageProcessorFast", "CLIPImageProcessorFast", "Qwen2VLImageProcessorFast"])
def test_names_of_transformers_4_lead_to_the_ones_on_pillow(name):
    found = processors.usable_class(name)
    assert found.__name__ == name.removesuffix("Fast") + "Pil"
    assert getattr(transformers, name) is found


@without_torchvision
def test_a_part_that_is_given_is_not_loaded_again(built):
    checkpoint = inspect_folder(built("qwen-image-edit"), None)
    assert processors.load_processors(checkpoint, given={"processor"}) == {}


def test_other_models_need_nothing(built):
    assert loaded(built, "flux") == {}


@without_torchvision
def test_a_pipeline_that_imports_torchvision_is_refused_in_one_sentence():
    with pytest.raises(ModelUnavailable, match="ConsisIDPipeline needs torchvision, which is not installed"):
        processors.prepare_pipeline("ConsisIDPipeline")


@pytest.mark.skipif(not is_torchvision_available(), reason="needs torchvision")
@pytest.mark.parametrize("name", ["Qwen2VLImageProcessor", "PixtralImageProcessor", "Siglip2ImageProcessor"])
def test_both_implementations_give_the_same_pixels(name):
    """Up to one of 255 steps, where their roundings differ."""
    on_torchvision, on_pillow = getattr(transformers, name)(), getattr(transformers, name + "Pil")()
    one, other = (kind(picture(200, 130), return_tensors="pt")["pixel_values"] for kind in (on_torchvision, on_pillow))
    step = 1 / 255 / min(on_pillow.image_std)
    difference = (torch.as_tensor(one).float() - torch.as_tensor(other).float()).abs()
    assert difference.max() <= 1.01 * step
    assert difference.mean() < 0.01 * step


@without_torchvision
@pytest.mark.parametrize(("family", "part"), WITH_VIDEOS.items())
def test_the_layout_of_published_repositories_loads(copy_of_built, family, part):
    """Pictures' and videos' settings in files of their own, with the names of transformers 4."""
    folder = copy_of_built(family) / part
    settings = json.loads((folder / "processor_config.json").read_text())
    pictures = settings["image_processor"] | {"image_processor_type": "Qwen2VLImageProcessorFast"}
    (folder / "preprocessor_config.json").write_text(json.dumps(pictures))
    (folder / "video_preprocessor_config.json").write_text(json.dumps(settings["video_processor"]))
    (folder / "processor_config.json").unlink()
    found = processors.load_processors(inspect_folder(folder.parent, None))[part]
    assert found.image_processor.size == pictures["size"]
    assert found.chat_template


@pytest.fixture
def copy_of_built(built, tmp_path):
    return lambda family: Path(shutil.copytree(built(family), tmp_path / family))


@without_torchvision
def test_omnigens_operations_are_those_of_torchvision():
    """By torchvision's definitions: ToTensor divides bytes by 255, Normalize takes the mean off and divides."""
    processors.prepare_pipeline("OmniGenPipeline")
    module = importlib.import_module("diffusers.pipelines.omnigen.processor_omnigen")
    pixels = np.asarray(picture(48, 32), dtype=np.float32)
    seen = module.OmniGenMultiModalProcessor(llama_tokenizer(), max_image_size=1024).process_image(picture(48, 32))
    assert seen.shape == (3, 32, 48)
    assert torch.equal(seen, torch.from_numpy((pixels / 255 - 0.5) / 0.5).permute(2, 0, 1))

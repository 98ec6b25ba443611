"""Local models that cannot be loaded: the error names the file and says what to do."""

from __future__ import annotations

import errno
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from app.core.catalog import ModelSpec
from app.engines.diffusers.load import errors
from app.errors import GenerationError, ModelUnavailable, StorageFull
from tests.engines.diffusers.generate.control import Recorder

UNET = "unet/diffusion_pytorch_model.safetensors"


def to_pickle(folder):
    (folder / UNET).rename(folder / "unet/diffusion_pytorch_model.bin")


def pickle_in_disguise(folder):
    torch.save({"weight": torch.zeros(4)}, folder / UNET)


def cut_off(folder):
    (folder / UNET).write_bytes((folder / UNET).read_bytes()[:-100])


def emptied(folder):
    (folder / UNET).write_bytes(b"")


def without_weights(folder):
    (folder / UNET).unlink()


def without_a_part(folder):
    for file in (folder / "vae").iterdir():
        file.unlink()
    (folder / "vae").rmdir()


def without_a_shard(folder):
    (folder / UNET).unlink()
    weight_map = {"a": "diffusion_pytorch_model-00001-of-00002.safetensors"}
    (folder / f"{UNET}.index.json").write_text(json.dumps({"weight_map": weight_map}))


def with_other_shapes(folder):
    tensors = load_file(folder / UNET)
    tensors["conv_in.weight"] = torch.zeros(3, 3, 3, 3)
    save_file(tensors, folder / UNET)


def without_a_tensor(part, name):
    def damage(folder):
        file = next((folder / part).glob("*.safetensors"))
        tensors = load_file(file)
        del tensors[name]
        save_file(tensors, file, {"format": "pt"})

    return damage


def reword(folder, **changes):
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | changes))


def unknown_class(folder):
    reword(folder, _class_name="FancyNewPipeline")


def code_of_its_own(folder):
    reword(folder, _class_name=["pipeline", "MyPipeline"])


def unknown_part_class(folder):
    reword(folder, unet=["diffusers", "FancyNewModel"])


def bad_index(folder):
    (folder / "model_index.json").write_text("{oops")


def without_index(folder):
    (folder / "model_index.json").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (to_pickle, r"unet/diffusion_pytorch_model\.bin is a pickle, which can run code"),
        (pickle_in_disguise, r"unet/diffusion_pytorch_model\.safetensors is damaged: it is not a safetensors file"),
        (cut_off, r"unet/diffusion_pytorch_model\.safetensors is damaged: it has [\d,]+ bytes and should have"),
        (emptied, r"unet/diffusion_pytorch_model\.safetensors is damaged"),
        (without_weights, r"no \.safetensors file in .*unet"),
        (without_a_part, r"lacks the folder .*vae"),
        (without_a_shard, r"diffusion_pytorch_model-00001-of-00002\.safetensors is missing"),
        (without_a_tensor("unet", "conv_in.bias"), r"unet lacks weights: its files hold [\d,]+ of [\d,]+ numbers"),
        (without_a_tensor("text_encoder", "final_layer_norm.weight"), r"text_encoder lacks weights"),
        (with_other_shapes, r"cannot be loaded: "),
        (unknown_class, r"has no pipeline 'FancyNewPipeline'\. Correct pipeline_class"),
        (code_of_its_own, r"needs Python code of its own"),
        (unknown_part_class, r"cannot be loaded: .*FancyNewModel"),
        (bad_index, r"model_index\.json is not valid JSON"),
        (without_index, r"has no model_index\.json"),
    ],
)
def test_a_damaged_folder_is_refused_by_name(engine, spec_of, copy_of, damage, message):
    folder = copy_of("sd15")
    damage(folder)
    with pytest.raises(ModelUnavailable, match=message) as failure:
        engine.load(spec_of(folder), Recorder())
    assert failure.value.code == "model_unavailable"
    assert "\n" not in failure.value.detail
    assert engine.resident() == []


def test_a_missing_folder_says_where_it_was_looked_for(engine, spec_of, tiny):
    with pytest.raises(ModelUnavailable, match=f"neither found at {tiny}/nowhere.*correct the MODEL_ line"):
        engine.load(spec_of("nowhere"), Recorder())


@pytest.mark.parametrize(("name", "message"), [("x.ckpt", "is a pickle"), ("x.txt", "neither a diffusers folder")])
def test_other_files_are_refused(engine, spec_of, tmp_path, name, message):
    (tmp_path / name).write_bytes(b"data")
    with pytest.raises(ModelUnavailable, match=message):
        engine.load(spec_of(tmp_path / name), Recorder())


def test_the_models_option_chooses_the_class(engine, spec_of):
    with pytest.raises(ModelUnavailable, match="has no pipeline 'NoSuchPipeline'"):
        engine.load(spec_of("sd15", pipeline_class="NoSuchPipeline"), Recorder())
    engine.load(spec_of("sd15", pipeline_class="StableDiffusionPipeline"), Recorder())


def test_a_variant_that_is_not_there_is_refused(engine, spec_of):
    with pytest.raises(ModelUnavailable, match="fp16"):
        engine.load(spec_of("sd15", variant="fp16"), Recorder())


def test_a_variant_is_loaded_and_counted(engine, spec_of, ask, copy_of):
    folder = copy_of("sd15")
    for file in list(folder.rglob("*.safetensors")):
        halves = {name: tensor.half() for name, tensor in load_file(file).items()}
        save_file(halves, file.with_name(file.name.replace(".safetensors", ".fp16.safetensors")), {"format": "pt"})
        file.unlink()
    made = engine.generate(spec_of(folder, variant="fp16"), ask(), Recorder())
    assert made.images[0].pixels.std() > 5


def test_a_request_the_pipeline_refuses_is_a_stated_error(engine, spec_of, ask):
    with pytest.raises(GenerationError, match=r"does not accept this request.*divisible by 8"):
        engine.generate(spec_of("sd15"), ask(width=60), Recorder())


def test_a_full_disk_is_a_transient_error():
    spec = ModelSpec(id="m", name="m", repo="a/b", description="", source="huggingface")
    full = OSError(errno.ENOSPC, "No space left on device")
    wrapped = OSError("could not write")
    wrapped.__cause__ = full
    for error in (full, wrapped):
        found = errors.download_error(error, spec)
        assert isinstance(found, StorageFull)
        assert found.transient

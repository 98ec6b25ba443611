"""LoRAs for text encoders: every naming scheme applies its matrices, and the encoder is unchanged afterwards."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from app.errors import LoraIncompatible
from tests.engines.diffusers.generate.control import Recorder
from tests.engines.diffusers.loras.spellings import ALPHA, RANK, SECOND, SPELLINGS, write_text_lora

CASES = [
    *(("sd15", "text_encoder", spelling) for spelling in SPELLINGS),
    *(("sdxl", "text_encoder", spelling) for spelling in SPELLINGS),
    *(("sdxl", "text_encoder_2", spelling) for spelling in SECOND),
    *(("flux", "text_encoder", spelling) for spelling in SPELLINGS),
    *(("sd35", "text_encoder", spelling) for spelling in SPELLINGS),
    *(("sd35", "text_encoder_2", spelling) for spelling in SECOND),
    ("lcm", "text_encoder", "peft"),
    ("lcm", "text_encoder", "kohya"),
]


@pytest.fixture
def settings(settings, tmp_path):
    return dataclasses.replace(settings, loras_dir=tmp_path / "loras")


@pytest.fixture
def draw(engine, spec_of, ask):
    def run(family, *loras):
        request = ask(loras=[{"id": name} for name in loras])
        return engine.generate(spec_of(family), request, Recorder()).images[0].pixels.astype(int)

    return run


@pytest.fixture
def grown(tiny, tmp_path, spec_of, engine, ask):
    """The picture of a model whose text encoder's weights grew."""

    def run(family, part, growth):
        folder = tmp_path / f"{family}-grown"
        shutil.copytree(tiny / family, folder)
        file = folder / part / "model.safetensors"
        weights = load_file(file)
        save_file({n: w + growth[n] if n in growth else w for n, w in weights.items()}, file, {"format": "pt"})
        return engine.generate(spec_of(folder), ask(), Recorder()).images[0].pixels.astype(int)

    return run


@pytest.mark.parametrize(("family", "part", "spelling"), CASES)
def test_it_is_drawn_with_and_leaves_nothing(engine, spec_of, tiny, tmp_path, draw, grown, family, part, spelling):
    growth = write_text_lora(tiny / family, part, tmp_path / "loras" / "words.safetensors", spelling)
    before = draw(family)
    encoder = getattr(engine._model_cache.get(spec_of(family)).pipeline, part)
    weights = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    hooks = [list(module._forward_hooks) for module in encoder.modules()]  # transformers has some of its own
    applied = draw(family, "words")
    assert np.abs(applied - before).max() > 1
    assert np.abs(applied - grown(family, part, growth)).max() <= 1
    after = encoder.state_dict()
    assert set(after) == set(weights)
    assert all(torch.equal(after[name], weights[name]) for name in weights)
    assert [list(module._forward_hooks) for module in encoder.modules()] == hooks
    assert np.array_equal(draw(family), before)


def test_the_alpha_that_diffusers_writes_beside_pefts_tensors_counts(tiny, tmp_path, draw, grown):
    file = tmp_path / "loras" / "words.safetensors"
    growth = write_text_lora(tiny / "sd15", "text_encoder", file, "peft")
    stated = json.dumps({"text_encoder.r": RANK, "text_encoder.lora_alpha": ALPHA})
    save_file(load_file(file), file, {"format": "pt", "lora_adapter_metadata": stated})
    halved = {name: tensor * ALPHA / RANK for name, tensor in growth.items()}
    assert np.abs(draw("sd15", "words") - grown("sd15", "text_encoder", halved)).max() <= 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "lora_te_text_model_encoder_layers_9_mlp_fc1.lora_down.weight",
            "text_encoder has no layer text_model_",
        ),
        ("text_encoder_2.text_model.encoder.layers.0.mlp.fc1.lora_A.weight", "has no part 'text_encoder_2'"),
        ("text_encoder.text_model.encoder.layers.0.layer_norm1.weight", "which is not done here"),
        ("text_encoder.text_model.encoder.layers.1.mlp.fc2.lora_A.weight", "only one of the two matrices"),
    ],
)
def test_what_has_no_place_is_refused_by_its_own_name(tiny, tmp_path, draw, name, message):
    file = tmp_path / "loras" / "words.safetensors"
    write_text_lora(tiny / "sd15", "text_encoder", file, "peft")
    tensors = load_file(file)
    tensors.pop(name.replace("lora_A", "lora_B"), None)
    save_file(tensors | {name: torch.ones(RANK, 64)}, file, {"format": "pt"})
    with pytest.raises(LoraIncompatible, match=message):
        draw("sd15", "words")


def test_zeros_without_a_place_change_nothing(tiny, tmp_path, draw):
    file = tmp_path / "loras" / "words.safetensors"
    write_text_lora(tiny / "sd15", "text_encoder", file, "comfy")
    plain = draw("sd15", "words")
    nothing = {"text_encoders.clip_l.transformer.text_model.embeddings.position_embedding.diff": torch.zeros(2)}
    save_file(load_file(file) | nothing, tmp_path / "loras" / "zeros.safetensors", {"format": "pt"})
    assert np.array_equal(draw("sd15", "zeros"), plain)

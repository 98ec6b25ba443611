"""Lines of auxiliary models, what their configurations say, and the pictures of a request that use them."""

from __future__ import annotations

import re

import pytest

from app.config import ROOT
from app.core.auxiliaries import modes_of, net_shape, width_problem
from app.core.catalog_lines import build_catalog, parse_model_line
from app.core.inputs import InputRef
from app.core.request import GenerationRequest
from app.core.scheduling import can_merge
from app.errors import UnknownModel

IP = '"kind": "ip-adapter", "family": "sd15", "file": "a.safetensors", "image_encoder": "e"'


def options(text: str, source: str = "local"):
    return parse_model_line(f"x;/x;X;{source};false;{{{text}}}").options


def test_lines_of_each_kind() -> None:
    assert options('"kind": "controlnet"').kind == "controlnet"
    assert options(IP).file == "a.safetensors"
    assert options('"kind": "redux"').kind == "redux"
    assert options('"kind": "detector", "detects": "depth"').detects == "depth"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('"family": "sdxl"', "is for auxiliary models"),
        ('"kind": "controlnet", "family": "cubism"', "the family 'cubism' is unknown"),
        ('"kind": "ip-adapter", "family": "sd15", "image_encoder": "e"', 'needs "file"'),
        ('"kind": "ip-adapter", "family": "qwen", "file": "a.safetensors", "image_encoder": "e"', 'needs "family"'),
        ('"kind": "ip-adapter", "family": "sd15", "file": "a.safetensors"', 'needs "image_encoder"'),
        (IP.replace("a.safetensors", "a.bin"), "file"),
        (IP.replace("a.safetensors", "../a.safetensors"), "leaves the model's folder"),
        ('"kind": "detector"', "detects"),
        ('"kind": "controlnet", "detects": "depth"', "detects"),
        ('"kind": "detector", "detects": "smiles"', "detects"),
        ('"kind": "detector", "detects": "depth", "person_detector": "a/b"', 'is for a line with "detects": pose'),
        ('"kind": "detector", "detects": "pose", "person_detector": "../b"', "leaves the model's folder"),
        ('"kind": "sculpture"', "kind"),
    ],
)
def test_wrong_lines_say_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        options(text)


def test_none_runs_at_a_provider() -> None:
    with pytest.raises(ValueError, match="runs here"):
        options('"kind": "controlnet"', "replicate")


def test_the_catalogue_keeps_them_apart() -> None:
    lines = {"MODEL_N": 'Edges;owner/edges;N;huggingface;false;{"kind": "controlnet", "aliases": ["canny"]}'}
    catalog = build_catalog(lines, "demo")
    assert "edges" not in [spec.id for spec in catalog]
    for name in ("edges", "CANNY", "owner/Edges"):
        found = catalog.auxiliary(name)
        assert found is not None
        assert found.id == "edges"
        with pytest.raises(UnknownModel, match="draws nothing by itself"):
            catalog.get(name)
    assert catalog.auxiliary("demo") is None


def test_the_lines_in_the_documentation_are_valid() -> None:
    text = (ROOT / "docs" / "MODELS.md").read_text().partition("## Auxiliary models")[2].partition("\n## ")[0]
    lines = dict(line.split("=", 1) for line in text.splitlines() if line.startswith("MODEL_"))
    assert {parse_model_line(line).options.kind for line in lines.values()} == {
        "controlnet",
        "ip-adapter",
        "redux",
        "detector",
    }


@pytest.mark.parametrize(
    ("config", "family", "modes"),
    [
        ({"_class_name": "ControlNetModel", "cross_attention_dim": 768}, "sd15", 0),
        ({"_class_name": "ControlNetModel", "cross_attention_dim": 1024}, "sd21", 0),
        (
            {"_class_name": "ControlNetModel", "cross_attention_dim": 2048, "addition_embed_type": "text_time"},
            "sdxl",
            0,
        ),
        ({"_class_name": "ControlNetModel", "cross_attention_dim": 99}, None, 0),
        ({"_class_name": "ControlNetModel_Union", "num_control_type": 6, "cross_attention_dim": 2048}, "sdxl", 8),
        ({"_class_name": "ControlNetUnionModel", "num_control_type": 8}, "sdxl", 10),
        ({"_class_name": "FluxControlNetModel", "num_mode": 3}, "flux", 3),
        ({"_class_name": "FluxControlNetModel", "num_mode": None}, "flux", 0),
        ({"_class_name": "SD3ControlNetModel"}, "sd3", 0),
    ],
)
def test_configurations(config, family, modes) -> None:
    shape = net_shape(config)
    assert shape is not None
    assert (shape.family, len(modes_of(shape))) == (family, modes)


@pytest.mark.parametrize("config", [{}, {"_class_name": "T2IAdapter"}, {"_class_name": 3}, {"_class_name": ["x"]}])
def test_what_is_no_controlnet(config) -> None:
    assert net_shape(config) is None


def test_widths() -> None:
    shape = net_shape({"_class_name": "ControlNetModel", "cross_attention_dim": 768})
    assert shape is not None
    assert width_problem(shape, {"cross_attention_dim": 768}) is None
    assert width_problem(shape, {}) is None
    assert (
        width_problem(shape, {"cross_attention_dim": 1024}) == "its cross_attention_dim is 768, that of the model 1024"
    )


def test_a_job_with_a_control_is_not_merged_and_uses_its_models() -> None:
    plain = GenerationRequest(model_id="m", prompt="x", num_inference_steps=4, seed=1)
    ref = InputRef(role="control", sha256="0" * 64, width=8, height=8, model="edges")
    controlled = plain.model_copy(update={"pictures": (ref,)})
    assert (can_merge(plain), can_merge(controlled)) == (True, False)
    assert (plain.models_used, controlled.models_used) == (["m"], ["m", "edges"])
    stored = GenerationRequest.model_validate(
        {"model_id": "m", "prompt": "x", "num_inference_steps": 4, "seed": 1, **controlled.stored()}
    )
    assert stored == controlled

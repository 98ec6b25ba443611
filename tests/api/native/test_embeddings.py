"""Embeddings: listed, found in prompts, and refused before queueing where they do not fit."""

from __future__ import annotations

import json
import struct

import pytest

from app import create_app
from app.core.embeddings import named_in, split


def write(file, **shapes):
    """A safetensors file of zeros."""
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 4 * shape[0] * shape[-1] if len(shape) == 2 else 4 * shape[0]
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))


@pytest.fixture
def app(settings_in, tmp_path):
    lines = {}
    for name, pipeline, widths in (
        ("sd", "StableDiffusionPipeline", [768]),
        ("xl", "StableDiffusionXLPipeline", [768, 1280]),
        ("flux", "FluxPipeline", [768]),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
        for part, width in zip(("text_encoder", "text_encoder_2"), widths, strict=False):
            (tmp_path / name / part).mkdir()
            (tmp_path / name / part / "config.json").write_text(json.dumps({"hidden_size": width}))
        lines[f"MODEL_{name}"] = f"{name};{tmp_path / name};M;local;false"
    folder = tmp_path / "embeddings"
    (folder / "more").mkdir(parents=True)
    write(folder / "moody.safetensors", emb_params=(4, 768))
    write(folder / "more" / "Grim Look.safetensors", clip_l=(2, 768), clip_g=(2, 1280))
    (folder / "broken.safetensors").write_bytes(b"\x80\x04 pickled")
    (folder / "old.pt").write_bytes(b"\x80\x04")
    app = create_app(settings_in(tmp_path, model_lines=lines, default_model_id="sd", embeddings_dir=str(folder)))
    yield app
    app.extensions["cyberimage"].close()


def test_they_are_listed_with_the_models_that_they_fit(client):
    found = {each["id"]: each for each in client.get("/api/embeddings").json["embeddings"]}
    assert set(found) == {"moody", "Grim Look", "broken"}
    assert {name: found["moody"][name] for name in ("available", "vectors", "widths", "models", "problem")} == {
        "available": True,
        "vectors": 4,
        "widths": [768],
        "models": ["sd"],
        "problem": None,
    }
    assert (found["Grim Look"]["widths"], found["Grim Look"]["models"]) == ([768, 1280], ["xl"])
    assert found["broken"]["available"] is False
    assert "pickle" in found["broken"]["problem"]
    loaded = client.get("/sdapi/v1/embeddings").json
    assert loaded["loaded"]["moody"]["vectors"] == 4
    assert list(loaded["skipped"]) == ["broken"]


def send(client, prompt, model_id="sd", **more):
    return client.post("/api/generate", json={"prompt": prompt, "model_id": model_id, **more})


def test_those_of_a_prompt_are_kept_with_the_job(client, context):
    answer = send(client, "a <Moody> cat", negative_prompt="moody")
    request = context.jobs.get(answer.json["job_id"]).request
    assert (request.embeddings, request.prompt_weighting) == (("moody",), "auto")
    for prompt in ("a moodyish cat", "a cat in a-moody-b"):
        plain = context.jobs.get(send(client, prompt).json["job_id"]).request
        assert (plain.embeddings, plain.prompt_weighting) == ((), None)
    off = send(client, "a moody cat", settings={"prompt_weighting": "off"})
    assert context.jobs.get(off.json["job_id"]).request.embeddings == ()


def test_one_that_does_not_fit_is_refused_by_field(client, context):
    answer = send(client, "a cat, grim look", settings={"seed": 1})
    assert (answer.status_code, answer.json["code"]) == (400, "embedding_incompatible")
    assert answer.json["errors"][0]["field"] == "prompt"
    assert "768 and 1280" in answer.json["errors"][0]["message"]
    answer = send(client, "a cat", "xl", negative_prompt="moody")
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (400, "negative_prompt")
    answer = send(client, "a broken cat")
    assert (answer.status_code, answer.json["code"]) == (400, "embedding_unavailable")
    assert context.jobs.count_pending() == 0


def test_a_model_that_reads_none_is_said_to(client, context):
    answer = send(client, "a <moody> cat", "flux")
    assert answer.status_code == 202
    assert "flux reads no embeddings: <moody> is text for it." in answer.json["warnings"]
    assert context.jobs.get(answer.json["job_id"]).request.embeddings == ()


def test_a_rerun_without_its_embedding_is_refused(client, worker, context, tmp_path):
    send(client, "a moody cat")
    image_id = worker.finish(effective={"embeddings": [{"id": "moody", "revision": "x"}]})[0]
    (tmp_path / "embeddings" / "moody.safetensors").unlink()
    answer = client.post(f"/api/image/{image_id}/rerun")
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")
    assert "moody" in answer.json["detail"]


def test_names_in_texts():
    names = ["cat", "big cat", "Dog"]
    assert list(split("a big cat and <dog>.", names)) == [
        ("a ", None),
        ("big cat", "big cat"),
        (" and ", None),
        ("<dog>", "Dog"),
        (".", None),
    ]
    assert list(split("(cat:1.2)", names)) == [("(", None), ("cat", "cat"), (":1.2)", None)]
    assert named_in(["concat", "cat-like", "<catty>", ""], names) == []
    assert list(split("text", [])) == [("text", None)]

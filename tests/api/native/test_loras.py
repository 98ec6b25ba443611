"""LoRAs by HTTP: listed, checked before a job is accepted, and named by hand."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest

from app import create_app
from app.errors import InvalidRequest, LoraUnavailable
from app.services.models import loras as service


def safetensors(shapes, metadata=None) -> bytes:
    """A whole file with tensors of these shapes, all zeros."""
    header, end = ({"__metadata__": metadata} if metadata else {}), 0
    for name, shape in shapes.items():
        size = 4
        for side in shape:
            size *= side
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"\0" * end


FLUX = {
    "transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": (8, 32),
    "transformer.single_transformer_blocks.0.attn.to_q.lora_B.weight": (32, 8),
}
SDXL = {
    "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": (4, 2048),
    "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.lora_up.weight": (640, 4),
}

ABOUT = {
    "ss_base_model_version": "sdxl_base_v1-0",
    "ss_tag_frequency": json.dumps({"10_pixel": {"outdoors": 3, "pixelart": 20}}),
}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "loras"
    (folder / "styles").mkdir(parents=True)
    (folder / "ink.safetensors").write_bytes(safetensors(FLUX))
    (folder / "styles/pixel.safetensors").write_bytes(safetensors(SDXL, ABOUT))
    (folder / "pickle.safetensors").write_bytes(b"PK\x03\x04" + b"\0" * 100)
    (folder / "dora.safetensors").write_bytes(safetensors(FLUX | {"transformer.x.dora_scale": (1,)}))
    (folder / "notes.txt").write_text("mine")
    return folder


@pytest.fixture
def app(settings_in, tmp_path, folder):
    model = tmp_path / "flux"
    model.mkdir()
    (model / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    lines = {"MODEL_F": f"flux;{model};F;local;false", "MODEL_N": "unknown;/nowhere;N;local;false"}
    app = create_app(
        settings_in(
            tmp_path, model_lines=lines, default_model_id="flux", loras_dir=str(folder), model_cache_dir=tmp_path
        )
    )
    yield app
    app.extensions["cyberimage"].close()


@pytest.fixture
def listed(client):
    return lambda: {lora["id"]: lora for lora in client.get("/api/loras").json["loras"]}


@pytest.fixture
def send(client):
    def send(*loras, model_id="flux"):
        body = {"prompt": "x", "model_id": model_id, "settings": {"loras": list(loras)}}
        return client.post("/api/generate", json=body)

    return send


def test_files_are_listed_with_what_they_are_for(listed):
    found = listed()
    assert set(found) == {"ink", "styles/pixel", "pickle", "dora"}
    ink = found["ink"]
    assert (ink["available"], ink["family"], ink["rank"], ink["problem"]) == (True, "FLUX.1", 8, None)
    assert "flux" in ink["models"]
    assert "sd15" not in ink["models"]
    assert ink["bytes"] > 2000
    pixel = found["styles/pixel"]
    assert (pixel["family"], pixel["rank"], pixel["base_model"]) == ("Stable Diffusion XL", 4, "sdxl_base_v1-0")
    assert pixel["trigger_words"] == ["pixelart", "outdoors"]
    assert ink["trigger_words"] == []
    assert found["dora"]["available"] is True
    assert (found["pickle"]["available"], found["pickle"]["family"]) == (False, None)
    assert "it is a pickle" in found["pickle"]["problem"]


def test_links_and_capitals_are_listed_and_may_be_named(listed, send, problem, folder, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "linked.safetensors").write_bytes(safetensors(FLUX))
    (elsewhere / "back").symlink_to(folder)  # a loop
    (folder / "linkdir").symlink_to(elsewhere)
    (folder / "linkfile.safetensors").symlink_to(elsewhere / "linked.safetensors")
    (folder / "UPPER.SAFETENSORS").write_bytes(safetensors(FLUX))
    (folder / "lost.safetensors").symlink_to(tmp_path / "gone.safetensors")
    found = listed()
    for name in ("linkfile", "linkdir/linked", "UPPER"):
        assert found[name]["family"] == "FLUX.1"
        assert send({"id": name}).status_code == 202
    assert "linkdir/back/ink" not in found
    assert found["lost"]["problem"] == "The LoRA lost is a link to a missing file. Repair the link in LORAS_DIR."
    problem(send({"id": "lost"}), 400, "lora_unavailable")


def test_a_name_that_is_no_utf_8_is_left_out(listed, folder):
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.safetensors")).write_bytes(safetensors(FLUX))
    assert "ink" in listed()


def test_without_a_folder_there_are_none(listed, folder):
    folder.rename(folder.with_name("elsewhere"))
    assert listed() == {}


def test_a_job_has_its_loras(client, send, worker):
    answer = send({"id": "ink", "scale": 0.5})
    assert answer.status_code == 202, answer.text
    assert worker.claim().request.loras[0].scale == 0.5
    settings = client.get(answer.json["status_url"]).json["settings"]
    assert settings["loras"] == [{"id": "ink", "scale": 0.5}]


def test_one_for_another_family_is_refused_before_it_is_queued(send, problem, context):
    found = problem(send({"id": "styles/pixel"}), 400, "lora_incompatible")
    assert found["detail"] == "The LoRA styles/pixel does not fit flux: it was made for Stable Diffusion XL."
    assert found["errors"][0]["field"] == "settings.loras"
    assert context.jobs.count_pending() == 0
    assert send({"id": "styles/pixel"}, model_id="unknown").status_code == 202  # its worker finds out


@pytest.mark.parametrize(
    ("lora_id", "message"),
    [
        ("pickle", "it is a pickle, which can run code and is never loaded"),
        ("nobody", "There is no LoRA 'nobody'"),
        ("../ink", "There is no LoRA"),
        ("notes.txt", "There is no LoRA"),
        ("x" * 300, "There is no LoRA"),
    ],
)
def test_one_that_cannot_be_used_is_refused(send, problem, lora_id, message):
    assert message in problem(send({"id": lora_id}), 400, "lora_unavailable")["detail"]


def test_one_of_the_hub_is_left_to_the_worker_if_that_is_allowed(send, context, problem):
    assert send({"id": "somebody/a-lora"}).status_code == 202
    assert send({"id": "somebody/a-lora/file.safetensors"}).status_code == 202
    object.__setattr__(context, "settings", context.settings.model_copy(update={"lora_hub": False}))
    problem(send({"id": "somebody/a-lora"}), 400, "lora_unavailable")


def test_one_that_was_downloaded_is_judged_like_a_file(send, context, problem):
    snapshot = context.settings.hub_cache / "models--somebody--xl" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "a.safetensors").write_bytes(safetensors(SDXL))
    problem(send({"id": "somebody/xl"}), 400, "lora_incompatible")


def test_a_job_whose_lora_is_gone_is_not_retried(client, send, problem, folder):
    job_id = send({"id": "ink"}).json["job_id"]
    client.post(f"/api/jobs/{job_id}/cancel")
    kept = (folder / "ink.safetensors").rename(folder / "ink.kept")
    told = problem(client.post(f"/api/jobs/{job_id}/retry"), 400, "lora_unavailable")
    assert "There is no LoRA 'ink'" in told["detail"]
    kept.rename(folder / "ink.safetensors")
    assert client.post(f"/api/jobs/{job_id}/retry").json["status"] == "PENDING"


def test_a_name_given_by_hand(context, listed, send, worker):
    known = service.load(context, "ink", "my-style")
    assert (known.id, known.stands_for, known.card.family) == ("my-style", "ink", "flux")
    assert listed()["my-style"]["stands_for"] == "ink"
    assert send({"id": "my-style", "scale": 2}).status_code == 202
    assert [(lora.id, lora.scale) for lora in worker.claim().request.loras] == [("ink", 2)]
    service.load(context, "somebody/a-lora", "my-style")  # means another one from now on
    assert listed()["my-style"]["available"] is False
    assert service.unload(context, "my-style") is True
    assert service.unload(context, "my-style") is False
    assert "my-style" not in listed()


def test_what_cannot_be_used_gets_no_name(context, listed):
    for path in ("nobody", "pickle"):
        with pytest.raises(LoraUnavailable):
            service.load(context, path, "my-style")
    with pytest.raises(InvalidRequest):
        service.load(context, "ink", "no/good name")
    assert "my-style" not in listed()


def test_a_path_into_the_folder_names_the_file_and_one_out_of_it_does_not(context, folder, tmp_path):
    assert service.load(context, str(folder / "ink.safetensors")).card.family == "flux"
    (tmp_path / "outside.safetensors").write_bytes(safetensors(FLUX))
    with pytest.raises(LoraUnavailable):
        service.load(context, str(tmp_path / "outside.safetensors"))


def test_a_tag_in_the_prompt_is_a_lora_of_the_request(client, problem):
    body = {"prompt": "a boat <lora:ink:0.5>", "model_id": "flux"}
    answer = client.post("/api/generate", json=body)
    assert answer.status_code == 202, answer.text
    status = client.get(answer.json["status_url"]).json
    assert (status["prompt"], status["settings"]["loras"]) == ("a boat", [{"id": "ink", "scale": 0.5}])
    assert "<lora:ink:0.5> was read as the LoRA ink with scale 0.5." in status["warnings"]
    missing = problem(client.post("/api/generate", json=body | {"prompt": "a <lora:none:1>"}), 400, "lora_unavailable")
    assert missing["errors"][0]["field"] == "settings.loras"
    other = client.post("/api/generate", json=body | {"prompt": "a <lora:styles/pixel:1>"})
    problem(other, 400, "lora_incompatible")

"""What the list of models tells of their files."""

from __future__ import annotations

import errno
import json
import os

import pytest

from app import create_app
from app.core.job import Phase, Progress
from app.core.load_requests import LoadAction
from app.errors import Conflict
from app.files import hub_cache
from app.services.models import model_files
from app.store.queue.workers import WorkerReport

REPO = "stable-diffusion-v1-5/stable-diffusion-v1-5"


@pytest.fixture
def app(settings_in, tmp_path):
    """With a folder for models of its own."""
    app = create_app(settings_in(tmp_path, model_cache_dir=tmp_path / "models"))
    yield app
    app.extensions["cyberimage"].close()


@pytest.fixture
def model(client):
    return lambda name: next(each for each in client.get("/api/models").json["models"] if each["id"] == name)


@pytest.fixture
def snapshot(context):
    """A copy of sd15 as a download leaves it, with its index and one part, of two."""
    folder = hub_cache.repo_folder(context.settings.hub_cache, context.catalog.get("sd15").repo)
    version = folder / "snapshots" / ("0" * 40)
    (version / "unet").mkdir(parents=True)
    parts = {"unet": ["diffusers", "A"], "vae": ["diffusers", "B"], "safety_checker": ["x", "C"], "other": [None, None]}
    (version / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline", **parts}))
    (folder / "blobs").mkdir()
    (folder / "blobs" / "abc").write_bytes(b"x" * 1000)
    (version / "unet" / "weights.safetensors").symlink_to(folder / "blobs" / "abc")
    return version


def test_the_size_on_disk_counts_each_byte_once(model, snapshot):
    index = (snapshot / "model_index.json").stat().st_size
    assert model("sd15")["bytes"] == 1000 + index
    assert model("sdxl-base")["bytes"] == 0
    assert model("demo")["bytes"] > 1_000_000


def test_a_download_that_broke_off_does_not_count_as_there(model, snapshot):
    assert model("sd15")["available"] is False
    (snapshot / "vae").mkdir()
    (snapshot / "vae/config.json").write_text("{}")
    assert model("sd15")["available"] is False  # fetched for a model with a VAE of its own
    (snapshot / "vae/weights.safetensors").write_bytes(b"x")
    assert model("sd15")["available"] is True


@pytest.fixture
def tuned(settings_in, tmp_path, snapshot):
    """The list's entry of a file on sd15, given its options."""

    def entry(**options):
        line = f"tuned;{tmp_path}/tuned.safetensors;;local;false;{json.dumps({'base': REPO, **options})}"
        app = create_app(settings_in(tmp_path, model_cache_dir=tmp_path / "models", model_lines={"MODEL_TUNED": line}))
        models = app.test_client().get("/api/models").json["models"]
        app.extensions["cyberimage"].close()
        return next(each for each in models if each["id"] == "tuned")

    return entry


def test_a_file_is_there_with_its_base_and_its_vae(tuned, snapshot, tmp_path):
    (snapshot / "vae").mkdir()
    assert tuned()["available"] is False
    (tmp_path / "tuned.safetensors").write_bytes(b"x" * 10)
    found = tuned()
    assert found["available"] is True
    assert found["tasks"] == ["txt2img", "img2img", "inpaint"]
    assert found["bytes"] == 10 + 1000 + (snapshot / "model_index.json").stat().st_size
    assert tuned(vae="owner/vae")["available"] is False
    vae = hub_cache.repo_folder(tmp_path / "models/huggingface/hub", "owner/vae") / "snapshots/1/vae"
    vae.mkdir(parents=True)
    (vae / "weights.safetensors").write_bytes(b"x")
    assert tuned(vae="owner/vae")["available"] is True


def test_a_download_under_way_is_told_everywhere(client, model, submit, worker, context, problem):
    job_id = submit(model_id="sd15")
    claim = worker.claim()
    assert model("sd15")["downloading"] is None
    steps = claim.request.num_inference_steps
    download = Progress(Phase.DOWNLOADING, 0, steps, downloaded_bytes=1_200_000_000, total_bytes=34_000_000_000)
    context.claims.progress(claim, download)
    told = {"downloaded_bytes": 1_200_000_000, "total_bytes": 34_000_000_000}
    assert model("sd15")["downloading"] == told | {"eta_seconds": None}
    progress = client.get(f"/api/status/{job_id}").json["progress"]
    assert progress | told == progress
    assert (progress["phase"], progress["percent"]) == ("downloading_model", 0)
    assert "Cancel the job" in problem(client.delete("/api/models/sd15/files"), 409, "conflict")["detail"]
    worker.progress(claim, 1)
    assert model("sd15")["downloading"] is None
    assert client.get(f"/api/status/{job_id}").json["progress"]["total_bytes"] is None


def test_a_download_that_was_ordered_is_told_while_its_worker_lives(client, model, context):
    orders = context.load_requests
    orders.create(LoadAction.LOAD, "sd15", lifetime=60)
    context.workers.heartbeat(WorkerReport("w1", "here", 1, "cpu"))
    order = orders.take("w1")
    assert model("sd15")["downloading"] is None
    assert orders.progress(order, downloaded=1000, total=9000, per_second=None)
    assert model("sd15")["downloading"] == {"downloaded_bytes": 1000, "total_bytes": 9000, "eta_seconds": None}
    assert orders.progress(order, downloaded=3000, total=9000, per_second=500.0)
    told = {"downloaded_bytes": 3000, "total_bytes": 9000, "eta_seconds": 12.0}
    assert model("sd15")["downloading"] == told
    answer = client.post("/v1/models/load", json={"model_id": "sd15", "timeout": 0})
    assert (answer.status_code, answer.json) == (
        202,
        {"status": "loading", "model_id": "sd15", "seconds": None, "worker_id": "w1", **told},
    )
    with pytest.raises(Conflict, match="unload the model"):
        model_files.remove(context, context.catalog.get("sd15"))
    context.workers.remove("w1")
    assert model("sd15")["downloading"] is None


def test_the_bytes_of_a_lora_are_the_jobs_and_not_those_of_a_model_that_is_here(
    client, model, submit, worker, context, snapshot
):
    (snapshot / "vae").mkdir()
    (snapshot / "vae/weights.safetensors").write_bytes(b"x")
    job_id = submit(model_id="sd15")
    claim = worker.claim()
    context.claims.progress(claim, Progress(Phase.DOWNLOADING, 0, 20, downloaded_bytes=1000, total_bytes=9000))
    assert client.get(f"/api/status/{job_id}").json["progress"]["total_bytes"] == 9000
    assert model("sd15")["downloading"] is None


def test_the_built_in_model_has_a_control_model(tmp_path, settings_in):
    app = create_app(settings_in(tmp_path))
    listed = {model["id"]: model for model in app.test_client().get("/api/models").json["models"]}
    assert listed["demo"]["control_models"] == ["drawings-edges"]
    assert "control" in listed["demo"]["roles"]
    assert {name for name, model in listed.items() if "drawings-edges" in model["control_models"]} == {"demo"}
    app.extensions["cyberimage"].close()


def test_the_files_of_a_model_are_deleted(client, model, snapshot, problem):
    index = (snapshot / "model_index.json").stat().st_size
    assert client.delete("/api/models/sd15/files").json == {"model_id": "sd15", "freed_bytes": 1000 + index}
    assert model("sd15")["bytes"] == 0
    assert client.delete("/api/models/sd15/files").json["freed_bytes"] == 0
    problem(client.delete("/api/models/unknown/files"), 404, "unknown_model")
    detail = problem(client.delete("/api/models/demo/files"), 400, "invalid_request")["detail"]
    assert "was not downloaded by CyberImage" in detail


@pytest.mark.parametrize("options", [{"base": REPO}, {"base": "owner/base", "vae": REPO}], ids=["base", "vae"])
def test_files_that_a_download_of_another_model_needs_are_kept(settings_in, tmp_path, snapshot, problem, options):
    line = f"tuned;{tmp_path}/tuned.safetensors;;local;false;{json.dumps(options)}"
    app = create_app(settings_in(tmp_path, model_cache_dir=tmp_path / "models", model_lines={"MODEL_TUNED": line}))
    context = app.extensions["cyberimage"].context
    orders = context.load_requests
    orders.create(LoadAction.LOAD, "tuned", lifetime=60)
    context.workers.heartbeat(WorkerReport("w1", "here", 1, "cpu"))
    assert orders.progress(orders.take("w1"), downloaded=1000, total=9000, per_second=None)
    problem(app.test_client().delete("/api/models/sd15/files"), 409, "conflict")
    assert snapshot.exists()
    app.extensions["cyberimage"].close()


def test_files_behind_a_link_are_not_deleted(client, snapshot, problem, tmp_path):
    folder, elsewhere = snapshot.parent.parent, tmp_path / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    detail = problem(client.delete("/api/models/sd15/files"), 409, "conflict")["detail"]
    assert f"The files of {REPO} could not be deleted: " in detail
    assert "symbolic link" in detail
    assert (elsewhere / "blobs" / "abc").exists()


def test_files_that_cannot_be_deleted_are_no_fault_of_the_server(client, snapshot, problem, monkeypatch):
    def refused(folder):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))

    monkeypatch.setattr(hub_cache.shutil, "rmtree", refused)
    detail = problem(client.delete("/api/models/sd15/files"), 409, "conflict")["detail"]
    assert "could not be deleted: Permission denied." in detail
    assert str(snapshot.parent) not in detail

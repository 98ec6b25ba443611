"""What workers elsewhere can run is accepted, what none can is refused with what to do; without workers the own disk
decides."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from app.api.schemas.loras import LorasBody
from app.config import load_settings
from app.core.inputs import InputChoice
from app.core.request import GenerationInput, GenerationSettings, LoraChoice
from app.core.upscaling import UpscaleChoice
from app.core.worker_capabilities import Capabilities
from app.errors import (
    CyberImageError,
    EmbeddingIncompatible,
    InputModelUnavailable,
    InvalidRequest,
    LoraIncompatible,
    LoraUnavailable,
    NoCapableWorker,
    UnsupportedTask,
)
from app.services.context import AppContext, open_context
from app.services.jobs.cancel import cancel, retry
from app.services.jobs.status import view
from app.services.jobs.submit import Submission, submit
from app.services.models.fleet import fleet_of
from app.services.models.loras import listing
from app.services.models.own_capabilities import DeviceFacts, own_capabilities
from app.services.ops.stats import models, readiness
from app.store.db.schema import worker_capabilities
from app.store.queue.workers import WorkerReport
from tests.api.native.test_loras import FLUX, SDXL, safetensors

HERE = frozenset({"demo", "far", "lanczos", "elsewhere-x4"})
LINES = {
    "MODEL_A": "far;/nowhere/far;On another host;local;false",
    "MODEL_B": 'elsewhere-x4;/nowhere/x4.safetensors;Upscaler;local;false;{"kind": "upscaler"}',
    "MODEL_C": 'people;/nowhere/pose;Poses;local;false;{"kind": "detector", "detects": "pose"}',
}


@pytest.fixture
def context(tmp_path: Path) -> Iterator[AppContext]:
    """The API on a host without models, LoRAs and embeddings of its own."""
    places = {"IMAGES_DIR": tmp_path / "i", "VIDEOS_DIR": tmp_path / "v", "MODEL_CACHE_DIR": tmp_path / "m"}
    environment = {**LINES, "DATABASE_URL": f"sqlite:///{tmp_path}/db", "LORA_HUB": "false", "DISK_FLOOR_BYTES": "0"}
    settings = load_settings(environment | {name: str(place) for name, place in places.items()}, None)
    opened = open_context(settings)
    yield opened
    opened.close()


def beat(context: AppContext, id: str = "w1", host: str = "gpu-host", **can: object) -> None:
    report = Capabilities(**({"here": HERE} | can)) if can.get("here", 1) else None  # type: ignore[arg-type]
    context.workers.heartbeat(WorkerReport(id, host, 1, "cuda", capabilities=report))


def ask(context: AppContext, model_id: str | None = "demo", prompt: str = "a boat", **values: object) -> Submission:
    settings = GenerationSettings.model_validate({k: v for k, v in values.items() if k != "inputs"})
    asked = GenerationInput(prompt=prompt, model_id=model_id, settings=settings, inputs=values.get("inputs", ()))
    return submit(context, asked, client_id="alice")


def refused(context: AppContext, kind: type[CyberImageError], **values: object) -> CyberImageError:
    with pytest.raises(kind) as caught:
        ask(context, **values)  # type: ignore[arg-type]
    assert context.jobs.count_pending() == 0
    return caught.value


STYLE = (LoraChoice(id="Style"),)


# --- LoRAs


def test_a_lora_of_another_host_is_accepted(context: AppContext) -> None:
    assert "There is no LoRA 'Style'" in refused(context, LoraUnavailable, loras=STYLE).detail
    beat(context, "w1")
    beat(context, "w2", "other-host", loras={"style": "flux"})
    job = context.jobs.get(ask(context, loras=STYLE).job_id)
    assert job.request.loras[0].id == "Style"


def test_a_lora_that_no_worker_has_is_refused_with_where_to_put_it(context: AppContext) -> None:
    beat(context, "w1")
    error = refused(context, LoraUnavailable, loras=STYLE)
    assert error.detail == (
        "No worker has the LoRA 'Style'. Put its .safetensors file into LORAS_DIR of a worker, such as on gpu-host."
    )
    assert error.errors[0].field == "settings.loras"


def test_nor_does_the_api_s_own_file_help_when_no_worker_sees_it(context: AppContext) -> None:
    folder = context.settings.loras_folder
    folder.mkdir(parents=True)
    (folder / "style.safetensors").write_bytes(safetensors(FLUX))
    ask(context, loras=STYLE)
    context.jobs.cancel(context.jobs.waiting()[0].id)
    beat(context, "w1")
    assert "No worker has the LoRA" in refused(context, LoraUnavailable, loras=STYLE).detail


def test_a_file_on_the_worker_s_own_host_counts_before_it_is_reported(
    context: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.node", lambda: "gpu-host")
    beat(context, "w1")
    folder = context.settings.loras_folder
    folder.mkdir(parents=True)
    (folder / "style.safetensors").write_bytes(safetensors(FLUX))
    monkeypatch.setattr("app.services.models.own_capabilities.is_here", lambda *_: True)
    ask(context, loras=STYLE)


def test_those_of_other_hosts_are_listed(context: AppContext) -> None:
    beat(context, loras={"style": "flux", "old": None}, pipelines={"far": "FluxPipeline"})
    beat(context, "w2", loras={"style": "flux"})
    found = {known.id: (known.available, known.known_family) for known in listing(context)}
    assert found == {"old": (True, None), "style": (True, "flux")}
    bodies = {body.id: body for body in LorasBody.of(listing(context)).loras}
    assert (bodies["style"].family, bodies["style"].bytes, bodies["old"].family) == ("FLUX.1", None, None)


def test_whether_it_fits_is_judged_by_what_the_worker_says(context: AppContext) -> None:
    beat(context, loras={"style": "sdxl"}, pipelines={"far": "FluxPipeline"})
    error = refused(context, LoraIncompatible, model_id="far", loras=STYLE)
    assert "made for Stable Diffusion XL" in error.detail


# --- embeddings


def test_an_embedding_of_another_host_is_read_in_a_prompt(context: AppContext) -> None:
    beat(context, embeddings={"sketchy": {"": 768}}, pipelines={"far": "StableDiffusionPipeline"})
    job = context.jobs.get(ask(context, "far", prompt="a boat, sketchy").job_id)
    assert job.request.embeddings == ("sketchy",)
    plain = context.jobs.get(ask(context, "far", prompt="a boat, unknown").job_id)
    assert plain.request.embeddings == ()


def test_its_widths_are_compared(context: AppContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beat(context, embeddings={"sketchy": {"": 1024}}, pipelines={"far": "StableDiffusionPipeline"})
    monkeypatch.setattr("app.services.models.embeddings._encoders", lambda *_: [768])
    assert "does not fit" in refused(context, EmbeddingIncompatible, model_id="far", prompt="sketchy boat").detail


# --- models


def test_a_model_that_only_a_worker_has_is_accepted_and_known(context: AppContext) -> None:
    beat(context, here=frozenset({"far"}), pipelines={"far": "FluxPipeline"})
    ask(context, "far")
    state = next(state for state in models(context) if state.spec.id == "far")
    assert state.files.available
    assert {"txt2img", "img2img"} <= set(state.tasks)
    fill = Capabilities(here=frozenset({"far"}), pipelines={"far": "FluxFillPipeline"})
    context.workers.heartbeat(WorkerReport("w1", "gpu-host", 1, "cuda", capabilities=fill))
    with pytest.raises(UnsupportedTask):
        ask(context, "far")


def test_a_model_that_none_has_is_refused_with_the_nearest(context: AppContext) -> None:
    beat(context, "w1", here=frozenset({"demo"}))
    beat(context, "w2", "other-host", here=frozenset({"demo"}), loras={"style": None})
    error = refused(context, NoCapableWorker, model_id="far", loras=STYLE)
    assert (error.code, error.status) == ("no_capable_worker", 400)
    assert error.detail.startswith(
        "No worker can run this: w2 on other-host comes nearest, and would have to have the model far."
    )
    assert [one.field for one in error.errors] == ["model_id"]


def test_what_two_workers_have_in_parts_is_refused(context: AppContext) -> None:
    beat(context, "w1", here=frozenset({"far"}))
    beat(context, "w2", here=frozenset({"demo"}), loras={"style": None})
    error = refused(context, NoCapableWorker, model_id="far", loras=STYLE)
    assert "would have to have the LoRA Style" in error.detail or "the model far" in error.detail


@pytest.mark.parametrize("gone", [False, True])
def test_a_worker_that_was_here_a_moment_ago_counts(context: AppContext, *, gone: bool) -> None:
    beat(context, "w1", here=frozenset({"far"}))
    beat(context, "w2", here=frozenset({"demo"}))
    if gone:
        context.workers.remove("w1")
    ask(context, "far")


@pytest.mark.parametrize(("seconds", "counts"), [(600, False), (86_400, True)])
def test_how_long_one_counts_that_has_gone_is_a_setting(context: AppContext, *, seconds: int, counts: bool) -> None:
    """Where kinds of workers are scaled to none, their jobs must be accepted, for those start them again."""
    beat(context, "w1", here=frozenset({"far"}))
    beat(context, "w2", here=frozenset({"demo"}))
    context.workers.remove("w1")
    with context.database.write() as connection:
        connection.execute(update(worker_capabilities).values(seen_at=worker_capabilities.c.seen_at - 3600))
    asked = replace(context, settings=context.settings.model_copy(update={"absent_workers_seconds": seconds}))
    if counts:
        ask(asked, "far")
    else:
        refused(asked, NoCapableWorker, model_id="far")


def test_while_no_worker_lives_those_of_the_last_day_count(context: AppContext) -> None:
    beat(context, loras={"style": None})
    context.workers.remove("w1")
    ask(context, loras=STYLE)
    error = refused_beside(context, LoraUnavailable, loras=(LoraChoice(id="other"),))
    assert "There is no LoRA 'other'" in error.detail
    folder = context.settings.loras_folder
    folder.mkdir(parents=True)
    (folder / "new.safetensors").write_bytes(safetensors(FLUX))
    ask(context, loras=(LoraChoice(id="new"),))
    ask(context, "far")


def refused_beside(context: AppContext, kind: type[CyberImageError], **values: object) -> CyberImageError:
    with pytest.raises(kind) as caught:
        ask(context, **values)  # type: ignore[arg-type]
    return caught.value


def test_without_any_worker_all_is_as_on_one_machine(context: AppContext) -> None:
    assert fleet_of(context).own_disk
    ask(context, "far")
    ask(context, "demo")
    ask(context, "flux-dev")


def test_a_worker_of_an_earlier_version_may_have_anything(context: AppContext) -> None:
    beat(context, "w1", here=frozenset({"demo"}))
    context.workers.heartbeat(WorkerReport("old", "old-host", 1, "cuda"))
    ask(context, "far")
    assert "There is no LoRA" in refused_beside(context, LoraUnavailable, loras=STYLE).detail, "as that version says"


# --- upscalers and detectors


def test_an_upscaler_of_another_host(context: AppContext) -> None:
    second = {"upscale": UpscaleChoice(factor=2, model="elsewhere-x4").model_dump()}
    assert "is missing" in refused(context, InvalidRequest, **second).detail
    beat(context)
    ask(context, **second)
    beat(context, here=frozenset({"demo"}))
    assert "is missing" in refused_beside(context, InvalidRequest, **second).detail


def test_a_detector_of_another_host(context: AppContext) -> None:
    pose = InputChoice(role="control", source="ab" * 16, processor="pose", model="drawings-edges")
    detail = refused_beside(context, InputModelUnavailable, inputs=(pose,)).detail
    assert "whose files are missing" in detail
    beat(context, here=frozenset({"demo", "drawings-edges"}), detectors=frozenset({"pose"}))
    with pytest.raises(CyberImageError) as missing:
        ask(context, inputs=(pose,))
    assert missing.value.code == "invalid_image", "past the check of the detector"


# --- waiting


def test_a_job_whose_worker_has_left_says_what_it_waits_for(context: AppContext) -> None:
    beat(context, "w1", here=frozenset({"far"}), loras={"style": None})
    beat(context, "w2", here=frozenset({"demo"}))
    job_id = ask(context, "far", loras=STYLE).job_id
    assert view(context, job_id).waits_for is None
    context.workers.remove("w1")
    seen = view(context, job_id)
    assert seen.waits_for == "a worker that has the model far and the LoRA Style"
    assert seen.eta_seconds is None
    beat(context, "w1", here=frozenset({"far"}), loras={"style": None})
    assert view(context, job_id).waits_for is None


def test_it_waits_for_nothing_but_its_turn_while_no_worker_lives(context: AppContext) -> None:
    assert view(context, ask(context, "far").job_id).waits_for is None


def test_a_retry_is_judged_by_the_workers_too(context: AppContext) -> None:
    beat(context, here=frozenset({"far"}))
    job_id = ask(context, "far").job_id
    cancel(context, job_id)
    assert retry(context, job_id).job.id == job_id
    cancel(context, job_id)
    beat(context, here=frozenset({"demo"}))
    with pytest.raises(CyberImageError, match="missing"):
        retry(context, job_id)


def test_readiness_is_about_a_worker_that_can_run_the_default_model(context: AppContext) -> None:
    beat(context, here=frozenset({"demo"}))
    assert readiness(context).checks["workers"] == "ok"
    beat(context, here=frozenset({"far"}))
    assert (
        readiness(context).checks["workers"].startswith("the default model waits for a worker that has the model demo")
    )


# --- what a worker says of itself


def test_what_a_worker_says_of_its_own_disk(context: AppContext) -> None:
    loras, embeddings = context.settings.loras_folder, context.settings.embeddings_folder
    (loras / "people").mkdir(parents=True)
    (loras / "people/ann.safetensors").write_bytes(safetensors(SDXL))
    (loras / "damaged.safetensors").write_bytes(b"no")
    embeddings.mkdir(parents=True)
    (embeddings / "sketchy.safetensors").write_bytes(safetensors({"emb_params": (2, 768)}))
    facts = DeviceFacts("cuda", "H200", 150_000_000_000, "9.0")
    can = own_capabilities(context, "local", facts)
    assert {"demo", "demo-sd3", "drawings-x2", "lanczos", "drawings-edges"} <= can.here
    assert "flux-dev" in can.loadable
    assert not {"far", "elsewhere-x4", "people"} & (can.here | can.loadable)
    assert can.pipelines["demo"]
    assert dict(can.loras) == {"people/ann": "sdxl"}
    assert can.embeddings == {"sketchy": {"": 768}}
    assert (can.device, can.device_name, can.device_bytes, can.compute_capability) == (
        "cuda",
        "H200",
        150_000_000_000,
        "9.0",
    )
    assert can.detectors == frozenset()
    assert can.body == own_capabilities(context, "local", facts).body, "the same for equal disks"
    assert json.loads(can.body)["lane"] == "local"


def test_models_that_seem_too_large_are_said_to_be(context: AppContext) -> None:
    small = own_capabilities(context, "local", DeviceFacts("cuda", memory_bytes=2_000_000_000))
    assert "flux2-dev" in small.tight
    assert own_capabilities(context, "local", DeviceFacts("rocm")).tight == frozenset(), "its memory is not known"


def test_without_the_hub_nothing_is_loadable(context: AppContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "flux-dev" not in own_capabilities(context, "local").loadable


def test_a_worker_of_the_remote_lane_says_whose_keys_it_has(context: AppContext) -> None:
    assert own_capabilities(context, "remote").sources == {"engine"}

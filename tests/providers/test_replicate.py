"""Generations at Replicate, in one process: success, failures, and that each is paid for once."""

from __future__ import annotations

import base64
import io
import threading

import pytest
from PIL import Image

from app.core.backoff import Backoff
from app.core.job import JobStatus
from app.core.request import GenerationInput, GenerationSettings
from app.providers.calls import Refused
from app.services.jobs import cancel
from app.services.jobs.submit import submit
from app.worker.loop import Worker
from tests.providers import media
from tests.providers.replicate_server import Script, StandIn
from tests.waiting import wait_until
from tests.worker.harness import Harness


def failed(harness: Harness, job_id: str) -> tuple[str | None, str]:
    job = harness.ended(job_id).job
    assert job.status is JobStatus.FAILED, job
    return job.error_code, job.error_message or ""


def test_a_picture(harness: Harness, provider: StandIn, worker: Worker) -> None:
    job_id = harness.submit("a boat", model_id="painter")
    (output,) = harness.completed(job_id).outputs
    assert (output.media, output.mime_type, output.width) == ("image", "image/png", 48)
    with Image.open(harness.context.images.path(output.path)) as picture:
        assert picture.getpixel((5, 5)) == (200, 30, 60)
        assert "a boat" in picture.text["parameters"]
    (made,) = provider.created_for("a boat")
    assert made.input["prompt"] == "a boat"
    assert made.input["seed"] == output.seed
    assert made.input["num_inference_steps"] == 4
    assert made.input["output_format"] == "png"
    assert provider.tokens_seen == {None}
    prediction = harness.context.predictions.of_job(job_id)
    assert prediction is not None
    assert (prediction.status, prediction.provider_id) == ("succeeded", made.id)
    assert (prediction.download_attempted, prediction.download_retries, prediction.download_error) == (True, 0, None)


def test_several_pictures_of_several_kinds(harness: Harness, provider: StandIn, worker: Worker) -> None:
    files = (media.picture("JPEG"), media.picture("WEBP"), media.picture("PNG", 32, (1, 2, 3, 100)))
    provider.scripts["kinds"] = Script(files=files)
    outputs = harness.completed(harness.submit("kinds", model_id="painter", num_images=3)).outputs
    (made,) = provider.created_for("kinds")
    assert [output.seed for output in outputs] == [made.input["seed"]] * 3
    with Image.open(harness.context.images.path(outputs[2].path)) as picture:
        assert picture.mode == "RGBA"
    assert made.input["num_outputs"] == 3


@pytest.mark.parametrize(("kind", "mime_type"), [("mp4", "video/mp4"), ("webm", "video/webm")])
def test_a_video(harness: Harness, provider: StandIn, worker: Worker, kind: str, mime_type: str) -> None:
    provider.models["acme/clip"]["latest_version"]["openapi_schema"]["components"]["schemas"]["Input"]["required"] = []
    provider.scripts["waves"] = Script(files=(media.video(kind),))
    (output,) = harness.completed(harness.submit("waves", model_id="clip")).outputs
    assert (output.media, output.mime_type, output.width, output.height) == ("video", mime_type, 48, 48)
    videos = harness.context.settings.videos_dir
    assert sorted(path.relative_to(videos).as_posix() for path in videos.rglob("*") if path.is_file()) == sorted(
        [output.path, output.thumbnail_path]
    )
    assert harness.files() == []
    assert output.manifest["video"]["fps"] == 8.0


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (Script(ends="failed", error="NSFW content detected"), "NSFW content detected"),
        (Script(ends="failed"), "gave no reason"),
        (Script(ends="aborted"), "aborted"),
        (Script(ends="canceled"), "canceled at Replicate"),
        (Script(output=[]), "without an output file"),
        (Script(fetches=["garbage"] * 3), "cannot be read as a picture"),
        (Script(output="http://127.0.0.1:9/x.png"), "neither https nor the provider's origin"),
        (Script(output="https://127.0.0.1:9/x.png"), "private address"),
    ],
)
def test_how_it_fails(harness: Harness, provider: StandIn, worker: Worker, script: Script, message: str) -> None:
    provider.scripts["bad"] = script
    code, text = failed(harness, harness.submit("bad", model_id="painter"))
    assert code == "provider_error"
    assert message in text
    assert len(provider.created_for("bad")) == 1
    assert harness.files() == []


def test_a_failed_one_is_made_anew_on_request(harness: Harness, provider: StandIn, worker: Worker) -> None:
    provider.scripts["twice"] = Script(ends="failed", error="out of luck")
    job_id = harness.submit("twice", model_id="painter")
    assert failed(harness, job_id) == ("provider_error", "out of luck")
    del provider.scripts["twice"]
    cancel.retry(harness.context, job_id)
    harness.completed(job_id)
    assert len(provider.created_for("twice")) == 2


def test_files_that_come_at_the_third_try(harness: Harness, provider: StandIn, worker: Worker) -> None:
    provider.scripts["stutter"] = Script(fetches=[503, "cut"])
    job_id = harness.submit("stutter", model_id="painter")
    harness.completed(job_id)
    prediction = harness.context.predictions.of_job(job_id)
    assert prediction is not None
    assert (prediction.download_attempted, prediction.download_retries, prediction.download_error) == (True, 2, None)
    assert len(provider.fetched) == 3


def test_files_that_are_deleted_are_an_error_of_their_own_and_never_paid_for_again(
    harness: Harness, provider: StandIn, worker: Worker
) -> None:
    provider.scripts["gone"] = Script(fetches=[404, 410, 403])
    job_id = harness.submit("gone", model_id="painter")
    code, message = failed(harness, job_id)
    assert (code, "answered 403" in message, "Submit the request again" in message) == ("result_expired", True, True)
    prediction = harness.context.predictions.of_job(job_id)
    assert prediction is not None
    assert "403" in (prediction.download_error or "")
    cancel.retry(harness.context, job_id)
    harness.completed(job_id)
    assert len(provider.created_for("gone")) == 1, "the host has it again"


def test_files_that_come_late_are_waited_for_in_the_queue(harness: Harness, provider: StandIn, worker: Worker) -> None:
    provider.scripts["late"] = Script(fetches=[503] * 8 + ["cut"])
    job_id = harness.submit("late", model_id="painter")
    job = harness.completed(job_id).job
    assert (job.attempt, job.max_attempts - job.attempt) == (4, 2), "no attempt is used up"
    prediction = harness.context.predictions.of_job(job_id)
    assert prediction is not None
    assert (prediction.download_retries, prediction.download_error) == (9, None)
    assert len(provider.created_for("late")) == 1


def test_files_are_given_up_when_the_provider_keeps_them_no_longer(
    harness: Harness, provider: StandIn, start_worker, monkeypatch
) -> None:
    provider.scripts["old"] = Script(fetches=[503] * 4)
    monkeypatch.setattr("app.engines.remote.LATER", Backoff(first=3600.0, longest=3600.0))
    start_worker(harness)
    job_id = harness.submit("old", model_id="painter")
    waiting = harness.until(job_id, lambda seen: seen.job.error_code is not None).job
    assert (waiting.status, waiting.error_code) == (JobStatus.PENDING, "provider_error")
    with harness.context.database.write() as connection:
        connection.exec_driver_sql("UPDATE predictions SET ended_at = ended_at - 3600")
        connection.exec_driver_sql("UPDATE jobs SET available_at = NULL")
    code, message = failed(harness, job_id)
    assert (code, "503" in message) == ("result_expired", True)
    assert len(provider.created_for("old")) == 1


def test_a_worker_that_stops_while_it_fetches_leaves_the_rest_to_the_next(
    harness: Harness, provider: StandIn, start_worker, monkeypatch
) -> None:
    monkeypatch.setattr("app.engines.remote.FETCH_PAUSE", Backoff(first=3600.0, longest=3600.0))
    provider.scripts["half"] = Script(fetches=[503])
    first = start_worker(harness)
    job_id = harness.submit("half", model_id="painter")
    wait_until(lambda: provider.fetched, "nothing was fetched")
    first.stop(0)
    harness.until(job_id, lambda seen: seen.job.status is JobStatus.PENDING)
    start_worker(harness)
    harness.completed(job_id)
    assert len(provider.created_for("half")) == 1


def test_too_many_requests_and_a_server_that_stumbles(harness: Harness, provider: StandIn, worker: Worker) -> None:
    busy = (429, {"Retry-After": "0"}, {"detail": "Request was throttled."})
    provider.answers = [busy, (502, {}, {}), busy, (200, {}, {"nonsense": True})]
    harness.completed(harness.submit("busy", model_id="painter"))
    assert len(provider.created_for("busy")) == 1


def test_a_refusal_is_passed_on(harness: Harness, provider: StandIn, worker: Worker) -> None:
    provider.answers = [(402, {}, {"title": "Payment", "detail": "You have insufficient credit."})]
    code, message = failed(harness, harness.submit("poor", model_id="painter"))
    assert (code, "insufficient credit" in message) == ("provider_error", True)


def test_an_answer_that_is_lost_is_not_paid_for_twice(harness: Harness, provider: StandIn, worker: Worker) -> None:
    """The provider created it, and the connection broke before the answer. It is found in the provider's list."""
    for number in range(7):  # more than a page of others
        provider.create("acme/painter", None, {"input": {"prompt": f"other {number}"}})
    provider.drop_creates = 1
    harness.completed(harness.submit("lost", model_id="painter"))
    assert len(provider.created_for("lost")) == 1


def test_a_cancel_is_passed_on(harness: Harness, provider: StandIn, worker: Worker) -> None:
    provider.scripts["slow"] = Script(hold=threading.Event())
    job_id = harness.submit("slow", model_id="painter")
    wait_until(lambda: provider.created_for("slow"), "it was never asked")
    cancel.cancel(harness.context, job_id)
    assert harness.ended(job_id).job.status is JobStatus.CANCELLED
    assert provider.cancels == [provider.created_for("slow")[0].id]


def test_what_takes_too_long_is_cancelled(new_harness, settings, provider: StandIn, start_worker) -> None:
    harness = new_harness(**settings | {"REMOTE_TIMEOUT_SECONDS": "0.5"})
    provider.scripts["slow"] = Script(hold=threading.Event())
    start_worker(harness)
    code, message = failed(harness, harness.submit("slow", model_id="painter"))
    assert (code, "REMOTE_TIMEOUT_SECONDS" in message) == ("timeout", True)
    assert len(provider.cancels) == 1


def test_a_stop_leaves_the_prediction_to_the_next_worker(harness: Harness, provider: StandIn, start_worker) -> None:
    hold = threading.Event()
    provider.scripts["handed over"] = Script(hold=hold)
    first = start_worker(harness)
    job_id = harness.submit("handed over", model_id="painter")
    wait_until(lambda: harness.context.predictions.of_job(job_id), "nothing was written down")
    wait_until(lambda: harness.context.predictions.of_job(job_id).provider_id, "no id was written down")
    first.stop(0)
    harness.until(job_id, lambda seen: seen.job.status is JobStatus.PENDING)
    hold.set()
    start_worker(harness)
    harness.completed(job_id)
    assert (len(provider.created_for("handed over")), provider.cancels) == (1, [])


def test_native_settings_in_the_models_own_words(harness: Harness, provider: StandIn, worker: Worker) -> None:
    wanted = GenerationSettings(width=1280, height=720, guidance_scale=2.0, num_inference_steps=9, seed=2**32 - 1)
    asked = GenerationInput(prompt="words", model_id="painter", settings=wanted, negative_prompt="fog")
    job = harness.completed(submit(harness.context, asked, client_id="x").job_id).job
    (made,) = provider.created_for("words")
    assert made.input == {
        "prompt": "words",
        "guidance": 2.0,
        "num_inference_steps": 9,
        "seed": (2**32 - 1) % 2**31,
        "aspect_ratio": "16:9",
        "output_format": "png",
        "num_outputs": 1,
        "go_fast": True,
    }
    assert any("negative_prompt" in warning for warning in job.warnings)
    assert any("1280x720 was changed to 16:9" in warning for warning in job.warnings)
    sized = submit(harness.context, asked.model_copy(update={"model_id": "sized"}), client_id="x").job_id
    code, message = failed(harness, sized)
    assert (code, "input.width: must be 1024 or less" in message) == ("invalid_request", True)


def test_a_slider_that_goes_too_far(harness: Harness, provider: StandIn, worker: Worker) -> None:
    asked = GenerationInput(prompt="far", model_id="sized", settings=GenerationSettings(num_inference_steps=100))
    provider.models["acme/sized"]["latest_version"]["openapi_schema"]["components"]["schemas"]["Input"]["properties"][
        "steps"
    ]["maximum"] = 4
    job = harness.completed(submit(harness.context, asked, client_id="x").job_id).job
    assert provider.created_for("far")[0].input["steps"] == 4
    assert job.warnings == ("steps goes from 1 to 4; 100 was changed to 4.",)


def test_start_from_a_picture(new_harness, settings, provider: StandIn, start_worker) -> None:
    line = 'painter;acme/painter;A painter;replicate;false;{"tasks": ["txt2img", "img2img"]}'
    harness = new_harness(**settings | {"MODEL_PAINTER": line})
    start_worker(harness)
    image = base64.b64encode(media.picture("PNG", 64, (9, 9, 200))).decode()
    asked = GenerationInput(prompt="from", model_id="painter", image=image)
    harness.completed(submit(harness.context, asked, client_id="x").job_id)
    (made,) = provider.created_for("from")
    with Image.open(io.BytesIO(provider.files[made.input["image"].rpartition("/")[2]])) as sent:
        assert (sent.format, sent.getpixel((1, 1))) == ("PNG", (9, 9, 200))


def test_a_provider_that_keeps_no_list_is_not_asked_twice(
    new_harness, settings, provider: StandIn, start_worker, monkeypatch
) -> None:
    def refuse(*_: object) -> None:
        raise Refused(404, "no list")

    monkeypatch.setattr("app.engines.replicate.create.matching_predictions", refuse)
    harness = new_harness(**settings | {"REMOTE_TIMEOUT_SECONDS": "1"})
    start_worker(harness)
    provider.drop_creates = 1
    code, message = failed(harness, harness.submit("lost", model_id="painter"))
    assert code in ("provider_error", "timeout"), message
    assert len(provider.created_for("lost")) == 1


def test_a_success_without_a_file_is_made_anew_on_request(harness: Harness, provider: StandIn, worker: Worker) -> None:
    provider.scripts["nothing"] = Script(output=[])
    job_id = harness.submit("nothing", model_id="painter")
    failed(harness, job_id)
    del provider.scripts["nothing"]
    cancel.retry(harness.context, job_id)
    harness.completed(job_id)


@pytest.mark.parametrize("named", [True, False], ids=["named", "not yet named"])
def test_an_abandoned_prediction_is_cancelled(harness: Harness, provider: StandIn, start_worker, named: bool) -> None:
    """Cancelled while no worker owned it: between a crash and the next attempt."""
    provider.scripts["orphan"] = Script(hold=threading.Event())
    job_id = harness.submit("orphan", model_id="painter")
    claim = harness.context.claims.claim("a worker that dies", lane="remote")
    assert claim is not None
    input = {"prompt": "orphan", "seed": 5}
    made = provider.create("acme/painter", None, {"input": input})
    intended = harness.context.predictions.intend(claim, source="replicate", model="acme/painter", input=input)
    if named:
        harness.context.predictions.created(claim, intended, made.id)
    harness.context.claims.release(claim)
    cancel.cancel(harness.context, job_id)
    start_worker(harness)
    wait_until(lambda: provider.cancels == [made.id], "it runs on")
    wait_until(lambda: not harness.context.predictions.abandoned("replicate"), "it is still abandoned")


def test_a_retry_after_a_cancel_asks_anew(harness: Harness, provider: StandIn, worker: Worker) -> None:
    provider.scripts["again"] = Script(hold=threading.Event())
    job_id = harness.submit("again", model_id="painter")
    wait_until(lambda: provider.created_for("again"), "it was never asked")
    cancel.cancel(harness.context, job_id)
    harness.ended(job_id)
    del provider.scripts["again"]
    cancel.retry(harness.context, job_id)
    harness.completed(job_id)
    assert len(provider.created_for("again")) == 2

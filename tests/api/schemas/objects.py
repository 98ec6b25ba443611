"""Fixed domain objects, of which the bodies in tests/fixtures/response_bodies.json were made."""

from __future__ import annotations

from typing import Any

from app.core.access import Identity, Role
from app.core.catalog import ModelSpec
from app.core.catalog_lines import parse_model_line
from app.core.fit import Fit
from app.core.inputs import InputRef
from app.core.job import Job, JobStatus, JobView, Phase, Progress
from app.core.loras import LoraFile
from app.core.output import Output
from app.core.prediction import Prediction, PredictionStatus
from app.core.request import GenerationRequest, LoraChoice, RemoteCall
from app.core.safety import SafetyResult
from app.core.webhooks import Delivery, DeliveryState
from app.core.worker_capabilities import Capabilities
from app.monitoring.requests import Recent
from app.monitoring.resources import Gpu, Reading
from app.providers.replicate import RemoteModel
from app.services.jobs.submit import Submission
from app.services.media.gallery import ImageItem, JobItem
from app.services.models.loras import KnownLora
from app.services.models.model_files import Download, ModelFiles
from app.services.ops.cleanup import Report
from app.services.ops.model_loading import Loaded, Unloaded
from app.services.ops.stats import LaneState, ModelState, QueueStats, Summary
from app.services.remote.models import Listed, Listing
from app.store.queue.durations import LOAD

AT = 1763661540.1239
JOB_ID = "01" * 16


def request(**values: Any) -> GenerationRequest:
    given = {"model_id": "demo", "prompt": 'a "red" föx', "num_inference_steps": 16, "seed": 7, "guidance_scale": 3.0}
    return GenerationRequest(**(given | values))


def job(status: JobStatus, phase: Phase = Phase.STARTING, **values: Any) -> Job:
    given: dict[str, Any] = {
        "id": JOB_ID,
        "seq": 3,
        "client_id": "ip:127.0.0.1",
        "priority": 5,
        "turn": 8,
        "request": request(),
        "created_at": AT,
        "attempt": 0,
        "max_attempts": 3,
        "revision": 2,
        "progress": Progress(phase),
    }
    return Job(status=status, **(given | values))


def output(index: int = 0, **values: Any) -> Output:
    given: dict[str, Any] = {
        "id": f"{index + 16:032x}",
        "job_id": JOB_ID,
        "index": index,
        "media": "image",
        "model_id": "demo",
        "path": "2025/11/20/a.png",
        "thumbnail_path": "2025/11/20/a.thumbnail.webp",
        "mime_type": "image/png",
        "width": 640,
        "height": 480,
        "bytes": 1234,
        "sha256": "ab" * 32,
        "seed": 7 + index,
        "created_at": AT + 5,
        "manifest": {"prompt": "a fox", "safety_filter_result": "blurred", "zeta": [1, 2.5, None], "alpha": {"b": 1.0}},
    }
    return Output(**(given | values))


PENDING = JobView(job(JobStatus.PENDING), 2, 12.5, ())
RUNNING = JobView(
    job(
        JobStatus.PROCESSING,
        request=request(
            negative_prompt="blurry",
            task="inpaint",
            strength=0.5,
            width=512,
            height=512,
            loras=(LoraChoice(id="style", scale=0.75),),
            image=InputRef(sha256="cd" * 32, width=512, height=512, image_id="02" * 16),
            mask=InputRef(sha256="ef" * 32, width=512, height=512),
        ),
        attempt=1,
        started_at=AT + 1,
        worker_id="w1",
        cancel_requested=True,
        progress=Progress(Phase.GENERATING, 3, 8, 0.123456, 10, 20),
        warnings=("one", "two"),
    ),
    None,
    3.0,
    (),
)
COMPLETED = JobView(
    job(
        JobStatus.COMPLETED,
        Phase.DONE,
        started_at=AT + 1,
        completed_at=AT + 6.25,
        attempt=2,
        timings={"generate": 1.5, "queued": 0.0},
        safety=SafetyResult.BLURRED,
        vram_peak_bytes=2_600_000_000,
        progress=Progress(Phase.DONE, 16, 16),
    ),
    None,
    None,
    (output(), output(1, media="video", mime_type="video/mp4", manifest={}, favorite=True)),
)
FAILED = JobView(
    job(JobStatus.FAILED, error_code="content_blocked", error_message=None, completed_at=AT + 2), None, None, ()
)
PREDICTION = Prediction(
    id="03" * 16,
    job_id=JOB_ID,
    source="replicate",
    model="some/body",
    status=PredictionStatus.SUCCEEDED,
    input={"prompt": "a fox", "image": "data:image/png;base64," + "A" * 100, "many": ["DATA:x", 1, 2.0]},
    created_at=AT,
    age=4.0,
    provider_id="p1",
    predict_seconds=2.0,
    download_attempted=True,
    download_retries=1,
    download_error="no answer",
)
_CALL = RemoteCall(source="replicate", model="some/body", input={"prompt": "a fox"})
REMOTE = JobView(
    job(JobStatus.PROCESSING, request=request(remote=_CALL), lane="remote"), None, None, (), prediction=PREDICTION
)
REMOTE_WAITING = JobView(job(JobStatus.PENDING, request=request(remote=_CALL), lane="remote"), 1, None, ())
TRANSLATED = JobView(
    job(JobStatus.PENDING, request=request(remote=_CALL.model_copy(update={"input": None})), lane="remote"), 1, 0.5, ()
)

CAPABILITIES = Capabilities(
    here=frozenset({"flux-dev", "demo"}),
    loadable=frozenset({"sdxl-base"}),
    pipelines={"flux-dev": "FluxPipeline"},
    loras={"style": None},
    embeddings={"a": {"": 768}, "b": {"": 768}},
    device="cuda",
    device_name="NVIDIA H200",
    device_bytes=150_000_000_000,
    ram_bytes=64_000_000_000,
    compute_capability="9.0",
)
SUBMISSION = Submission(JOB_ID, 4, ("careful",), is_new=True)
LISTING = Listing(
    (
        Listed("some/body", "some-body", "Some", "image", "words", "https://x.example/a.png", 12, "image"),
        Listed("a/film", "a/film", "Film", "video"),
    ),
    AT,
)
REMOTE_MODEL = RemoteModel(
    "some/body",
    version="v1",
    document={
        "components": {
            "schemas": {
                "Input": {
                    "type": "object",
                    "required": ["prompt"],
                    "properties": {
                        "prompt": {"type": "string"},
                        "image": {"type": "string", "format": "uri"},
                        "steps": {"type": "integer", "default": 4},
                    },
                }
            }
        }
    },
)
DELIVERY = Delivery(
    seq=1,
    id="04" * 16,
    job_id=JOB_ID,
    event="job.completed",
    url="https://h.example/x",
    receiver="https://h.example",
    payload="{}",
    state=DeliveryState.PENDING,
    attempt=2,
    tries_left=4,
    due_at=AT + 60,
    created_at=AT,
    attempted_at=AT + 1,
    response_status=500,
    error="the receiver answered 500",
)
DELIVERED = Delivery(**vars(DELIVERY) | {"state": DeliveryState.DELIVERED, "delivered_at": AT + 2, "error": None})
IMAGE_ITEM, JOB_ITEM = ImageItem(output(), "a fox"), JobItem(FAILED.job, "video")


def spec(media: str = "image") -> ModelSpec:
    options = f'{{"fixed_steps": 4, "media": "{media}", "defaults": {{"width": 512, "height": 512, "fps": 24}}}}'
    return parse_model_line(f"Film;some/repo;words;huggingface;true;{options}")


IMAGE_MODEL = ModelState(
    spec(),
    ("txt2img", "inpaint"),
    ModelFiles(True, 123),
    True,
    ["float8, model"],
    ["16 bit, group"],
    None,
    Fit("yes", "float8, model"),
)
VIDEO_MODEL = ModelState(
    *(spec("video"), ("txt2video",), ModelFiles(False, None), False, [], [], Download(1, 2, 0.5)),
    Fit("no", reason="It needs a GPU."),
)
LORA = KnownLora(
    "style", "folder/style.safetensors", LoraFile("style", "sdxl", 9, 8, "base", ("ohwx",)), None, ("a", "b")
)
UNKNOWN_LORA = KnownLora("gone", None, None, "There is no LoRA 'gone'.")
WORKER = {
    "id": "w1",
    "host": "here",
    "pid": 12,
    "device": "cuda",
    "state": "busy",
    "job_id": JOB_ID,
    "models": [{"model_id": "demo", "bytes": 1}],
    "rss_bytes": 5,
    "vram_bytes": 6,
    "started_at": AT,
    "heartbeat_at": AT + 1,
    "lane": "local",
    "slots": 2,
    "running": 1,
    "device_id": "cuda:0",
    "device_error": None,
}
QUEUE = QueueStats(
    {JobStatus.PENDING: 1, JobStatus.PROCESSING: 1},
    (RUNNING, REMOTE),
    (PENDING,),
    {("demo", LOAD): 1.23456, ("demo", "512x512x4"): 2.0, ("other", "0x0x8"): 0.12345},
    (WORKER,),
)
SUMMARY = Summary(
    {JobStatus.PENDING: 1, JobStatus.FAILED: 2},
    (WORKER,),
    {"local": LaneState(1, 2, 1, 0), "remote": LaneState(0, 0, 0, 0)},
    {"count": 3, "bytes": 99},
    1000,
    12.345,
)
READING = Reading(12.345, 2, 1000, 250, 77, (Gpu(0, "H100", 80, 8, None, 41), Gpu(1, "H100", 80, 8, 99, None)))
RECENT = Recent(3, 0.33333333, 0.0123456, 1.0, 2.5)
CLEANUP = Report(dry_run=True, images=1, jobs=2, orphans=3, idempotency_keys=4, freed_bytes=5)
LOADED, LOADING = Loaded("loaded", "demo", 1.5, "w1"), Loaded("loading", "demo", None, "w1", 1, 2, 3.5)
UNLOADED = Unloaded("unloading", ["a", "b"], 2)
IDENTITY = Identity("key:1", Role.ADMIN, "ops")

"""One trace from the request to the job's last phase and its webhook, as an OpenTelemetry collector gets it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator

import pytest

from app import create_app
from app.config import load_settings
from app.core.job import JobStatus
from app.errors import GenerationError, ModelUnavailable
from app.monitoring import tracing
from app.services.webhooks.dispatcher import WebhookDispatcher
from tests.monitoring.collector import Collector, attributes, collecting
from tests.services.webhooks.receiver import receiving
from tests.waiting import wait_until
from tests.worker.fake_engine import FakeEngine, fails
from tests.worker.harness import Harness

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADER = f"00-{TRACE}-{CALLER}-01"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@pytest.fixture
def traced(new_harness: Callable[..., Harness], collector: Collector) -> Iterator[Harness]:
    harness = new_harness(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, WEBHOOK_ALLOW_PRIVATE="true")
    tracing.configure_tracing(harness.context.settings, "test")
    yield harness
    tracing.flush()
    tracing.configure_tracing(load_settings({}, None), "test")


def submitted(harness: Harness, header: str | None = HEADER, **body: object) -> str:
    app = create_app(harness.context.settings)
    try:
        headers = {} if header is None else {"traceparent": header}
        answer = app.test_client().post("/api/generate", json={"prompt": "a boat", **body}, headers=headers)
        assert answer.status_code == 202, answer.text
        return str(answer.json["job_id"])
    finally:
        app.extensions["cyberimage"].close()


def spans_of(collector: Collector) -> dict[str, list]:
    tracing.flush()
    found: dict[str, list] = {}
    for span in collector.spans:
        found.setdefault(span.name, []).append(span)
    return found


def test_request_wait_phases_and_webhook_are_one_trace(
    traced: Harness, engine: FakeEngine, collector: Collector
) -> None:
    with receiving() as receiver:
        job_id = submitted(traced, webhook_url=receiver.url())
        traced.start(engine)
        traced.completed(job_id)
        dispatcher = WebhookDispatcher(traced.context)
        dispatcher.start()
        wait_until(lambda: receiver.calls, "no webhook came")
        dispatcher.stop(5)
        (message,) = receiver.calls
    spans = spans_of(collector)
    assert {span.trace_id.hex() for found in spans.values() for span in found} == {TRACE}
    (request,), (waited,), (job,), (hook,) = (
        spans[name] for name in ("POST /api/generate", "queue", "job fake", "webhook")
    )
    assert request.parent_span_id.hex() == CALLER
    assert {waited.parent_span_id, job.parent_span_id, hook.parent_span_id} == {request.span_id}
    phases = [name for name, (span, *_) in spans.items() if span.parent_span_id == job.span_id]
    assert {"generating", "saving"} <= set(phases)
    assert waited.end_time_unix_nano == job.start_time_unix_nano
    inside = [span for name in phases for span in spans[name]]
    assert min(span.start_time_unix_nano for span in inside) >= job.start_time_unix_nano
    assert max(span.end_time_unix_nano for span in inside) <= job.end_time_unix_nano
    about = attributes(job)
    assert (about["cyberimage.job.id"], about["cyberimage.job.outcome"]) == (job_id, "completed")
    assert attributes(request)["http.response.status_code"] == 202
    assert message.headers["traceparent"] == f"00-{TRACE}-{hook.span_id.hex()}-01"
    assert collector.exports[0][0] == "/v1/traces"
    assert collector.resources()[0]["service.name"] == "cyberimage"


def test_a_failed_job_is_a_failed_span(traced: Harness, engine: FakeEngine, collector: Collector) -> None:
    engine.always = fails(GenerationError("no luck"))
    job_id = submitted(traced)
    traced.start(engine)
    assert traced.ended(job_id).job.status is JobStatus.FAILED
    wait_until(lambda: "job fake" in spans_of(collector), "no span of the job came")
    (job,) = spans_of(collector)["job fake"]
    assert job.status.code == 2
    assert attributes(job)["error.type"] == GenerationError.code


def test_a_job_that_fails_before_its_first_phase_is_a_span_too(
    traced: Harness, engine: FakeEngine, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_inputs(*_: object) -> None:
        raise ModelUnavailable("There is no such file.")

    monkeypatch.setattr("app.worker.runner.read_inputs", no_inputs)
    job_id = submitted(traced)
    traced.start(engine)
    assert traced.ended(job_id).job.status is JobStatus.FAILED
    wait_until(lambda: "job fake" in spans_of(collector), "no span of the job came")
    assert attributes(spans_of(collector)["job fake"][0])["cyberimage.job.outcome"] == "model_unavailable"


def test_without_a_callers_trace_the_request_begins_one(
    traced: Harness, engine: FakeEngine, collector: Collector
) -> None:
    job_id = submitted(traced, header=None)
    traced.start(engine)
    traced.completed(job_id)
    wait_until(lambda: "job fake" in spans_of(collector), "no span of the job came")
    (request,), (job,) = (spans_of(collector)[name] for name in ("POST /api/generate", "job fake"))
    assert request.parent_span_id == b""
    assert job.trace_id == request.trace_id


def test_a_caller_that_does_not_record_is_followed(traced: Harness, engine: FakeEngine, collector: Collector) -> None:
    traced.start(engine)
    traced.completed(submitted(traced, header=f"00-{TRACE}-{CALLER}-00"))
    assert spans_of(collector) == {}


def test_polls_are_recorded_only_in_a_trace(traced: Harness, collector: Collector) -> None:
    app = create_app(traced.context.settings)
    client = app.test_client()
    client.get("/livez")
    assert spans_of(collector) == {}
    client.get("/livez", headers={"traceparent": HEADER})
    app.extensions["cyberimage"].close()
    assert list(spans_of(collector)) == ["GET /livez"]


def test_without_a_collector_the_trace_is_passed_on_all_the_same(
    new_harness: Callable[..., Harness], engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    harness = new_harness()
    tracing.configure_tracing(harness.context.settings, "test")
    job_id = submitted(harness)
    assert harness.view(job_id).job.traceparent == HEADER
    logging.getLogger("cyberimage").propagate = True
    with caplog.at_level("INFO", "cyberimage.jobs"):
        harness.start(engine)
        harness.completed(job_id)
        wait_until(lambda: any("Job ended" in record.message for record in caplog.records), "no line of the job")
    (line,) = [record for record in caplog.records if "Job ended" in record.message]
    assert line.__dict__["trace_id"] == TRACE
    assert harness.view(submitted(harness, header="00-nonsense-01")).job.traceparent is None


@pytest.mark.parametrize("style", ["json", "ecs", "text"])
def test_lines_name_the_trace(style: str, new_harness: Callable[..., Harness]) -> None:
    from app.core.trace_context import parse
    from app.monitoring.logs import configure_logging

    harness = new_harness(LOG_FORMAT=style)
    logger = logging.getLogger("cyberimage")
    before = list(logger.handlers), logger.propagate, logger.level
    configure_logging(harness.context.settings, "api")
    try:
        with tracing.using(parse(HEADER)):
            logging.getLogger("cyberimage.test").warning("Something", extra={"job_id": "j1", "request_id": "r1"})
    finally:
        for handler in logger.handlers:
            handler.close()
        logger.handlers, logger.propagate = before[0], before[1]
        logger.setLevel(before[2])
    (line,) = (harness.folder / "logs" / "app.log").read_text().splitlines()
    if style == "text":
        assert line.endswith(f"Something [job_id=j1 request_id=r1 trace_id={TRACE}]")
        return
    found = json.loads(line)
    names = {"json": ("level", "trace_id", "request_id"), "ecs": ("log.level", "trace.id", "http.request.id")}[style]
    wanted = ("WARNING" if style == "json" else "warning", TRACE, "r1")
    assert tuple(found[name] for name in names) == wanted
    assert found["job_id"] == "j1"
    if style == "ecs":
        assert {"@timestamp", "ecs.version", "service.name", "message", "process.pid"} <= found.keys()

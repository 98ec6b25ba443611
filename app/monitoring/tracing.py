"""The trace that the current thread works for, and its spans, which go to an OpenTelemetry collector if there is one.

Without OTEL_EXPORTER_OTLP_ENDPOINT no span is made; the context is passed on all the same, to jobs, providers and
webhooks, and its id stands in log lines. What else OpenTelemetry reads from the environment (OTEL_SERVICE_NAME,
OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS, …) works as documented there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, Literal

from app.config import Settings
from app.core.trace_context import HEADER, TraceContext
from app.errors import ConfigurationError
from app.version import __version__

Kind = Literal["internal", "server", "client", "consumer"]

_context: ContextVar[TraceContext | None] = ContextVar("trace_context", default=None)
_endpoint = ""
_role = ""


def configure_tracing(settings: Settings, role: str) -> None:
    """Send spans of this process to the collector of `settings`, if it has one. Raises ConfigurationError if
    OpenTelemetry is not installed."""
    global _endpoint, _role
    _endpoint, _role = settings.otel_exporter_otlp_endpoint, role
    _provider.cache_clear()
    if not _endpoint:
        return
    try:
        import opentelemetry.exporter.otlp.proto.http
        import opentelemetry.sdk.trace  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            [
                "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed:"
                " .venv/bin/pip install -r requirements-tracing.txt"
            ]
        ) from None


def current() -> TraceContext | None:
    """The trace that this thread works for; None if there is none."""
    return _context.get()


def current_header() -> str | None:
    """`traceparent` of the current trace, to be stored or sent."""
    found = _context.get()
    return None if found is None else found.header


def headers() -> dict[str, str]:
    """Headers that pass the current trace on."""
    found = current_header()
    return {} if found is None else {HEADER: found}


def work_for(context: TraceContext | None) -> None:
    """Have this thread work for the trace `context` from now on."""
    _context.set(context)


@contextmanager
def using(context: TraceContext | None) -> Iterator[None]:
    """Work for the trace `context` within the block."""
    token = _context.set(context)
    try:
        yield
    finally:
        _context.reset(token)


class Span:
    """A piece of work in a trace. Without a collector it only passes the context of its parent on."""

    def __init__(
        self,
        name: str,
        parent: TraceContext | None,
        *,
        kind: Kind = "internal",
        start: float | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """`start` is in seconds since the epoch, now if absent."""
        self.context = parent
        self._span: Any = None
        if _endpoint:
            self._begin(name, parent, kind, start, attributes)

    def _begin(
        self,
        name: str,
        parent: TraceContext | None,
        kind: Kind,
        start: float | None,
        attributes: Mapping[str, Any] | None,
    ) -> None:
        from opentelemetry.trace import SpanKind

        self._span = (
            _provider()
            .get_tracer("cyberimage", __version__)
            .start_span(
                name,
                context=_as_otel(parent),
                kind=SpanKind[kind.upper()],
                attributes=_plain(attributes or {}),
                start_time=_nanoseconds(start),
            )
        )
        made = self._span.get_span_context()
        self.context = TraceContext(f"{made.trace_id:032x}", f"{made.span_id:016x}", made.trace_flags.sampled)

    def end(
        self, *, end: float | None = None, error: str | None = None, attributes: Mapping[str, Any] | None = None
    ) -> None:
        """`error` is a code or a sentence without secrets."""
        if self._span is None:
            return
        from opentelemetry.trace import StatusCode

        self._span.set_attributes(_plain(attributes or {}))
        if error is not None:
            self._span.set_status(StatusCode.ERROR, error)
            self._span.set_attribute("error.type", error)
        self._span.end(_nanoseconds(end))


class TraceFilter(logging.Filter):
    """Adds `trace_id` to records that have none, from the trace that the thread works for."""

    def filter(self, record: logging.LogRecord) -> bool:
        found = _context.get()
        if found is not None and not hasattr(record, "trace_id"):
            record.trace_id = found.trace_id
        return True


def flush() -> None:
    """Send the spans that have ended; else they go every few seconds, and when the process ends."""
    if _endpoint:
        _provider().force_flush()


@cache
def _provider() -> Any:
    """Made at the first span, in the process that records it: its sender is a thread, which no fork takes along."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    about = Resource({SERVICE_NAME: "cyberimage", "service.version": __version__, "process.role": _role})
    provider = TracerProvider(resource=about.merge(OTELResourceDetector().detect()))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{_endpoint.rstrip('/')}/v1/traces")))
    return provider


def _as_otel(parent: TraceContext | None) -> Any:
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    if parent is None:
        return Context()
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
    above = SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(above), Context())


def _nanoseconds(seconds: float | None) -> int:
    return int((time.time() if seconds is None else seconds) * 1e9)


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if isinstance(value, str | bool | int | float)}

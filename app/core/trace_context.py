"""W3C Trace Context: what ties the spans and log lines of one request together, over processes and services.

`traceparent` is `00-<trace id>-<span id>-<flags>`, in lower-case hexadecimal; a header that is anything else is
ignored, as the recommendation has it (https://www.w3.org/TR/trace-context/, section 3.2). `tracestate` is dropped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

HEADER = "traceparent"
_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_NONE = re.compile("0+")
_FORBIDDEN_VERSION, _OWN_VERSION = "ff", "00"
_SAMPLED = 1
MOST_CHARS = 512  # of a header of a later version, which may be longer


@dataclass(frozen=True)
class TraceContext:
    """`trace_id`: 32 hexadecimal digits, `span_id`: 16. `sampled`: whether the caller records the trace."""

    trace_id: str
    span_id: str
    sampled: bool = False

    @property
    def header(self) -> str:
        return f"{_OWN_VERSION}-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"


def parse(header: str | None) -> TraceContext | None:
    """The context that a `traceparent` header says; None for none, or one that is not valid."""
    found = _FORM.fullmatch(header[:MOST_CHARS]) if header else None
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == _FORBIDDEN_VERSION or (version == _OWN_VERSION and more):
        return None
    if _NONE.fullmatch(trace_id) or _NONE.fullmatch(span_id):
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))

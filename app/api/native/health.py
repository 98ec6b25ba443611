"""Liveness, readiness and server status, for load balancers, watchdogs and operators."""

from __future__ import annotations

import time
from typing import Any

from app.api.http.openapi import blueprint, responses
from app.api.routing import Access
from app.api.schemas.serializers import machine_body, requests_body, worker_body
from app.api.schemas.server import ChecksBody, HealthBody, StatusBody
from app.api.security.client_identity import identity
from app.api.server.context import api_context
from app.core.job_body import iso
from app.errors import DatabaseUnavailable, FieldError, Unavailable
from app.services.ops import stats
from app.services.ops.versions import versions

api = blueprint("health", "server")


@api.get(
    "/livez",
    access=Access.PUBLIC,
    budget=None,
    responses=responses({200: HealthBody}),
    description="Looks at nothing but the process itself.",
)
def livez() -> dict[str, Any]:
    """Liveness"""
    return {"status": "ok"}


@api.get("/health", access=Access.PUBLIC, budget=None, responses=responses({200: ChecksBody}, DatabaseUnavailable))
def health() -> dict[str, Any]:
    """Health: does the API work, and is anything in the way of a job"""
    now = _readiness()
    return {"status": "ok", "ready": now.ready, "checks": dict(now.checks)}


@api.get("/readyz", access=Access.PUBLIC, budget=None, responses=responses({200: ChecksBody}, Unavailable))
def readyz() -> dict[str, Any]:
    """Readiness: would a job sent now be worked on"""
    now = _readiness()
    if not now.ready:
        wrong = [FieldError(name, state) for name, state in now.problems.items()]
        raise Unavailable("; ".join(f"{one.field}: {one.message}" for one in wrong), errors=wrong)
    return {"status": "ok", "ready": True, "checks": dict(now.checks)}


@api.get("/status", access=Access.USER, budget="read", responses=responses({200: StatusBody}, DatabaseUnavailable))
def server_status() -> dict[str, Any]:
    """Server status"""
    here, now = api_context(), _readiness()
    summary = stats.summary(here.context, owner=identity().scope)
    return {
        "started_at": iso(here.started_at),
        "uptime_seconds": round(time.time() - here.started_at, 1),
        "versions": versions(),
        "ready": now.ready,
        "checks": dict(now.checks),
        "queue": dict(summary.counts),
        "workers": [worker_body(row) for row in summary.workers],
        "lanes": {lane: vars(state) for lane, state in summary.lanes.items()},
        **machine_body(here.machine.read()),
        "disk": {"free_bytes": summary.free_bytes, "floor_bytes": here.context.settings.disk_floor_bytes},
        "images": dict(summary.images),
        "requests": requests_body(here.meter.recent()),
    }


def _readiness() -> stats.Readiness:
    here = api_context()
    draining = {"server": "is stopping; send new jobs elsewhere" if here.draining.is_set() else "ok"}
    seen = stats.readiness(here.context)
    return stats.Readiness({**draining, **seen.checks}, seen.partial)

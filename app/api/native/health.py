"""Liveness, readiness and server status, for load balancers, watchdogs and operators."""

from __future__ import annotations

import time

from app.api.http.openapi import blueprint, responses
from app.api.routing import Access
from app.api.schemas.server import ChecksBody, HealthBody, StatusBody
from app.api.security.client_identity import identity
from app.api.server.context import api_context
from app.errors import DatabaseUnavailable, FieldError, Unavailable
from app.services.ops import stats
from app.services.ops.versions import versions

api = blueprint("health", "server")


@api.get(
    "/livez",
    access=Access.PUBLIC,
    budget=None,
    polled=True,
    responses=responses({200: HealthBody}),
    description="Looks at nothing but the process itself.",
)
def livez() -> HealthBody:
    """Liveness"""
    return HealthBody(status="ok")


@api.get(
    "/health",
    access=Access.PUBLIC,
    budget=None,
    polled=True,
    responses=responses({200: ChecksBody}, DatabaseUnavailable),
)
def health() -> ChecksBody:
    """Health: does the API work, and is anything in the way of a job"""
    return ChecksBody.of(_readiness())


@api.get("/readyz", access=Access.PUBLIC, budget=None, polled=True, responses=responses({200: ChecksBody}, Unavailable))
def readyz() -> ChecksBody:
    """Readiness: would a job sent now be worked on"""
    now = _readiness()
    if not now.ready:
        wrong = [FieldError(name, state) for name, state in now.problems.items()]
        raise Unavailable("; ".join(f"{one.field}: {one.message}" for one in wrong), errors=wrong)
    return ChecksBody.of(now)


@api.get(
    "/status",
    access=Access.USER,
    budget="read",
    polled=True,
    responses=responses({200: StatusBody}, DatabaseUnavailable),
)
def server_status() -> StatusBody:
    """Server status"""
    here = api_context()
    return StatusBody.of(
        stats.summary(here.context, owner=identity().scope),
        here.machine.read(),
        here.meter.recent(),
        ChecksBody.of(_readiness()),
        started_at=here.started_at,
        now=time.time(),
        versions=versions(),
        disk_floor_bytes=here.context.settings.disk_floor_bytes,
    )


def _readiness() -> stats.Readiness:
    here = api_context()
    draining = {"server": "is stopping; send new jobs elsewhere" if here.stopping.is_set() else "ok"}
    seen = stats.readiness(here.context)
    return stats.Readiness({**draining, **seen.checks}, seen.partial)

"""GET /metrics."""

from __future__ import annotations

from flask import Response
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from app.api.http import openapi
from app.api.http.openapi import blueprint, responses
from app.api.routing import Access
from app.api.server.context import api_context

api = blueprint("metrics", "server")


@api.get(
    "/metrics",
    access=Access.METRICS,
    budget=None,
    polled=True,
    responses=responses({200: openapi.text("Prometheus' text format.")}),
    description="Covers the API and all workers. Counters of jobs live in the database and survive restarts.",
)
def metrics() -> Response:
    """Prometheus metrics"""
    return Response(generate_latest(api_context().registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)

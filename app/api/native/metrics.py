"""Figures for Prometheus."""

from __future__ import annotations

from flask import Response
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from app.api.http import openapi
from app.api.http.openapi import answers, blueprint
from app.api.server.context import server

api = blueprint("metrics", "server")


@api.get(
    "/metrics",
    responses=answers({200: openapi.text("Prometheus' text format.")}),
    description="Covers the API and all workers. Counters of jobs live in the database and survive restarts.",
)
def metrics() -> Response:
    """Figures for Prometheus"""
    return Response(generate_latest(server().registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)

"""GET /api/schedulers."""

from __future__ import annotations

from app.api.http.openapi import blueprint, responses
from app.api.routing import Access
from app.api.schemas.schedulers import SchedulersBody
from app.api.server.context import app_context
from app.services.models import schedulers as service

api = blueprint("schedulers", "models")


@api.get(
    "/api/schedulers",
    access=Access.USER,
    budget="read",
    responses=responses({200: SchedulersBody}),
    description="Which of them fit a model is also in `GET /api/models`, under `schedulers`.",
)
def schedulers() -> SchedulersBody:
    """List the schedulers, and the models that each fits"""
    return SchedulersBody.of(service.listing(app_context()))

"""GET /api/embeddings."""

from __future__ import annotations

from app.api.http.openapi import blueprint, responses
from app.api.routing import Access
from app.api.schemas.embeddings import EmbeddingsBody
from app.api.server.context import app_context
from app.services.models import embeddings as service

api = blueprint("embeddings", "models")


@api.get(
    "/api/embeddings",
    access=Access.USER,
    budget="read",
    responses=responses({200: EmbeddingsBody}),
    description="The files of EMBEDDINGS_DIR: textual inversions, which Stable Diffusion and SDXL read in prompts.",
)
def embeddings() -> EmbeddingsBody:
    """List the embeddings and the models that each fits"""
    return EmbeddingsBody.of(service.listing(app_context()))

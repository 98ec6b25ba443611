"""The LoRAs that can be asked for."""

from __future__ import annotations

from typing import Any

from app.api.documented import answers, blueprint
from app.api.schemas.loras import LorasBody
from app.api.server import installation
from app.api.shapes import lora_body
from app.services import loras as service

api = blueprint("loras", "models")


@api.get(
    "/api/loras",
    responses=answers({200: LorasBody}),
    description="The files of LORAS_DIR, and names that were given. Requests may also name a repo of the hub.",
)
def loras() -> dict[str, Any]:
    """The LoRAs, and which models each is for"""
    return {"loras": [lora_body(known) for known in service.listing(installation())]}

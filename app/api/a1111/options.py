"""GET and POST options: each client has its own."""

from __future__ import annotations

import json
from typing import Any

from app.api.a1111.bodies import OptionsBody, Txt2ImgRequest
from app.api.a1111.clients import clients
from app.api.a1111.errors import NULL, answers
from app.api.a1111.translation import CHECKPOINT
from app.api.http.openapi import blueprint
from app.api.routing import Access
from app.api.schemas.a1111 import Options
from app.api.security.client_identity import client_id
from app.api.server.context import app_context
from app.core.catalog import ModelSpec
from app.errors import InvalidRequest, UnknownModel
from app.services.context import AppContext

api = blueprint("a1111_options", "AUTOMATIC1111", "a1111")

MOST_CHARS = 65_536  # of one client's options, as JSON
_DEFAULTS: dict[str, Any] = {
    "sd_checkpoint_hash": "",
    "sd_vae": "Automatic",
    "CLIP_stop_at_last_layers": 1,
    "samples_format": "png",
}


@api.get("/sdapi/v1/options", access=Access.USER, budget="read", polled=True, responses=answers(Options))
def a1111_options() -> Options:
    """Get the options, as AUTOMATIC1111"""
    own = clients().of(client_id()).options
    model = _model_of(app_context(), own.get(CHECKPOINT)).id
    return Options.model_construct(**{**_DEFAULTS, **own, CHECKPOINT: model})


@api.post(
    "/sdapi/v1/options",
    access=Access.USER,
    budget="read",
    responses=answers(NULL, InvalidRequest, UnknownModel),
    description="For this client only. `sd_model_checkpoint` is used; others are kept, and given back.",
)
def a1111_set_options(body: OptionsBody) -> tuple[str, int, dict[str, str]]:
    """Set options, as AUTOMATIC1111"""
    changed = {name: value for name, value in body.extras.items() if _is_option(name)}
    if body.sd_model_checkpoint is not None:
        changed[CHECKPOINT] = app_context().catalog.get(_name(body.sd_model_checkpoint)).id
    own = clients().of(client_id())
    if len(json.dumps({**own.options, **changed})) > MOST_CHARS:
        raise InvalidRequest(f"The options of a client may have {MOST_CHARS:,} characters together.")
    own.set_options(changed)
    return "null", 200, {"Content-Type": "application/json"}


def _is_option(name: str) -> bool:
    return name.isidentifier() and name != "cls" and not name.startswith("_")  # as theirs are called


def wanted_model(context: AppContext, body: Txt2ImgRequest) -> ModelSpec:
    """The model of a request: its own, else the client's, else the default. Raises UnknownModel."""
    named = body.override_settings.get(CHECKPOINT)
    if isinstance(named, str) and named.strip():
        return context.catalog.get(_name(named))
    return _model_of(context, clients().of(client_id()).options.get(CHECKPOINT))


def _model_of(context: AppContext, chosen: Any) -> ModelSpec:
    """The model that a client chose; the default without one."""
    return context.catalog.get(chosen if isinstance(chosen, str) else None)


def _name(title: str) -> str:
    """A title without the hash in brackets that some clients keep."""
    return title.split(" [")[0].strip()

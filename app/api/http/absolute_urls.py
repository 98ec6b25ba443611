"""Absolute URLs of pictures, for clients that know no base: programs of others, which pass them on."""

from __future__ import annotations

from flask import request

from app.core.output import Output
from app.errors import Forbidden
from app.services.context import AppContext
from app.services.urls import url


def picture_url(context: AppContext, output: Output) -> str:
    """Signed, unless that is switched off: then it wants a token. With PUBLIC_URL, if that is set, else with the host
    that the current request names."""
    public = context.settings.public_url
    try:
        address = context.signed_urls.signing()(output.id).url  # with PUBLIC_URL, if that is set
    except Forbidden:
        path = f"/api/image/{output.id}"
        address = public + path if public else url(path)
    return address if public else request.host_url.rstrip("/") + address

"""The digest that an Idempotency-Key is compared by."""

from __future__ import annotations

import hashlib

from app.api.native.generate import GenerateBody
from app.core.request import GenerationInput
from app.services.jobs.submit import _LATER_SETTINGS, request_digest

URL = "https://example.com/hook"


def test_the_digest_does_not_depend_on_the_routes_class() -> None:
    fields = {"prompt": "a böat", "model_id": "demo", "settings": {"seed": 7, "guidance_scale": 1.5}, "image": "iVBOR"}
    own, native = GenerationInput.model_validate(fields), GenerateBody.model_validate(fields | {"priority": 2})
    assert request_digest(own, 2, URL) == request_digest(native, 2, URL)
    assert len({request_digest(own, 2, URL), request_digest(own, 1, URL), request_digest(own, 2, None)}) == 3


def test_keys_from_the_versions_before_still_match() -> None:
    """They were stored with the JSON of the native route's class."""
    body = GenerateBody.model_validate(
        {"prompt": "a böat", "settings": {"guidance_scale": 0.00001}, "webhook_url": URL}
    )
    nothing = hashlib.sha256(b"").hexdigest()
    later = {"image": True, "mask": True, "inputs": True, "settings": set(_LATER_SETTINGS)}
    before = "|".join([body.model_dump_json(exclude=later), nothing, nothing, "0", URL])
    assert request_digest(body, 0, URL) == hashlib.sha256(before.encode()).hexdigest()

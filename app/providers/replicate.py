"""Client of Replicate's HTTP API. Thread-safe."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from app.core.prediction import PredictionStatus, Report
from app.providers.calls import Refused, Unreachable, call

NAME = "Replicate"
TIMEOUT_SECONDS = 60.0
PAGES = 20  # of predictions to search, newest first: 2000 in all
MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class RemoteModel:
    """A provider's description of a model. `document` is its OpenAPI document, empty if there is none; `version` is
    None if the provider chooses it."""

    model: str
    description: str = ""
    version: str | None = None
    document: Mapping[str, Any] = field(default_factory=dict)
    cover_image_url: str | None = None
    run_count: int | None = None
    official: bool = False


class Replicate:
    """All methods raise Refused, Busy or Unreachable."""

    def __init__(self, base_url: str, token: str, *, timeout: float = TIMEOUT_SECONDS) -> None:
        self._client = httpx.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {token}", "User-Agent": "CyberImage/1"},
            timeout=timeout,
            follow_redirects=False,
            trust_env=False,
        )

    def model(self, name: str) -> RemoteModel:
        """Fetch a model; `name` is `owner/name`."""
        return _model(self._call("GET", f"/v1/models/{name}"))

    def has_version(self, name: str, version: str) -> bool:
        try:
            self._call("GET", f"/v1/models/{name}/versions/{version}")
        except Refused as refused:
            if refused.status == 404:
                return False
            raise
        return True

    def models(self) -> list[RemoteModel]:
        """The first page of all public models, newest first."""
        found = self._call("GET", "/v1/models")
        return [_model(one) for one in _results(found) if one.get("owner") and one.get("name")]

    def create(
        self, model: RemoteModel, input: Mapping[str, Any], *, version: str | None = None, webhook: str | None = None
    ) -> Report:
        body: dict[str, Any] = {"input": dict(input)}
        if webhook is not None:
            body |= {"webhook": webhook, "webhook_events_filter": ["start", "completed"]}
        version = version or (None if model.official else model.version)
        if version is None:
            return report_of(self._call("POST", f"/v1/models/{model.model}/predictions", json=body))
        return report_of(self._call("POST", "/v1/predictions", json=body | {"version": version}))

    def prediction(self, provider_id: str) -> Report:
        return report_of(self._call("GET", f"/v1/predictions/{provider_id}"))

    def cancel(self, provider_id: str) -> Report:
        return report_of(self._call("POST", f"/v1/predictions/{provider_id}/cancel"))

    def newest(self, since: float) -> Iterator[Mapping[str, Any]]:
        """The account's predictions in the provider's format, newest first, back to `since` (seconds since the
        epoch, by our clock)."""
        path = "/v1/predictions"
        for _ in range(PAGES):
            page = self._call("GET", path)
            for listed in _results(page):
                if (_time(listed.get("created_at")) or since) < since:
                    return
                yield listed
            if not page.get("next"):
                return
            path = httpx.URL(page["next"]).raw_path.decode()  # without its host: the token is sent to the base URL only

    def upload(self, name: str, content: bytes, media_type: str) -> str:
        """Upload a file. Returns the URL by which models read it."""
        found = self._call("POST", "/v1/files", files={"content": (name, content, media_type)})
        try:
            return str(found["urls"]["get"])
        except (KeyError, TypeError):
            raise Unreachable(f"{NAME} accepted a file but returned no URL for it.", maybe_done=True) from None

    def webhook_secret(self) -> str:
        """The secret that Replicate signs webhooks with."""
        found = self._call("GET", "/v1/webhooks/default/secret")
        return str(found.get("key") or "") if isinstance(found, dict) else ""

    def _call(self, method: str, path: str, **request: Any) -> Any:
        return call(self._client, method, path, provider=NAME, **request)


def report_of(body: Any) -> Report:
    """A prediction in Replicate's JSON, from a response or webhook. Raises Unreachable if it is invalid."""
    try:
        status = PredictionStatus(body["status"])
        provider_id = str(body["id"])
    except (KeyError, TypeError, ValueError):
        raise Unreachable(f"{NAME} answered with an invalid prediction.", maybe_done=True) from None
    seconds = (body.get("metrics") or {}).get("predict_time")
    error = body.get("error")
    return Report(
        provider_id=provider_id,
        status=PredictionStatus.STARTING if status is PredictionStatus.INTENDED else status,
        outputs=tuple(_urls(body.get("output"))),
        error=None if error is None else str(error),
        predict_seconds=float(seconds) if isinstance(seconds, (int, float)) else None,
        logs=str(body.get("logs") or ""),
    )


def _urls(output: Any) -> Iterator[str]:
    """All URLs in an output, in order: a single one, or nested in lists and objects."""
    if isinstance(output, str):
        if output.startswith(("http://", "https://")):
            yield output
    elif isinstance(output, list):
        for part in output:
            yield from _urls(part)
    elif isinstance(output, dict):
        for part in output.values():
            yield from _urls(part)


def _model(body: Any) -> RemoteModel:
    try:
        name = f"{body['owner']}/{body['name']}"
    except (KeyError, TypeError):
        raise Unreachable(f"{NAME} answered with an invalid model.", maybe_done=False) from None
    version = body.get("latest_version") or {}
    return RemoteModel(
        model=name,
        description=body.get("description") or "",
        version=version.get("id"),
        document=version.get("openapi_schema") or {},
        cover_image_url=body.get("cover_image_url"),
        run_count=body.get("run_count"),
        official=bool(body.get("is_official")),
    )


def _results(page: Any) -> list[dict[str, Any]]:
    found = page.get("results") if isinstance(page, dict) else page
    return [one for one in found or [] if isinstance(one, dict)]


def _time(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None

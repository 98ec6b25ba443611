"""Rate limits per client: generations by the images they ask for, everything else by the request. Off by default.

Each route declares the budget that it draws on (`app.api.routing`); the routes of a budget share it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from math import ceil
from typing import Any

from flask import Flask, Response, g, request
from flask_limiter import Limiter, RateLimitExceeded, RequestLimit
from limits.errors import StorageError
from pydantic import ValidationError

from app.api.routing import current_budget, current_policy, policies_of
from app.api.security.client_identity import limit_key
from app.api.server.context import app_context
from app.config import Settings
from app.core.access import Identity
from app.core.batches.request import BatchInput
from app.core.field_aliases import REQUEST_ALIASES, SETTING_ALIASES
from app.core.job import JobStatus
from app.core.provider_input import NAMES
from app.errors import CyberImageError, RateLimited
from app.services.batches.submit import count_images

OURS = ("num_images", *(name for name, own in SETTING_ALIASES.items() if own == "num_images"))
MCP = "mcp"  # the blueprint whose requests call tools
MOST_IMAGES = 1000  # that one request is charged for; what asks for more is refused anyway
_EXCEEDED = {
    "generate": "The rate limit of images is reached.",
    "read": "The rate limit of requests is reached.",
}

log = logging.getLogger("cyberimage.api")


@dataclass(frozen=True)
class _Budget:
    """`cost` is what the current request takes from it. Its limits may change while the server runs."""

    name: str
    cost: Callable[[], int]

    def limits(self) -> str:
        """Those of the current request's key, if it has any: they take the place of the general ones."""
        setting = f"rate_limit_{self.name}"
        known: Identity | None = g.get("identity")
        own: str | None = None if known is None else getattr(known, setting)
        return str(getattr(app_context().settings, setting)) if own is None else own

    def is_lifted(self) -> bool:
        """Whether the current request does not count: it has no limit, or counts against another budget."""
        return not self.limits() or current_budget() != self.name


def register(app: Flask, settings: Settings) -> None:
    """Wrap the routes of `app`, which must be there already."""
    budgets = list(_budgets(settings))
    limiter, policies = _limiter(app, settings), policies_of(app)
    for endpoint, view in list(app.view_functions.items()):
        for budget in budgets:
            if budget.name == policies[endpoint].budget or callable(policies[endpoint].budget):
                limited = limiter.shared_limit(
                    budget.limits,
                    scope=budget.name,
                    cost=budget.cost,
                    exempt_when=budget.is_lifted,
                    error_message=_EXCEEDED[budget.name],
                )
                app.view_functions[endpoint] = _unless_lifted(
                    limiter, budget, app.view_functions[endpoint], limited(view)
                )
    app.after_request(lambda response: _tell(limiter, response))


def _unless_lifted(
    limiter: Limiter, budget: _Budget, view: Callable[..., Any], limited: Callable[..., Any]
) -> Callable[..., Any]:
    """`limited` raises RateLimited, with the time to wait: not every façade has headers for it. Without a limit nothing
    is counted: with AUTH_MODE=keys every route is wrapped, for the keys that have one."""

    @wraps(limited)
    def either(**parameters: Any) -> Any:
        try:
            return view(**parameters) if budget.is_lifted() else limited(**parameters)
        except RateLimitExceeded as error:
            seconds = _seconds_to_wait(limiter)
            raise RateLimited(f"{error.description} Try again in {seconds} seconds.", retry_after=seconds) from None

    return either


def _limiter(app: Flask, settings: Settings) -> Limiter:
    limiter = Limiter(
        limit_key(by_address=bool(settings.rate_limit_storage)),
        app=app,
        storage_uri=settings.rate_limit_storage or "memory://",
        storage_options={"wrap_exceptions": True},
        strategy="fixed-window",
        in_memory_fallback_enabled=bool(settings.rate_limit_storage),  # Redis away: each process counts for itself
        key_prefix="cyberimage",
    )
    limiter.logger = log
    return limiter


def _budgets(settings: Settings) -> Iterator[_Budget]:
    for name, cost in (("generate", _images), ("read", lambda: 1)):
        if settings.auth_mode == "keys" or getattr(settings, f"rate_limit_{name}"):
            yield _Budget(name, cost)


def _images() -> int:
    """How many images the request asks for; 1 when that is unknown: such a request is refused."""
    job_id, batch_id = ((request.view_args or {}).get(name) for name in ("job_id", "batch_id"))
    try:
        if job_id is not None:
            return app_context().jobs.get(job_id).request.num_images
        body = request.get_json()
        if current_policy().accepts_lines:
            return _of_batch(body)
        if request.blueprint == MCP and (arguments := _of_tool(body, "submit_batch")) is not None:
            return _of_batch(arguments)
        if batch_id is not None:  # a retry
            again = [JobStatus.FAILED, *([JobStatus.CANCELLED] if body.get("cancelled") is True else [])]
            return max(1, app_context().batches.count_images(batch_id, again))
    except CyberImageError:
        return 1
    return _images_of(body)


def _images_of(body: Mapping[str, Any]) -> int:
    return min(max([1, *_wished(body)]), MOST_IMAGES)


def _of_tool(body: Mapping[str, Any], tool: str) -> Mapping[str, Any] | None:
    """The arguments of a call of `tool`; None for another request."""
    params = body.get("params")
    if not isinstance(params, Mapping) or params.get("name") != tool:
        return None
    arguments = params.get("arguments")
    return arguments if isinstance(arguments, Mapping) else {}


def _of_batch(body: Mapping[str, Any]) -> int:
    """The images of all jobs of a batch, however many: quotas count jobs."""
    try:
        own = {
            name: value for name, value in body.items() if name in BatchInput.model_fields or name in REQUEST_ALIASES
        }
        return max(1, count_images(app_context(), BatchInput.model_validate(own), _images_of))
    except ValidationError:
        return 1


def _wished(body: Mapping[str, Any]) -> Iterator[int]:
    """The numbers of images that `body` names: nested or flat, in the words of an inference client, of a tool or
    of a remote model."""
    settings, parameters, input, params = (body.get(name) for name in ("settings", "parameters", "input", "params"))
    tool = params.get("arguments") if isinstance(params, Mapping) else None
    of_tool = tool.get("settings") if isinstance(tool, Mapping) else None
    ours = (settings, body, parameters, tool, of_tool)
    for part, names in (*((part, OURS) for part in ours), (input, NAMES["num_images"])):
        if isinstance(part, Mapping):
            for name in names:
                number = _whole(part.get(name))
                if number is not None:
                    yield number
    if "n_iter" in body:  # AUTOMATIC1111's product; what is no number is read as 1
        yield (_whole(body.get("batch_size")) or 1) * (_whole(body.get("n_iter")) or 1)
    for name in ("imageList", "controlnet_images"):  # its pictures to enlarge, or to find edges in
        if isinstance(listed := body.get(name), list):
            yield len(listed)


def _whole(value: object) -> int | None:
    """`value` as the request will be read: 2, 2.0, and where a schema allows it "2"."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return int(float(value))
    except (ValueError, OverflowError):
        return None


def _tell(limiter: Limiter, response: Response) -> Response:
    """The headers of the current request's budget: the draft standard's, and those that older clients read."""
    try:
        standing = [_Standing(limit) for limit in limiter.current_limits]
    except StorageError:
        return response
    if standing:
        headers, tightest = response.headers, min(standing, key=lambda one: (one.remaining, -one.reset_in))
        headers["RateLimit-Policy"] = ", ".join(f'"{one.name}";q={one.quota};w={one.window}' for one in standing)
        headers["RateLimit"] = ", ".join(f'"{one.name}";r={one.remaining};t={one.reset_in}' for one in standing)
        headers["X-RateLimit-Limit"] = str(tightest.quota)
        headers["X-RateLimit-Remaining"] = str(tightest.remaining)
        headers["X-RateLimit-Reset"] = str(ceil(time.time()) + tightest.reset_in)
    return response


def _seconds_to_wait(limiter: Limiter) -> int:
    """Until all limits that the current request broke are reset."""
    try:
        standing = [_Standing(limit) for limit in limiter.current_limits]
    except StorageError:
        return 1
    return max([1, *(one.reset_in for one in standing if one.breached)])


class _Standing:
    """One limit as it stands after this request."""

    def __init__(self, limit: RequestLimit) -> None:
        self.quota = limit.limit.amount
        self.window = limit.limit.get_expiry()
        self.name = f"per-{self.window}s"
        self.remaining = max(0, limit.remaining)
        self.reset_in = min(self.window, max(0, ceil(limit.reset_at - time.time())))  # reset_at is rounded up
        self.breached = limit.breached

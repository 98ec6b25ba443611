"""Route policies, declared on the route: access, rate budget, uploads and bodies.

The guard, the rate limits and the reading of bodies look it up by endpoint, so every spelling of a route has the policy
of that route. `collect` refuses an application with a route that declares nothing; one that is added later without a
policy is treated like any other that needs a user.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, TypeVar, cast, get_type_hints

from flask import Flask, current_app, request
from flask_openapi3 import APIBlueprint
from pydantic import BaseModel, ConfigDict

from app.core.signed_urls import FileKind

_ATTRIBUTE = "route_policy"
_EXTENSION = "cyberimage-routes"

View = TypeVar("View", bound=Callable[..., Any])
Budget = Literal["generate", "read"]
BudgetOfRequest = Callable[[], Budget | None]


class Access(StrEnum):
    """Who may call a route."""

    PUBLIC = "public"  # anyone: it shows no client's work, or checks a signature itself
    USER = "user"  # signed-in clients, as AUTH_MODE says; what belongs to another client does not exist for them
    ADMIN = "admin"
    METRICS = "metrics"  # PUBLIC with METRICS_PUBLIC, else USER


@dataclass(frozen=True)
class RoutePolicy:
    """`budget` is the rate limit that a request counts against: `generate` by its images, `read` by the request, None
    for no limit; a function where it depends on the request. `polled`: clients ask again and again, so the access log
    samples it. `accepts_files` allows forms, and bodies up to MAX_BODY_BYTES plus the input pictures; `max_body_bytes`
    is a smaller limit than MAX_BODY_BYTES. `takes_body`: the view reads a body; on other routes one with members is
    refused, as an unknown field is. `signed_file`: the file of `image_id`, which a signed URL of it opens without a
    token. `accepts_lines`: a file of CSV or JSONL may be sent as it is, of any size up to the bound of such files.
    `facade` is the interface that the route belongs to: it words the errors, and is told in metrics and logs."""

    access: Access
    budget: Budget | BudgetOfRequest | None
    accepts_files: bool = False
    max_body_bytes: int | None = None
    takes_body: bool = True
    polled: bool = False
    signed_file: FileKind | None = None
    facade: str = "native"
    accepts_lines: bool = False


UNDECLARED = RoutePolicy(Access.USER, "read")


def declare(policy: RoutePolicy) -> Callable[[View], View]:
    """Decorator: the policy of a view that is not registered by `Routes`."""

    def decorator(view: View) -> View:
        setattr(view, _ATTRIBUTE, policy)
        return view

    return decorator


class Routes(APIBlueprint):
    """A blueprint whose routes must declare `access` and `budget`, all of one `facade`."""

    def __init__(self, *args: Any, facade: str = "native", **options: Any) -> None:
        super().__init__(*args, **options)
        self.facade = facade

    def get(self, rule: str, **options: Any) -> Callable[[View], View]:
        return self._route(super().get, rule, **options)

    def post(self, rule: str, **options: Any) -> Callable[[View], View]:
        return self._route(super().post, rule, **options)

    def put(self, rule: str, **options: Any) -> Callable[[View], View]:
        return self._route(super().put, rule, **options)

    def patch(self, rule: str, **options: Any) -> Callable[[View], View]:
        return self._route(super().patch, rule, **options)

    def delete(self, rule: str, **options: Any) -> Callable[[View], View]:
        return self._route(super().delete, rule, **options)

    def _route(
        self,
        method: Callable[..., Callable[[View], View]],
        rule: str,
        *,
        access: Access,
        budget: Budget | BudgetOfRequest | None,
        accepts_files: bool = False,
        max_body_bytes: int | None = None,
        raw_body: bool = False,
        polled: bool = False,
        signed_file: FileKind | None = None,
        accepts_lines: bool = False,
        **options: Any,
    ) -> Callable[[View], View]:
        """`raw_body`: the view reads the request's body itself, not by a parameter `body`."""

        def register(view: View) -> View:
            body = get_type_hints(view).get("body")
            takes_body = raw_body or body is not None
            policy = RoutePolicy(
                *(access, budget, accepts_files, max_body_bytes, takes_body, polled, signed_file, self.facade),
                accepts_lines,
            )
            if body is not None:
                _document_optional(body)
            return method(rule, **options)(declare(policy)(view))

        return register


def _document_optional(body: type[BaseModel]) -> None:
    """Document a body without required members as optional, as it is: flask-openapi3 would document every body as
    required."""
    if not any(field.is_required() for field in body.model_fields.values()):
        body.model_config = cast(ConfigDict, {**body.model_config, "openapi_extra": {"required": False}})


def collect(app: Flask) -> None:
    """Look up the policy of every route of `app`. Raises TypeError with the names of those that declare none."""
    found = {endpoint: getattr(view, _ATTRIBUTE, None) for endpoint, view in app.view_functions.items()}
    rules = app.url_map.iter_rules()
    undeclared = sorted(f"{rule.endpoint} ({rule.rule})" for rule in rules if found[rule.endpoint] is None)
    if undeclared:
        raise TypeError(f"These routes declare no access and no rate budget: {', '.join(undeclared)}")
    app.extensions[_EXTENSION] = found


def policies_of(app: Flask) -> Mapping[str, RoutePolicy]:
    """The policies of all routes of `app`, by endpoint."""
    found: Mapping[str, RoutePolicy] = app.extensions[_EXTENSION]
    return found


def policy_of(endpoint: str | None) -> RoutePolicy:
    """The policy of a route of the current application."""
    return policies_of(current_app).get(endpoint or "", UNDECLARED)


def current_policy() -> RoutePolicy:
    """The policy of the route that the current request leads to."""
    return policy_of(request.endpoint)


def current_budget() -> Budget | None:
    """The budget that the current request counts against. To be called after the client was let in."""
    budget = current_policy().budget
    return budget() if callable(budget) else budget

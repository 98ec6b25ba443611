"""Parses the lines of the model catalogue, and builds the catalogue of the built-in ones and those of the installation.

MODEL_<KEY>=<name>;<repo>;<description>;<source>;<requires_auth>[;<options_json>]
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import ValidationError

from app.core.builtin_models import BUILTIN_MODEL_LINES
from app.core.catalog import Catalog, LocalSource, ModelOptions, ModelSpec, RemoteSource, Source
from app.core.engine_servers import EngineServer
from app.errors import ConfigurationError

_SOURCES: tuple[Source, ...] = (*get_args(LocalSource), *get_args(RemoteSource))


def build_catalog(lines: Mapping[str, str], default_id: str) -> Catalog:
    """The built-in models, with those of `lines` added or, under the same name, replaced.

    Raises ConfigurationError listing every bad line, or an unknown default.
    """
    own = {spec.id: spec for spec in parse_models(lines)}
    built_in = [own.pop(spec.id, spec) for spec in parse_models(BUILTIN_MODEL_LINES)]
    return Catalog([*built_in, *own.values()], default_id)


def engine_servers_in(lines: Mapping[str, str]) -> Mapping[str, EngineServer]:
    """The engine servers by the ids of their models. Raises ConfigurationError."""
    return {spec.id: spec.options.server for spec in parse_models(lines) if spec.options.server is not None}


def parse_models(lines: Mapping[str, str]) -> list[ModelSpec]:
    """Every `MODEL_<KEY>` line, sorted by key. Raises ConfigurationError listing all bad lines at once."""
    specs: dict[str, ModelSpec] = {}
    problems: list[str] = []
    for key in sorted(lines):
        try:
            spec = parse_model_line(lines[key])
        except ValueError as error:
            problems.append(f"{key}: {error}")
            continue
        if spec.id in specs:
            problems.append(f"{key}: the name {spec.name!r} is used by another MODEL_ line too; use a different name")
        specs[spec.id] = spec
    if problems:
        raise ConfigurationError(problems)
    return list(specs.values())


def parse_model_line(line: str) -> ModelSpec:
    """Parse one catalogue line, quoted or not. Raises ValueError with a sentence about the mistake."""
    fields = [part.strip() for part in _unquote(line.strip()).split(";", 5)]
    if len(fields) < 5:
        raise ValueError(
            f"has {len(fields)} of the five fields <name>;<repo>;<description>;<source>;<requires_auth>"
            " (a sixth, JSON options, is optional)"
        )
    name, repo, description, source, requires_auth = fields[:5]
    if not name or not repo:
        raise ValueError("the name and the repo must not be empty")
    if source not in _SOURCES:
        raise ValueError(f"the source {source!r} is unknown; use {', '.join(_SOURCES[:-1])} or {_SOURCES[-1]}")
    if requires_auth.lower() not in ("true", "false"):
        raise ValueError(f"requires_auth must be true or false, not {requires_auth!r}")
    options = _parse_options(fields[5] if len(fields) > 5 else "")
    try:
        return ModelSpec(
            id=re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._") or "model",
            name=name,
            repo=repo,
            description=description,
            source=source,
            requires_auth=requires_auth.lower() == "true",
            steps=options.step_rule(),
            options=options,
        )
    except ValidationError as error:
        raise ValueError(_first_problem(error)) from None


def _parse_options(text: str) -> ModelOptions:
    if not text:
        return ModelOptions()
    try:
        data = _load_escaped_json(text)
    except ValueError as error:
        raise ValueError(f"the options are not valid JSON ({error}): {text[:80]!r}") from None
    if not isinstance(data, dict):
        raise ValueError('the options must be a JSON object such as {"fixed_steps": 25}')
    try:
        return ModelOptions.model_validate(data)
    except ValidationError as error:
        raise ValueError(f"the options are wrong: {_first_problem(error)}") from None


def _load_escaped_json(text: str) -> Any:
    """Parse JSON whose quotes may still be escaped by a shell, an env_file or a note."""
    try:
        return json.loads(text)
    except ValueError as first:
        for _ in range(2):  # \\" → \" → "
            text = text.replace('\\\\"', '\\"') if '\\\\"' in text else text.replace('\\"', '"')
            try:
                return json.loads(text)
            except ValueError:
                continue
        raise first


def _unquote(text: str) -> str:
    """Remove one pair of quotes around a value, which some tools (docker's env_file) keep."""
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"" else text


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message

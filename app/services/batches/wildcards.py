"""The wildcards that templates name, with those that their lines name in turn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from app.core.batches.template import Template, names_of, parse
from app.errors import FieldError, InvalidRequest
from app.files import wildcards
from app.services.context import AppContext

MOST_FILES = 100
MOST_LINES = 100_000  # of all files together


def wildcards_of(context: AppContext, templates: Iterable[str]) -> dict[str, Sequence[Template]]:
    """The parsed lines of each wildcard file. One that is not there is left out. Raises InvalidRequest for a file that
    cannot be read, and for a line that is no template, which is named. Templates that cannot be parsed are left to the
    plan."""
    found: dict[str, Sequence[Template]] = {}
    waiting = _named(templates)
    while waiting:
        name = waiting.pop()
        if name in found or (lines := wildcards.read(context.settings.wildcards_folder, name)) is None:
            continue
        found[name] = [parse(line, f"wildcard {name}, line {number}:") for number, line in enumerate(lines, 1)]
        if len(found) > MOST_FILES or sum(map(len, found.values())) > MOST_LINES:
            message = f"names more than {MOST_FILES} wildcard files, or {MOST_LINES:,} lines of them"
            raise InvalidRequest(f"The prompt {message}.", errors=[FieldError("prompt", message)])
        waiting |= set[str]().union(*(names_of(line) for line in found[name])) - found.keys()
    return found


def _named(templates: Iterable[str]) -> set[str]:
    names: set[str] = set()
    for template in templates:
        try:
            names |= names_of(parse(template))
        except InvalidRequest:
            continue
    return names

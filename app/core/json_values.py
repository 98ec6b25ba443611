"""Reads JSON from clients, and finds values that cannot be stored or forwarded.

PostgreSQL stores no text with NUL, UTF-8 encodes no lone surrogates, JSON has no infinite numbers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from app.errors import FieldError, InvalidRequest

MOST_LEVELS = 64
MOST_PROBLEMS = 20  # a body may contain a hundred thousand wrong values; the response must stay small
LONGEST_NAME = 100
_SCREENED_FIELDS = frozenset(
    {"prompt", "negative_prompt"}
)  # a NUL in one counts as an attack: app.core.prompt_screening


def read_json(text: str | bytes) -> Any:
    """Parse JSON. Raises InvalidRequest if it is invalid, or as `refuse_unusable` does."""
    try:
        data = json.loads(text)
    except RecursionError:
        raise too_deep() from None
    except ValueError as error:  # bad syntax, bad UTF-8, a number of five thousand digits
        raise InvalidRequest(f"The body is not valid JSON: {str(error)[:200]}.") from None
    refuse_unusable(data)
    return data


def refuse_unusable(data: Any) -> None:
    """Raises InvalidRequest naming the field of each value that cannot be stored."""
    problems: list[FieldError] = []
    for problem in _problems(data):
        problems.append(problem)
        if len(problems) == MOST_PROBLEMS:
            break
    if problems:
        raise InvalidRequest("; ".join(f"{one.field or 'body'}: {one.message}" for one in problems), errors=problems)


def text_problem(text: str, *, may_hold_nul: bool = False) -> str | None:
    """Why `text` cannot be stored; None if it can."""
    if "\0" in text and not may_hold_nul:
        return "contains the character U+0000, which cannot be stored; remove it"
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"contains U+{ord(text[error.start]):04X}, half of a character; remove it"
    return None


def too_deep() -> InvalidRequest:
    return InvalidRequest(f"The body is nested too deeply; at most {MOST_LEVELS} levels are allowed.")


def _problems(data: Any) -> Iterator[FieldError]:
    waiting: list[tuple[str, int, Any]] = [("", 0, data)]
    while waiting:
        path, level, value = waiting.pop()
        if level > MOST_LEVELS:
            raise too_deep()
        if isinstance(value, str):
            if problem := text_problem(value, may_hold_nul=path in _SCREENED_FIELDS):
                yield FieldError(path, problem)
        elif isinstance(value, float):
            if not math.isfinite(value):
                yield FieldError(path, "must be a finite number")
        elif isinstance(value, Mapping):
            yield from _bad_names(path, value)
            waiting += [(_below(path, name), level + 1, part) for name, part in value.items()]
        elif isinstance(value, list):
            waiting += [(_below(path, str(index)), level + 1, part) for index, part in enumerate(value)]


def _bad_names(path: str, names: Iterable[str]) -> Iterator[FieldError]:
    for name in names:
        if problem := text_problem(name):
            yield FieldError(_below(path, name), f"is a name that {problem}")


def _below(path: str, name: str) -> str:
    """The path of a member, with unprintable characters of its name escaped."""
    shown = name[:LONGEST_NAME].encode("ascii", "backslashreplace").decode().replace("\0", "\\x00")
    return f"{path}.{shown}" if path else shown

"""Requests from a file: CSV with a line of field names, or one JSON object a line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.core.batches.axes import own_field, with_value
from app.core.batches.plan import PlannedJob
from app.core.batches.request import Lines
from app.core.json_values import refuse_unusable
from app.errors import FieldError, InvalidRequest

MOST_LINE_CHARS = 100_000
MOST_COLUMNS = 100
_TEXTS = frozenset({"prompt", "negative_prompt", "model_id", "image", "mask", "settings.prompt_2"})


@dataclass(frozen=True)
class Line:
    """One line: what it asks for, or what is wrong with it. Lines count from 1, as editors do."""

    number: int
    body: Mapping[str, Any]
    problems: Sequence[FieldError] = ()


def read_lines(lines: Lines, *, most: int) -> list[Line]:
    """The requests in `lines`, empty lines left out. Raises InvalidRequest for a file that cannot be read as a whole,
    or has more than `most`."""
    found: list[Line] = []
    for line in _csv(lines.text) if lines.format == "csv" else _jsonl(lines.text):
        found.append(line)
        if len(found) > most:
            raise _invalid(f"has more than {most:,} requests; at most {most:,} are allowed (MAX_BATCH_JOBS)")
    if not found:
        raise _invalid("has no requests")
    return found


def planned(lines: Sequence[Line], base: Mapping[str, Any]) -> Iterator[PlannedJob]:
    """The jobs of lines without problems. What a line does not say is as in `base`."""
    for place, line in enumerate(lines):
        settings, own = base.get("settings") or {}, line.body.get("settings")
        body = {**base, **line.body}
        if settings and (own is None or isinstance(own, Mapping)):  # what is no object is refused with the job
            body["settings"] = {**settings, **(own or {})}
        yield PlannedJob(place, body, None, None, None, f"lines.{line.number}")


def _jsonl(text: str) -> Iterator[Line]:
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines(): JSON may hold other separators
        if line.strip():
            yield _read_json(number, line)


def _read_json(number: int, line: str) -> Line:
    try:
        if len(line) > MOST_LINE_CHARS:
            raise InvalidRequest(f"has more than {MOST_LINE_CHARS:,} characters")
        body = json.loads(line)
        refuse_unusable(body)
    except InvalidRequest as error:
        return Line(number, {}, error.errors or [FieldError("", error.detail)])
    except (ValueError, RecursionError) as error:
        return Line(number, {}, [FieldError("", f"is not valid JSON: {str(error)[:200]}")])
    if not isinstance(body, dict):
        return Line(number, {}, [FieldError("", "is no JSON object")])
    return Line(number, body)


def _csv(text: str) -> Iterator[Line]:
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    reader = csv.reader((f"{line}\n" for line in lines), strict=True)
    try:
        fields = _header(next(reader, []))
        for row in reader:
            if any(cell.strip() for cell in row):
                yield _read_row(reader.line_num, fields, row)
    except csv.Error as error:
        raise _invalid(f"cannot be read at line {reader.line_num}: {error}") from None


def _header(names: Sequence[str]) -> Sequence[str]:
    """The paths of the columns. Raises InvalidRequest."""
    if not 0 < len(names) <= MOST_COLUMNS:
        raise _invalid(f"must begin with a line of 1 to {MOST_COLUMNS} field names, such as prompt,settings.seed")
    fields, problems = list[str](), list[FieldError]()
    for name in names:
        try:
            fields.append(own_field(name.strip()))
        except InvalidRequest as error:
            problems += [FieldError("lines", each.message) for each in error.errors]
    if len(set(fields)) < len(fields):
        problems.append(FieldError("lines", "has two columns of one field"))
    if problems:
        raise InvalidRequest("; ".join(each.message for each in problems), errors=problems)
    return fields


def _read_row(number: int, fields: Sequence[str], row: Sequence[str]) -> Line:
    if len(row) > len(fields):
        return Line(number, {}, [FieldError("", f"has {len(row)} cells, but there are {len(fields)} columns")])
    body: Mapping[str, Any] = {}
    try:
        for field, cell in zip(fields, row, strict=False):
            if cell.strip():
                body = with_value(body, field, _value(field, cell))
        refuse_unusable(body)
    except InvalidRequest as error:
        return Line(number, {}, error.errors)
    return Line(number, body)


def _value(field: str, cell: str) -> Any:
    """A cell as JSON where it is some, else as text."""
    if field in _TEXTS:
        return cell
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell.strip()


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest(f"The file {message}.", errors=[FieldError("lines", message)])

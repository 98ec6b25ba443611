"""JSON from clients: strict request bodies, and checks and bounds of free-form values."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    PrivateAttr,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from app.core.field_aliases import Renamed, with_own_names
from app.errors import FieldError, InvalidRequest

MOST_LEVELS = 64
MOST_PROBLEMS = 20  # a body may contain a hundred thousand wrong values; the response must stay small
LONGEST_NAME = 100
# A NUL in one of these counts as an attack: app.core.prompt_screening.
_SCREENED_FIELDS = frozenset({"prompt", "negative_prompt"})


IN_ANY_CASE = BeforeValidator(lambda text: text.upper() if isinstance(text, str) else text)  # of words in capitals


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


_ABOUT = ("title", "description", "default")
_LARGEST = 2**53  # floats represent all integers up to this


def _whole(value: Any) -> Any:
    """Accept integral floats: in JSON Schema 7.0 is an integer, and some clients send all numbers as floats."""
    return int(value) if isinstance(value, float) and abs(value) <= _LARGEST and value.is_integer() else value


Integer = Annotated[int, BeforeValidator(_whole)]
FiniteFloat = Annotated[float, Field(allow_inf_nan=False)]


class Body(BaseModel):
    """A request body, or a part of one."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        optional = {name for name, field in cls.model_fields.items() if not field.is_required()}
        return {name: value for name, value in given.items() if value is not None or name not in optional}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The JSON schema, with null as a type of every optional member."""
        written = handler(schema)
        resolved = handler.resolve_ref_schema(written)
        required = resolved.get("required", ())
        for name, member in resolved.get("properties", {}).items():
            if name not in required:
                resolved["properties"][name] = _or_null(member)
        return written


class AliasedBody(Body):
    """A body whose fields may be sent under the names in ALIASES, too."""

    ALIASES: ClassVar[Mapping[str, str]] = {}
    _renamed: Renamed = PrivateAttr(default=())

    @property
    def renamed(self) -> Renamed:
        """The fields that were sent under another name, as (sent, ours)."""
        return self._renamed

    def with_renamed(self, renamed: Renamed) -> Self:
        """This body, as made from one whose fields were `renamed`."""
        self._renamed = renamed
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _with_own_names(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(given, Mapping):
            return handler(given)
        own, renamed = with_own_names(given, cls.ALIASES)
        body = handler(own)
        if renamed:
            body._renamed = renamed
        return body


def _or_null(member: dict[str, Any]) -> dict[str, Any]:
    null = {"type": "null"}
    if null in member.get("anyOf", ()):
        return member
    about: dict[str, Any] = {name: rule for name, rule in member.items() if name in _ABOUT}
    return {"anyOf": [{name: rule for name, rule in member.items() if name not in about}, null], **about}

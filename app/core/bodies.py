"""Base class of request bodies: strict types, unknown members refused, null treated as absent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

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


def _or_null(member: dict[str, Any]) -> dict[str, Any]:
    null = {"type": "null"}
    if null in member.get("anyOf", ()):
        return member
    about: dict[str, Any] = {name: rule for name, rule in member.items() if name in _ABOUT}
    return {"anyOf": [{name: rule for name, rule in member.items() if name not in about}, null], **about}

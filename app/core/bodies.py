"""What all bodies of requests have in common: strict types, unknown members refused, null for what is absent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

_ABOUT = ("title", "description", "default")
_LARGEST = 2**53  # up to here a float tells every integer from its neighbours


def _whole(value: Any) -> Any:
    """For JSON Schema 7.0 is an integer, and some clients know no other numbers."""
    return int(value) if isinstance(value, float) and abs(value) <= _LARGEST and value.is_integer() else value


Integer = Annotated[int, BeforeValidator(_whole)]
FiniteFloat = Annotated[float, Field(allow_inf_nan=False)]


class Body(BaseModel):
    """A body, or a part of one."""

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
        """With null among the types of every member that may be absent."""
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

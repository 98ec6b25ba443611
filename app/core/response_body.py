"""Base class of response bodies, and the kinds of values that many of them hold.

A body's class is its only definition: it documents the body in the OpenAPI document, tests validate responses with it,
and responses are made from it, by a classmethod `of` that takes the domain object.
"""

from __future__ import annotations

from typing import Annotated, Any, Self, cast

from pydantic import BaseModel, ConfigDict, Field

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, description="UTC, ISO 8601.")]
Path = Annotated[str, Field(json_schema_extra={"format": "uri-reference"})]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

_MISSING = object()


class ResponseBody(BaseModel):
    """A response, or a part of one."""

    model_config = ConfigDict(protected_namespaces=())

    @classmethod
    def read(cls, *sources: object, **values: Any) -> Self:
        """The body with `values` as fields; each other field is the attribute of its name of the first of `sources`
        that has it.

        Nothing is validated: one odd value, such as a file name that is not UTF-8, must not make a whole list fail.
        """
        for name in cls.model_fields:
            if name not in values:
                values[name] = _attribute(sources, name)
        return cast(Self, cls.model_construct(**values))

    def as_dict(self) -> dict[str, Any]:
        """The members, for JSON."""
        return self.model_dump(warnings=False)


def _attribute(sources: tuple[object, ...], name: str) -> Any:
    for source in sources:
        value = getattr(source, name, _MISSING)
        if value is not _MISSING:
            return value
    raise AttributeError(f"none of {[type(source).__name__ for source in sources]} has the field {name}")

"""Models of remote providers."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field

from app.api.schemas.jobs import ImageRef, JobBody
from app.core.catalog import Media
from app.core.job import JobView
from app.core.model_form import FormField, Kind, form_fields
from app.core.model_schema import InputSchema
from app.core.output import Output
from app.core.provider_input import first_frame_of
from app.core.response_body import Path, ResponseBody, Time
from app.core.times import iso_or_none
from app.providers.replicate import RemoteModel
from app.services.job_body import Sign, download_of
from app.services.remote.models import Listed, Listing
from app.services.urls import url


class RemoteModelBody(ResponseBody):
    model: str = Field(description="`owner/name`.")
    model_id: str = Field(description="What its jobs and pictures are listed under.")
    name: str
    media: Media
    description: str
    cover_image_url: str | None
    run_count: int | None
    first_frame: str | None = Field(description="Its input that takes a picture to start from, whatever it is called.")
    schema_url: Path

    @classmethod
    def of(cls, listed: Listed) -> Self:
        return cls.read(listed, schema_url=url(f"/api/{listed.media}-models/{listed.model}/schema"))


class RemoteModelsBody(ResponseBody):
    models: list[RemoteModelBody]
    refreshed_at: Time | None = Field(description="When the provider last said so; null when it could not be asked.")

    @classmethod
    def of(cls, listing: Listing) -> Self:
        models = [RemoteModelBody.of(listed) for listed in listing.models]
        return cls.read(models=models, refreshed_at=iso_or_none(listing.refreshed_at))


class FormFieldBody(ResponseBody):
    """An input with its references and alternatives resolved, for a form."""

    name: str
    title: str
    description: str
    kind: Kind = Field(description="The control that holds it; `json` is what no simple one does.")
    many: bool = Field(description="It takes a list of values of its kind.")
    required: bool
    default: Any
    choices: list[Any] = Field(description="The values of a `choice`.")
    minimum: float | None
    maximum: float | None
    step: float | None = Field(description="Null where any number will do.")
    max_length: int | None
    max_items: int | None
    secret: bool

    @classmethod
    def of(cls, field: FormField) -> Self:
        return cls.read(field, choices=list(field.choices))


class RemoteSchemaBody(ResponseBody):
    model: str
    version: str | None
    input_schema: dict[str, Any] = Field(description="JSON Schema of `input`.")
    required: list[str]
    defaults: dict[str, Any] = Field(description="What is filled in where `input` says nothing.")
    files: list[str] = Field(description="Inputs that are files: a URL, a data URI, or an `image_id` of the gallery.")
    first_frame: str | None = Field(description="The one of them that takes a picture to start from.")
    fields: list[FormFieldBody] = Field(description="All inputs in the schema's order; empty when it has none.")
    price: float | None = Field(description="Of a picture or video, by this server's settings; null when none is set.")

    @classmethod
    def of(cls, model: RemoteModel, price: float | None = None) -> Self:
        schema = InputSchema(model.document)
        return cls.read(
            model,
            input_schema=schema.schema,
            required=sorted(schema.required),
            defaults=schema.defaults(),
            files=schema.files(),
            first_frame=first_frame_of(schema),
            fields=[FormFieldBody.of(field) for field in form_fields(schema)],
            price=price or None,
        )


class GenerationBody(JobBody):
    """A job as elsewhere, how fetching its files from a provider went, and the output that was asked for."""

    download_attempted: bool
    download_retries: int
    download_error: str | None
    output: ImageRef | None = Field(description="The picture or video whose id was asked for; null for a job's id.")

    @classmethod
    def of(cls, view: JobView, output: Output | None = None, *, sign: Sign | None = None, **more: Any) -> Self:
        shown = None if output is None else ImageRef.of(output, sign=sign)
        return super().of(view, sign=sign, **download_of(view.prediction), output=shown, **more)

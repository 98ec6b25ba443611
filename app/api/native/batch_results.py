"""The pictures of a batch: a contact sheet, an archive, a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Literal

from flask import Response
from pydantic import ConfigDict, Field
from werkzeug.wsgi import ClosingIterator

from app.api.http import openapi
from app.api.http.openapi import BatchPath, blueprint, responses
from app.api.http.request_model import RequestModel
from app.api.routing import Access
from app.api.security.client_identity import client_id
from app.api.server.context import app_context
from app.core.batches.grid import LARGEST_CELL, SMALLEST_CELL
from app.errors import BatchNotFound, Gone, InvalidRequest, Unavailable
from app.services.batches import table
from app.services.batches.grid import grid
from app.services.urls import url_prefix

api = blueprint("batch_results", "batches")

SHEET_PATIENCE_SECONDS = 10.0
_NOT_STORED = {"Cache-Control": "no-store"}


class GridQuery(RequestModel):
    model_config = ConfigDict(extra="forbid")

    format: Literal["png", "webp"] = "png"
    columns: int | None = Field(
        default=None, ge=0, le=10, description="The number of the axis that runs to the right; absent: the last one."
    )
    cell: int | None = Field(
        default=None,
        ge=SMALLEST_CELL,
        le=LARGEST_CELL,
        description="Width of a picture, in pixels; absent: 256, or less where there are many columns.",
    )


class TableQuery(RequestModel):
    model_config = ConfigDict(extra="forbid")

    format: Literal["csv", "json"] = "json"


@api.get(
    "/api/batches/<batch_id>/grid",
    access=Access.USER,
    budget="read",
    responses=responses(
        {200: openapi.file("The sheet.", "image/png", "image/webp")}, BatchNotFound, Gone, InvalidRequest, Unavailable
    ),
    description="The pictures by place on the axes, with labels: one axis runs to the right, the others down. What is"
    " not drawn yet is a grey cell.",
)
def batch_grid(path: BatchPath, query: GridQuery) -> Response:
    """Get the contact sheet of a batch"""
    with ExitStack() as held:
        held.enter_context(_sheet_slot())
        sheet = grid(app_context(), path.batch_id, query.format, columns=query.columns, cell=query.cell)
        release = held.pop_all().close  # once the sheet is sent, or the client is gone
    pieces = ClosingIterator(_before(release, sheet), [release])
    return Response(pieces, mimetype=f"image/{query.format}", headers=_NOT_STORED)


def _before(end: Callable[[], None], pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield from pieces
    end()


def _sheet_slot() -> AbstractContextManager[None]:
    refusal = "Other contact sheets are being drawn. Try again in a few seconds."
    return app_context().sheet_slots.taking(client_id(), timeout=SHEET_PATIENCE_SECONDS, refusal=refusal)


@api.get(
    "/api/batches/<batch_id>/zip",
    access=Access.USER,
    budget="read",
    responses=responses({200: openapi.file("A ZIP archive.", "application/zip")}, BatchNotFound, Gone),
    description="The files as they are, named by place, and manifest.csv and manifest.json. Sent while they are read.",
)
def batch_zip(path: BatchPath) -> Response:
    """Download the pictures of a batch as an archive"""
    batch = app_context().batches.get(path.batch_id)
    headers = {"Content-Disposition": f'attachment; filename="batch-{batch.id[-8:]}.zip"', **_NOT_STORED}
    pieces = table.archive_of_batch(app_context(), batch, url_prefix())
    return Response(pieces, mimetype="application/zip", headers=headers)


@api.get(
    "/api/batches/<batch_id>/table",
    access=Access.USER,
    budget="read",
    responses=responses(
        {200: openapi.file("A row for each picture.", "text/csv", "application/json")}, BatchNotFound, Gone
    ),
)
def batch_table(path: BatchPath, query: TableQuery) -> Response:
    """Get a batch as a table"""
    context = app_context()
    batch = context.batches.get(path.batch_id)
    if query.format == "json":
        return Response(table.as_json(context, batch, url_prefix()), mimetype="application/json", headers=_NOT_STORED)
    name = {"Content-Disposition": f'attachment; filename="batch-{batch.id[-8:]}.csv"', **_NOT_STORED}
    return Response(table.as_csv(context, batch, url_prefix()), mimetype="text/csv", headers=name)

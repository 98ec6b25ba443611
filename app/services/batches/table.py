"""A batch as a table: a row for each picture, or for a job without one. Read in portions, while it is sent."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from app.core.batches.axes import Axis
from app.core.batches.batch import Batch, Place, coordinates
from app.core.output import Output
from app.services.context import AppContext
from app.services.media.archive import archive_of, file_name

_READ_AT_ONCE = 200
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run
COLUMNS = ("place", "status", "job_id", "model_id", "prompt", "negative_prompt", "seed", "image_id", "file", "sha256")
_LAST = ("url", "error", "settings")


def all_places(context: AppContext, batch: Batch) -> Iterator[Place]:
    """The jobs of a batch with their pictures, in the order of their places. The whole is not one moment."""
    for offset in range(0, batch.jobs, _READ_AT_ONCE):
        yield from context.batches.places(batch.id, offset=offset, limit=_READ_AT_ONCE)


def rows(batch: Batch, place: Place, prefix: str = "") -> Iterator[dict[str, Any]]:
    """One for each picture. `prefix` is that of URLs: what is streamed is written after the request."""
    for output in place.images or [None]:
        yield row(batch.axes, place, output, prefix)


def row(axes: Sequence[Axis], place: Place, output: Output | None, prefix: str) -> dict[str, Any]:
    at = coordinates(place.place, axes)
    values = {f"axis:{axis.field}": axis.values[at[number]] if at else None for number, axis in enumerate(axes)}
    request = place.request
    return {
        "place": place.place,
        **values,
        "status": place.status.value,
        "job_id": place.job_id,
        "model_id": request.model_id,
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "seed": request.seed if output is None else output.seed,
        "image_id": output and output.id,
        "file": output and name_of(place, output),
        "sha256": output and output.sha256,
        "url": output and f"{prefix}/api/image/{output.id}",
        "error": place.error_code,
        "settings": request.settings(),
    }


def name_of(place: Place, output: Output) -> str:
    """The name of a picture's file in an archive: by its place, so that the files are in the order of the axes."""
    return f"{place.place:06}-{file_name(output).removeprefix('cyberimage-')}"


def as_csv(context: AppContext, batch: Batch, prefix: str) -> Iterator[bytes]:
    sink = io.StringIO(newline="")
    names = _names(batch.axes)
    writer = csv.DictWriter(sink, names)
    writer.writeheader()
    for place in all_places(context, batch):
        for each in rows(batch, place, prefix):
            writer.writerow({name: _cell(value) for name, value in each.items()})
        if sink.tell() > 1 << 16:
            yield _taken(sink)
    yield _taken(sink)


def as_json(context: AppContext, batch: Batch, prefix: str) -> Iterator[bytes]:
    """`{"batch_id", "axes", "rows": […]}`."""
    axes = [{"field": axis.field, "values": list(axis.values)} for axis in batch.axes]
    head = json.dumps({"batch_id": batch.id, "name": batch.name, "axes": axes}, ensure_ascii=False)
    yield f'{head[:-1]}, "rows": ['.encode()
    first = True
    for place in all_places(context, batch):
        for each in rows(batch, place, prefix):
            yield f"{'' if first else ','}\n{json.dumps(each, ensure_ascii=False)}".encode()
            first = False
    yield b"\n]}\n"


def _names(axes: Sequence[Axis]) -> list[str]:
    return [COLUMNS[0], *(f"axis:{axis.field}" for axis in axes), *COLUMNS[1:], *_LAST]


def _cell(value: Any) -> Any:
    """As a cell: no text that a spreadsheet takes for a formula."""
    if isinstance(value, dict):
        return json.dumps({name: each for name, each in value.items() if each is not None}, ensure_ascii=False)
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _taken(sink: io.StringIO) -> bytes:
    text = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return text.encode()


def archive_of_batch(context: AppContext, batch: Batch, prefix: str) -> Iterator[bytes]:
    """The pictures of a batch as a ZIP archive, piece by piece, with a table of them as CSV and JSON."""
    named = ((name_of(place, output), output) for place in all_places(context, batch) for output in place.images)
    texts = {
        "manifest.csv": lambda: as_csv(context, batch, prefix),
        "manifest.json": lambda: as_json(context, batch, prefix),
    }
    return archive_of(context, named, texts)

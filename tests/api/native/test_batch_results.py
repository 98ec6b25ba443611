"""Results of a batch: the sheet shows each picture at its place, archive and table hold all of them."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from app.core.batches.axes import Axis
from app.core.batches.grid import layout_of
from app.errors import InvalidRequest
from app.services.media.publish import GenerationResult, Picture, publish

SIZE = {"width": 128, "height": 128}


@pytest.fixture
def drawn(client, context):
    """A batch of 2 × 3 whose pictures are grey, the lighter the later their place; the last one is not drawn."""
    body = {"prompt": "{a|=b}", "axes": [{"field": "settings.guidance_scale", "values": [1, 2, 3]}], "settings": SIZE}
    batch_id = client.post("/api/batches", json=body).json["batch_id"]
    for place in range(5):
        claim = context.claims.claim("w")
        pixels = np.full((128, 128, 3), 40 * (place + 1), np.uint8)
        publish(context, claim, GenerationResult([Picture(pixels, place)], {}, {}, {"generate": 0.1}))
    return batch_id


def levels(sheet: Image.Image) -> list[list[int]]:
    """The grey of each cell of a 2 × 3 sheet with cells of 64, by its middle."""
    left, top = sheet.width - 4 - 3 * 68 + 36, sheet.height - 4 - 2 * 68 + 32
    return [[sheet.getpixel((left + 68 * x, top + 68 * y))[0] for x in range(3)] for y in range(2)]


@pytest.mark.parametrize("format", ["png", "webp"])
def test_each_picture_is_in_its_row_and_column(client, drawn, format):
    answer = client.get(f"/api/batches/{drawn}/grid?cell=64&format={format}")
    assert (answer.status_code, answer.mimetype) == (200, f"image/{format}")
    sheet = Image.open(io.BytesIO(answer.data)).convert("RGB")
    sheet.load()
    found = levels(sheet)
    assert [[round(level / 40) for level in row] for row in found] == [[1, 2, 3], [4, 5, 6]]  # the last: empty, light
    assert abs(found[1][2] - 238) < 6


def test_the_other_axis_may_run_to_the_right(client, drawn):
    answer = client.get(f"/api/batches/{drawn}/grid?cell=64&columns=0")
    sheet = Image.open(io.BytesIO(answer.data))
    left, top = sheet.width - 4 - 2 * 68 + 36, sheet.height - 4 - 3 * 68 + 32
    assert [[round(sheet.getpixel((left + 68 * x, top + 68 * y))[0] / 40) for x in range(2)] for y in range(3)] == [
        [1, 4],
        [2, 5],
        [3, 6],
    ]
    assert client.get(f"/api/batches/{drawn}/grid?columns=2").status_code == 400
    assert client.get(f"/api/batches/{drawn}/grid?cell=8").status_code == 400


def test_a_sheet_of_a_removed_picture_and_of_one_axis(client, context):
    batch_id = client.post("/api/batches", json={"prompt": "a", "seeds": 5, "settings": SIZE}).json["batch_id"]
    claim = context.claims.claim("w")
    outputs = publish(
        context, claim, GenerationResult([Picture(np.zeros((128, 128, 3), np.uint8), 1)], {}, {}, {"generate": 0.1})
    )
    context.images.remove(outputs[0].thumbnail_path)
    sheet = Image.open(io.BytesIO(client.get(f"/api/batches/{batch_id}/grid?cell=64").data))
    assert sheet.width == 4 + 3 * 68
    assert client.delete(f"/api/image/{outputs[0].id}").status_code < 300
    assert client.get(f"/api/batches/{batch_id}/grid").status_code == 200


def test_the_archive_has_all_pictures_by_place_and_a_table(client, drawn):
    answer = client.get(f"/api/batches/{drawn}/zip")
    with zipfile.ZipFile(io.BytesIO(answer.data)) as zipped:
        assert zipped.testzip() is None
        names = zipped.namelist()
        assert [name[:6] for name in names[:5]] == [f"{place:06}" for place in range(5)]
        table = list(csv.DictReader(io.StringIO(zipped.read("manifest.csv").decode(), newline="")))
        whole = json.loads(zipped.read("manifest.json"))
        for each in table[:5]:
            assert hashlib.sha256(zipped.read(each["file"])).hexdigest() == each["sha256"]
    assert [(each["place"], each["axis:prompt"], each["status"]) for each in table][4:] == [
        ("4", "'=b", "COMPLETED"),
        ("5", "'=b", "PENDING"),
    ]
    assert whole["rows"][0]["settings"]["guidance_scale"] == 1.0
    assert (whole["rows"][5]["prompt"], whole["rows"][5]["image_id"]) == ("=b", None)


def test_the_table_by_itself(client, drawn):
    table = client.get(f"/api/batches/{drawn}/table").json
    assert [axis["field"] for axis in table["axes"]] == ["prompt", "settings.guidance_scale"]
    assert len(table["rows"]) == 6
    assert table["rows"][0]["url"] == f"/api/image/{table['rows'][0]['image_id']}"
    lines = client.get(f"/api/batches/{drawn}/table?format=csv").text.splitlines()
    assert (len(lines), lines[0].split(",")[:3]) == (7, ["place", "axis:prompt", "axis:settings.guidance_scale"])
    behind = client.get(f"/api/batches/{drawn}/table", headers={"X-Forwarded-Prefix": "/cyber"})
    assert behind.json["rows"][0]["url"].startswith("/api")  # no proxy is trusted


def axis(field: str, number: int) -> Axis:
    return Axis(field, [str(value) for value in range(number)])


def test_layouts() -> None:
    three = layout_of([axis("a", 2), axis("b", 3), axis("c", 2)], 12)
    assert [list(places) for _, places in three.rows] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11]]
    assert [label for label, _ in three.rows][:4] == ["0, 0", "0, 1", "0, 2", "1, 0"]
    middle = layout_of([axis("a", 2), axis("b", 3), axis("c", 2)], 12, columns=1)
    assert [list(places) for _, places in middle.rows] == [[0, 2, 4], [1, 3, 5], [6, 8, 10], [7, 9, 11]]
    added = layout_of([axis("a", 2), axis("b", 2)], 7)
    assert [(label, list(places)) for label, places in added.rows][2:] == [("added", [4, 5]), ("added", [6])]
    assert layout_of([axis("a", 10_000)], 10_000).cell >= 32
    assert layout_of([], 1).rows == [("", range(1))]
    assert layout_of([axis("a", 2), axis("b", 300)], 600).width <= 20_000
    with pytest.raises(InvalidRequest, match="too many"):
        layout_of([axis("a", 2), axis("b", 2000)], 4000)
    with pytest.raises(InvalidRequest, match="wider"):
        layout_of([axis("a", 2), axis("b", 100)], 200, cell=512)

"""The tools for batches: bounded, counted by pictures, and shown to their owner alone."""

from __future__ import annotations

from typing import Any

import pytest

from app import create_app
from tests.api.conftest import Worker
from tests.api.mcp.messages import call, result
from tests.api.mcp.test_tools import check, small
from tests.api.native.keyed import Keyed
from tests.api.security.walk import code_of

GRID: dict[str, Any] = {
    "prompt": "a {cat|dog}",
    "axes": [{"field": "settings.guidance_scale", "values": [2, 3]}],
    "settings": {"width": 128, "height": 128},
}


def test_a_batch_is_submitted_followed_and_shown_as_a_sheet(client, worker):
    made = check("submit_batch", result(call(client, "submit_batch", **GRID)))
    assert (made["jobs"], made["percent"], made["status"]) == (4, 0, "RUNNING")
    for _ in range(3):
        worker.finish()
    found = result(call(client, "get_batch", batch_id=made["batch_id"]))
    assert (check("get_batch", found)["completed"], small(found)) == (3, [])
    worker.finish()
    found = result(call(client, "get_batch", batch_id=made["batch_id"]))
    body = check("get_batch", found)
    assert [(each["at"], len(each["images"])) for each in body["places"]] == [
        (["a cat", "2"], 1),
        (["a cat", "3"], 1),
        (["a dog", "2"], 1),
        (["a dog", "3"], 1),
    ]
    (sheet,) = small(found)
    assert sheet.width > 2 * 128


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"seeds": 51}, "axes"),
        ({"axes": [{"field": "shape", "values": [1]}]}, "axes.0.field"),
        ({"prompt": "a {cat"}, "prompt"),
        ({"settings": {"widht": 1}}, "widht"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_queued(client, context, more, field):
    answer = call(client, "submit_batch", **{**GRID, **more})
    assert code_of(answer) == "invalid_request"
    assert field in answer.text
    assert context.jobs.count_pending() == 0


def test_all_pictures_count_and_each_client_sees_its_own(settings_in, tmp_path):
    app = create_app(settings_in(tmp_path, auth_mode="keys", rate_limit_generate="5/minute"))
    keyed = Keyed(app)
    made = result(call(keyed.alice, "submit_batch", **GRID))["structuredContent"]["batch_id"]
    assert code_of(call(keyed.alice, "submit_batch", **GRID)) == "rate_limited"
    assert code_of(call(keyed.bob, "get_batch", batch_id=made)) == "batch_not_found"
    assert code_of(call(keyed.nobody, "submit_batch", **GRID)) == "unauthorized"
    assert code_of(call(keyed.bob, "submit_batch", **{**GRID, "prompt": "<script>alert(1)</script>"})) is not None
    Worker(keyed.context).claim()
    app.extensions["cyberimage"].context.close()

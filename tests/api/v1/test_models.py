"""The models of the versioned API."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("path", ["/api/v1/models", "/v1/models"])
def test_the_list_is_ours_and_openais(client, path):
    body, ours = client.get(path).json, client.get("/api/models").json
    assert {name: body[name] for name in ours} == ours
    assert body["object"] == "list"
    assert [model["id"] for model in body["data"]] == [model["id"] for model in ours["models"]]
    assert body["data"][0] | {"created": 0} == {"id": "demo", "object": "model", "created": 0, "owned_by": "local"}

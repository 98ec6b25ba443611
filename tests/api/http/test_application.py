"""Views may return a response body, alone or with a status and headers."""

from __future__ import annotations

import pytest
from flask import Response, jsonify

from app.api.http.application import Application
from app.core.response_body import ResponseBody


class FoxBody(ResponseBody):
    name: str
    friends: list[FoxBody]


FOX = FoxBody(name="föx", friends=[FoxBody(name="vixen", friends=[])])
JSON = {"name": "föx", "friends": [{"name": "vixen", "friends": []}]}


@pytest.mark.parametrize(
    ("returned", "status", "extra"),
    [
        (FOX, 200, None),
        ((FOX, 202), 202, None),
        ((FOX, 202, {"X-Extra": "1"}), 202, "1"),
        ((FOX, {"X-Extra": "1"}), 200, "1"),
        ((JSON, 201), 201, None),
        (JSON, 200, None),
    ],
)
def test_it_becomes_json(returned: object, status: int, extra: str | None) -> None:
    app = Application(__name__, doc_ui=False)
    app.add_url_rule("/", view_func=lambda: returned)
    response = app.test_client().get("/")
    assert (response.status_code, response.headers.get("X-Extra")) == (status, extra)
    assert response.mimetype == "application/json"
    assert response.json == JSON


def test_the_text_is_that_of_the_same_dict() -> None:
    app = Application(__name__, doc_ui=False)
    with app.test_request_context():
        assert app.make_response(FOX).data == jsonify(JSON).data
        assert app.make_response(Response("plain")).data == b"plain"

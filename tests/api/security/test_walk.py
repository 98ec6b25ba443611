"""The guard admits nothing by default: a walk over every route, by every method, spelling and identity."""

from __future__ import annotations

import pytest

from app import create_app
from app.api.routing import Access, RoutePolicy, Routes, collect, policies_of
from app.api.security import authorization
from tests.api.native.keyed import Keyed
from tests.api.security.walk import ADMIN, PUBLIC, Walk, canonical, requests


@pytest.fixture
def keyed(settings_in, tmp_path):
    app = create_app(settings_in(tmp_path, auth_mode="keys"))
    yield Keyed(app)
    app.extensions["cyberimage"].close()


def test_no_method_header_or_spelling_gets_in(keyed):
    walk = Walk(keyed)
    assert list(walk.faults()) == []
    reached = {path for name, path in walk.seen if name == "root"}
    assert reached == {canonical(rule.rule) for rule in keyed.app.url_map.iter_rules()}  # it did walk them all


def test_the_walk_sees_a_route_that_was_opened(keyed, monkeypatch):
    opened = RoutePolicy(Access.PUBLIC, "read")
    monkeypatch.setitem(keyed.app.extensions["cyberimage-routes"], "models.models", opened)
    faults = list(Walk(keyed).faults("models.models"))
    assert any("GET /api/models of nobody: ran models." in fault for fault in faults), faults[:3]


def test_the_walk_sees_an_answer_before_the_guard(keyed):
    keyed.app.before_request_funcs.setdefault(None, []).insert(0, lambda: "planted")
    assert any("'planted' from nowhere" in fault for fault in Walk(keyed).faults())


def test_the_walk_sees_a_view_that_runs_on_options(keyed, monkeypatch):
    monkeypatch.setattr(authorization, "is_automatic", lambda rule: authorization.request.method == "OPTIONS")
    keyed.app.add_url_rule("/planted", "planted", lambda: "", methods=["OPTIONS", "GET"])
    faults = list(Walk(keyed).faults("planted"))
    assert "OPTIONS /planted of nobody: ran planted without a token" in faults


def test_what_declares_itself_public_or_an_administrators_is_as_listed(keyed):
    routes = {
        (method, canonical(rule.rule), policies_of(keyed.app)[rule.endpoint].access)
        for rule in keyed.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"OPTIONS", "HEAD"}
    }
    assert {(method, path) for method, path, access in routes if access is Access.PUBLIC} == PUBLIC
    assert {path for _, path, access in routes if access is Access.ADMIN} == ADMIN
    assert {path for _, path, access in routes if access is Access.METRICS} == {"/metrics"}


def test_the_walk_sees_a_route_added_without_a_policy(keyed):
    """It is treated like one that needs a user."""
    keyed.app.add_url_rule("/planted", "planted", lambda: "")
    assert list(Walk(keyed).faults("planted")) == []
    assert keyed.nobody.get("/planted").status_code == 401


def test_a_route_that_declares_nothing_is_refused_at_start(keyed):
    keyed.app.add_url_rule("/planted/<number>", "planted", lambda number: "")
    with pytest.raises(TypeError, match=r"no access and no rate budget: planted \(/planted/<number>\)"):
        collect(keyed.app)
    with pytest.raises(TypeError, match="access"):
        Routes("planted", __name__).get("/planted")(lambda: "")


def test_the_walk_tries_every_method_and_spelling(keyed):
    tried = {(request.method, request.path) for request in requests(keyed.app)}
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"):
        for path in ("/v1/txt2img", "/api/v1/txt2img", "/v1/txt2img/", "//v1//txt2img", "/%761/txt2img", "/V1/TXT2IMG"):
            assert (method, path) in tried


@pytest.mark.parametrize("auth_mode", ["none", "keys"])
def test_a_preflight_of_another_site_changes_nothing(settings_in, tmp_path, auth_mode):
    app = create_app(settings_in(tmp_path, auth_mode=auth_mode, cors_origins="https://app.example"))
    walk = Walk(Keyed(app))
    asked = {"Access-Control-Request-Method": "POST", "Content-Type": "application/json"}
    for rule in [rule for rule in app.url_map.iter_rules() if not rule.websocket]:
        for origin in ("https://evil.example", "https://app.example"):
            path = rule.rule.replace("<", "").replace(">", "").replace("path:", "")
            answer = app.test_client().options(path, json={"prompt": "x"}, headers={"Origin": origin, **asked})
            assert (answer.status_code, answer.data) == (200, b""), path
            assert ("Access-Control-Allow-Origin" in answer.headers) == (origin == "https://app.example")
    assert walk.ran == []
    app.extensions["cyberimage"].close()

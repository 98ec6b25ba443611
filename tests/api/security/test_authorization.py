"""The door: whatever is not public needs a token, whatever is an administrator's needs one of theirs, and what belongs
to somebody else is not there. The first tests walk all routes there are, also those of tomorrow.
"""

from __future__ import annotations

import logging
import re

import pytest
from flask.testing import FlaskClient
from werkzeug.routing import Rule

from app import create_app
from app.api.routing import Access, policies_of
from app.api.security.authorization import OWNED
from app.api.server import event_streams
from app.config import ROOT
from app.errors import ImageNotFound
from app.services.media.input_images import usable_image
from app.store.ops.api_keys import ApiKeyStore
from app.store.queue.workers import WorkerReport
from tests.api.conftest import Worker
from tests.api.native.keyed import Keyed, ids, submit
from tests.api.security.walk import PUBLIC, code_of

SOMEBODY = "0123456789abcdef" * 2
# Parameters of paths that name nothing with an owner.
HARMLESS = {"slot", "key_id", "filename", "model_id", "owner", "name"}


@pytest.fixture
def keyed(settings_in, tmp_path):
    app = create_app(settings_in(tmp_path, auth_mode="keys"))
    yield Keyed(app)
    app.extensions["cyberimage"].close()


@pytest.fixture
def worker(keyed) -> Worker:
    return Worker(keyed.context)


def rules(app) -> list[Rule]:
    return list(app.url_map.iter_rules())


def ask(client: FlaskClient, rule: Rule, method: str):
    path = re.sub(r"<(?:\w+:)?(\w+)>", SOMEBODY, rule.rule)
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"} if rule.websocket else {}
    return client.open(path, method=method, headers=upgrade)


def asked(app):
    for rule in rules(app):
        for method in sorted((rule.methods or set()) - {"OPTIONS"}) or ["GET"]:
            yield rule, method, policies_of(app)[rule.endpoint].access


def test_every_route_is_public_by_list_or_refuses_who_has_no_token(keyed):
    walked = 0
    for rule, method, access in asked(keyed.app):
        if access is Access.PUBLIC:
            continue
        for client in (keyed.nobody, keyed.client("ci_" + "x" * 43)):
            keyed.app.extensions["cyberimage-access-control"]._login_throttle.clear()
            answer = ask(client, rule, method)
            assert answer.status_code == 401, (method, rule.rule, answer.status_code)
            assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="CyberImage"')
            if method != "HEAD":
                assert code_of(answer) == "unauthorized"
        walked += 1
    assert walked > 25


def test_every_administrators_route_refuses_a_user(keyed):
    found = set()
    for rule, method, access in asked(keyed.app):
        if access is Access.ADMIN:
            answer = ask(keyed.alice, rule, method)
            assert answer.status_code == 403, rule.rule
            assert method == "HEAD" or answer.get_json(force=True)["code"] == "forbidden"
            assert ask(keyed.root, rule, method).status_code != 403
            found.add(rule.rule)
    assert "/cleanup" in found


def test_every_parameter_is_known_to_have_an_owner_or_none(keyed):
    """Whoever adds a route with another one decides here, or in access.OWNED, whose it is."""
    for rule in rules(keyed.app):
        assert rule.arguments <= set(OWNED) | HARMLESS, rule.rule


def test_what_is_not_there_and_what_is_somebody_elses_look_the_same(keyed, worker):
    job_id = submit(keyed.bob, webhook_url="https://8.8.8.8/")
    (image_id,) = worker.finish()
    delivery_id = keyed.bob.get("/api/webhooks/deliveries").json["deliveries"][0]["delivery_id"]
    batch_id = keyed.bob.post("/api/batches", json={"prompt": "x"}).json["batch_id"]
    there = {"job_id": job_id, "image_id": image_id, "delivery_id": delivery_id, "generation_id": job_id}
    there["batch_id"] = batch_id
    seen = set()
    for rule, method, _ in asked(keyed.app):
        for name in rule.arguments & set(OWNED):
            pattern = re.compile(r"<(?:\w+:)?\w+>")
            theirs = keyed.alice.open(pattern.sub(there[name], rule.rule), method=method)
            none = keyed.alice.open(pattern.sub(SOMEBODY, rule.rule), method=method)
            assert theirs.status_code == none.status_code == 404, (method, rule.rule, theirs.status_code)
            if method != "HEAD":
                told, untold = theirs.get_json(force=True), none.get_json(force=True)
                assert {**told, "request_id": ""} == {**untold, "request_id": ""}
            seen.add(name)
    assert seen == set(OWNED)
    assert keyed.bob.get(f"/api/image/{image_id}").status_code == 200  # and nothing of it happened
    assert keyed.bob.get(f"/api/status/{job_id}").json["status"] == "COMPLETED"
    assert keyed.bob.get(f"/api/batches/{batch_id}").json["counts"]["PENDING"] == 1


def test_no_list_of_today_or_tomorrow_tells_of_others(keyed, worker):
    marker = "the walrus and the carpenter"
    finished, failed, cancelled, running, waiting = (
        submit(keyed.alice, marker, webhook_url="https://8.8.8.8/") for _ in range(5)
    )
    images = worker.finish()
    worker.fail()
    keyed.alice.post(f"/api/jobs/{cancelled}/cancel")
    worker.claim()
    keyed.context.workers.heartbeat(WorkerReport("worker-1", "gpu", 1, "cpu", "busy", running, running=1))
    hers = {finished, failed, cancelled, running, waiting, *images, marker}
    walked = set()
    for rule, method, _ in asked(keyed.app):
        if method != "GET" or rule.arguments or rule.websocket:
            continue
        for query in ("", "?status=FAILED", "?status=CANCELLED", "?status=PENDING", "?status=PROCESSING", "?limit=200"):
            answer = keyed.bob.get(rule.rule + query)
            leaked = {secret for secret in hers if secret.encode() in answer.data}
            assert not leaked, (rule.rule + query, leaked)
        walked.add(rule.rule)
    assert {"/api/images", "/api/queue", "/status", "/api/webhooks/deliveries", "/metrics"} <= walked
    assert marker in keyed.alice.get("/api/queue").text
    assert failed in keyed.alice.get("/api/images?status=FAILED").text


def test_ids_with_anything_in_them_are_refused_before_the_database_sees_them(keyed):
    for wrong in ("x", "%00" * 32, "A" * 32, "a" * 5000, "../../etc/passwd"):
        assert keyed.alice.get(f"/api/status/{wrong}").status_code == 404
        assert keyed.alice.get(f"/api/image/{wrong}/metadata").status_code == 404


def test_the_owner_and_an_administrator_can_do_everything(keyed, worker):
    for client in (keyed.alice, keyed.root):
        job_id = submit(keyed.alice)
        assert client.post(f"/api/jobs/{job_id}/cancel").status_code == 200
        assert client.post(f"/api/jobs/{job_id}/retry").status_code == 200
        (image_id,) = worker.finish()
        assert client.get(f"/api/jobs/{job_id}/events").status_code == 200
        for part in ("", "/thumbnail", "/metadata"):
            assert client.get(f"/api/image/{image_id}{part}").status_code == 200
        assert client.put(f"/api/image/{image_id}/favorite").json["favorite"] is True
        assert client.delete(f"/api/image/{image_id}").status_code == 204
        assert client.get(f"/api/image/{image_id}").status_code == 410


def test_what_was_removed_is_gone_to_its_owner_and_never_was_to_others(keyed, worker):
    submit(keyed.alice)
    (image_id,) = worker.finish()
    keyed.alice.delete(f"/api/image/{image_id}")
    statuses = [client.get(f"/api/image/{image_id}").status_code for client in (keyed.alice, keyed.root, keyed.bob)]
    assert statuses == [410, 410, 404]


def test_lists_hold_ones_own(keyed, worker):
    submit(keyed.alice, webhook_url="https://8.8.8.8/")
    submit(keyed.bob, webhook_url="https://8.8.8.8/")
    made = [*worker.finish(), *worker.finish()]
    assert ids(keyed.alice.get("/api/images"), "images", "image_id") == [made[0]]
    assert ids(keyed.bob.get("/api/images"), "images", "image_id") == [made[1]]
    assert set(ids(keyed.root.get("/api/images"), "images", "image_id")) == set(made)
    assert ids(keyed.bob.get("/api/images?search=fox&model=demo"), "images", "image_id") == [made[1]]
    cancelled = submit(keyed.alice, "secret")
    keyed.alice.post(f"/api/jobs/{cancelled}/cancel")
    assert ids(keyed.alice.get("/api/images?status=CANCELLED"), "images", "job_id") == [cancelled]
    assert ids(keyed.bob.get("/api/images?status=CANCELLED"), "images", "job_id") == []
    assert len(keyed.bob.get("/api/webhooks/deliveries").json["deliveries"]) == 1
    assert len(keyed.root.get("/api/webhooks/deliveries").json["deliveries"]) == 2


def test_the_queue_tells_of_others_how_many_and_never_what(keyed, worker):
    hers = [submit(keyed.alice, "alice's secret") for _ in range(3)]
    his = submit(keyed.bob, "bob's own")
    claim = worker.claim()
    assert claim.job_id == hers[0]
    keyed.context.workers.heartbeat(WorkerReport("worker-1", "gpu", 1, "cpu", "busy", claim.job_id, running=1))
    seen = keyed.bob.get("/api/queue")
    assert "secret" not in seen.text
    assert hers[0] not in seen.text
    assert seen.json["counts"]["PENDING"] == 3
    assert seen.json["counts"]["PROCESSING"] == 1
    assert seen.json["running"] == []
    (waiting,) = seen.json["waiting"]
    assert (waiting["job_id"], waiting["prompt"]) == (his, "bob's own")
    assert waiting["position"] == keyed.bob.get(f"/api/status/{his}").json["position"]
    assert hers[0] not in keyed.bob.get("/status").text
    assert keyed.alice.get("/status").json["workers"][0]["job_id"] == hers[0]
    assert keyed.alice.get("/api/queue").json["workers"][0]["job_id"] == hers[0]
    assert len(keyed.root.get("/api/queue").json["waiting"]) == 3
    assert keyed.root.get("/api/queue").json["running"][0]["job_id"] == hers[0]


def test_a_place_far_back_is_right_too(keyed, monkeypatch):
    monkeypatch.setattr("app.services.jobs.eta.FORECAST_JOBS", 2)
    for _ in range(4):
        submit(keyed.alice, priority=0)
    last = submit(keyed.alice, priority=-5)
    places = {job["job_id"]: job["position"] for job in keyed.alice.get("/api/queue").json["waiting"]}
    assert places[last] == 5
    assert sorted(places.values()) == [1, 2, 3, 4, 5]


def test_a_picture_to_start_from_must_be_ones_own(keyed, worker):
    submit(keyed.alice)
    (image_id,) = worker.finish()
    for name in ("alice", "root"):
        assert usable_image(keyed.context, image_id, client_id=keyed.ids[name]).id == image_id
    for client_id in (keyed.ids["bob"], "key:99", "hf:root", "ip:127.0.0.1", "key:x"):
        with pytest.raises(ImageNotFound):
            usable_image(keyed.context, image_id, client_id=client_id)
    body = {"prompt": "x", "image": image_id, "settings": {"strength": 0.5}}
    theirs = keyed.bob.post("/api/generate", json=body)
    none = keyed.bob.post("/api/generate", json=body | {"image": SOMEBODY})
    assert theirs.status_code == none.status_code == 400
    assert theirs.json["detail"].replace(image_id, SOMEBODY) == none.json["detail"]


def test_an_idempotency_key_is_its_clients_own(keyed):
    headers = {"Idempotency-Key": "same"}
    bodies = [
        client.post("/api/generate", json={"prompt": "x"}, headers=headers).json
        for client in (keyed.alice, keyed.bob, keyed.alice)
    ]
    assert bodies[0]["job_id"] == bodies[2]["job_id"] != bodies[1]["job_id"]


def test_jobs_are_kept_under_the_key(keyed):
    job = keyed.context.jobs.get(submit(keyed.alice))
    assert job.client_id == keyed.ids["alice"] == "key:1"


def test_only_an_administrator_jumps_the_line(keyed, problem):
    body = {"prompt": "x", "priority": 1}
    problem(keyed.alice.post("/api/generate", json=body), 403, "forbidden")
    assert keyed.root.post("/api/generate", json=body).status_code == 202
    assert keyed.alice.post("/api/generate", json=body | {"priority": -3}).status_code == 202


def test_a_revoked_key_is_refused_at_once(keyed, problem):
    assert keyed.alice.get("/api/models").status_code == 200
    ApiKeyStore(keyed.context.database).revoke(1)
    answer = keyed.alice.get("/api/models")
    problem(answer, 401, "unauthorized")
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Bearer é", "Bearer a b", "Bearer " + "x" * 600, "Bearer ci_\x7f", "bearer nonsense"],
)
def test_what_is_no_token(keyed, problem, header):
    problem(keyed.nobody.get("/api/models", headers={"Authorization": header}), 401, "unauthorized")


def test_a_proxys_own_password_is_none_of_our_business(keyed, problem):
    answer = keyed.nobody.get("/api/models", headers={"Authorization": "Basic YTpi"})
    problem(answer, 401, "unauthorized")
    assert "error" not in answer.headers["WWW-Authenticate"]


def test_a_revoked_key_ends_its_open_streams_and_no_others(keyed, monkeypatch):
    monkeypatch.setattr(event_streams, "HEARTBEAT_SECONDS", 0.2)
    monkeypatch.setattr(event_streams, "POLL_SECONDS", 0.1)
    job_id = submit(keyed.alice)
    hers, theirs = (client.get(f"/api/jobs/{job_id}/events") for client in (keyed.alice, keyed.root))
    heard, others = (iter(answer.response) for answer in (hers, theirs))
    assert b"retry" in next(heard)
    assert b"event: status" in next(heard)
    assert b"retry" in next(others)
    assert b"event: status" in next(others)
    assert b"still here" in next(heard)
    ApiKeyStore(keyed.context.database).revoke(1)
    told = b"".join(heard)  # ends by itself
    assert b"event: problem" in told
    assert b'"code": "unauthorized"' in told
    assert [next(others) for _ in range(12)][-1] == b": still here\n"
    keyed.context.jobs.cancel(job_id)
    assert b"CANCELLED" in b"".join(others)


# --- token guessing


def test_guessing_is_slowed_down_and_does_not_lock_out_who_is_known(keyed, problem):
    assert keyed.alice.get("/api/models").status_code == 200
    login_throttle = [keyed.client(f"ci_{number}") for number in range(25)]
    statuses = [client.get("/api/models").status_code for client in login_throttle]
    assert statuses == [401] * 20 + [429] * 5
    refused = login_throttle[0].get("/api/models")
    problem(refused, 429, "rate_limited")
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert keyed.alice.get("/api/models").status_code == 200  # known to be good
    assert keyed.bob.get("/api/models").status_code == 429  # not yet: his token may be the next guess
    elsewhere = {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}}
    assert keyed.bob.get("/api/models", **elsewhere).status_code == 200
    answer = keyed.nobody.post("/api/session", json={"token": "ci_again"})
    problem(answer, 429, "rate_limited")


def test_sending_none_is_no_guess(keyed):
    for _ in range(50):
        keyed.nobody.get("/api/models")
    assert keyed.bob.get("/api/models").status_code == 200


def test_guessing_is_logged_and_counted_without_the_token(keyed, caplog):
    token = "ci_this-must-not-be-in-the-log"
    with caplog.at_level(logging.DEBUG):
        keyed.client(token).get("/api/models")
    assert "Refused a token from ip:127.0.0.1" in caplog.text
    assert token not in caplog.text
    metrics = keyed.alice.get("/metrics").text
    assert 'cyberimage_auth_failures_total{reason="invalid"} 1.0' in metrics
    assert 'cyberimage_auth_failures_total{reason="too_many"} 0.0' in metrics


# --- limits of one's own


def test_a_key_may_have_limits_of_its_own(settings_in, tmp_path):
    app = create_app(settings_in(tmp_path, auth_mode="keys", rate_limit_generate="2 per hour"))
    keyed = Keyed(app)
    busy = keyed.person("busy", rate_limit_generate="3 per hour", rate_limit_read="1 per hour")
    free = keyed.person("free", rate_limit_generate="")
    body = {"prompt": "x"}
    for client, most in ((keyed.alice, 2), (keyed.bob, 2), (busy, 3), (free, 9)):
        statuses = [client.post("/api/generate", json=body).status_code for _ in range(most + 1)]
        assert statuses == [202] * most + [429 if most < 9 else 202]
    assert [busy.get("/api/models").status_code for _ in range(2)] == [200, 429]
    assert [keyed.alice.get("/api/models").status_code for _ in range(2)] == [200, 200]
    app.extensions["cyberimage"].close()


# --- metrics


def test_metrics_need_a_token_unless_they_are_public(keyed, settings_in, tmp_path):
    assert keyed.nobody.get("/metrics").status_code == 401
    assert keyed.alice.get("/metrics").status_code == 200
    app = create_app(settings_in(tmp_path / "other", auth_mode="keys", metrics_public=True))
    assert app.test_client().get("/metrics").status_code == 200
    app.extensions["cyberimage"].close()


def test_what_is_public_is_written_down():
    page = (ROOT / "docs" / "SECURITY.md").read_text()
    for _, path in PUBLIC:
        assert f"`{path.partition('/<')[0]}`" in page, path


# --- without authentication


def test_by_default_everybody_may_do_everything(client, context, worker, submit, problem):
    submit()
    (image_id,) = worker.finish()
    assert usable_image(context, image_id, client_id="ip:192.0.2.9").id == image_id
    assert client.get("/api/models", headers={"Authorization": "Bearer whatever"}).status_code == 200
    assert client.post("/cleanup").status_code == 200
    assert client.post("/api/generate", json={"prompt": "x", "priority": 5}).status_code == 202
    assert client.get("/api/session").json == {"mode": "none", "signed_in": True, "name": "everybody", "role": "admin"}
    problem(client.post("/api/session", json={"token": "x"}), 404, "not_found")

"""The dispatcher with a real receiver: deliveries, retries, failures, and fairness between receivers."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from app.core.webhooks import TRIES, DeliveryState
from app.services.webhooks.dispatcher import WebhookDispatcher
from app.services.webhooks.signing import signing_secrets
from tests.services.webhooks.conftest import SECRET, Harness, eventually
from tests.services.webhooks.receiver import Receiver, unused_url

StartDispatcher = Callable[[Harness], WebhookDispatcher]


def settled(harness: Harness, job_id: str) -> DeliveryState:
    eventually(lambda: harness.only(job_id).state is not DeliveryState.PENDING)
    return harness.only(job_id).state


def test_a_message_arrives_signed(both: Harness, receiver: Receiver, start_dispatcher: StartDispatcher) -> None:
    job_id = both.finish(receiver.url("/made?key=1"))
    start_dispatcher(both)
    assert settled(both, job_id) is DeliveryState.DELIVERED
    (call,) = receiver.calls
    message = Webhook(SECRET).verify(call.body, call.headers)
    assert (message["type"], message["data"]["job_id"]) == ("job.completed", job_id)
    assert call.path == "/made?key=1"
    assert call.headers["content-type"] == "application/json"
    assert call.headers["host"] == f"127.0.0.1:{receiver.server_port}"
    assert call.id == both.only(job_id).id
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(call.body + b" ", call.headers)


def test_text_beyond_ascii_keeps_its_signature(
    harness: Harness, receiver: Receiver, start_dispatcher: StartDispatcher
) -> None:
    job_id = harness.submit(receiver.url())
    harness.store.edit(job_id, prompt="ein Schiff 🚢 \u2028 ü")
    harness.store.complete(harness.store.claim())
    start_dispatcher(harness)
    assert settled(harness, job_id) is DeliveryState.DELIVERED
    assert Webhook(SECRET).verify(receiver.calls[0].body, receiver.calls[0].headers)["data"]["prompt"].endswith("ü")


def test_without_a_configured_secret_one_is_made_up_and_stays(
    open_harness: Callable[..., Harness], receiver: Receiver, start_dispatcher: StartDispatcher
) -> None:
    harness = open_harness(webhook_secret="")
    job_id = harness.finish(receiver.url())
    start_dispatcher(harness)
    assert settled(harness, job_id) is DeliveryState.DELIVERED
    secret = signing_secrets(open_harness(webhook_secret="").context)[0]
    assert secret.startswith("whsec_")
    assert Webhook(secret).verify(receiver.calls[0].body, receiver.calls[0].headers)


def test_a_secret_is_changed_without_a_message_that_is_refused(
    open_harness: Callable[..., Harness], receiver: Receiver, start_dispatcher: StartDispatcher
) -> None:
    new = "whsec_" + "REVG" * 10
    harness = open_harness(webhook_secret=f"{new}  {SECRET}")
    job_id = harness.finish(receiver.url())
    start_dispatcher(harness)
    assert settled(harness, job_id) is DeliveryState.DELIVERED
    for known in (new, SECRET):
        assert Webhook(known).verify(receiver.calls[0].body, receiver.calls[0].headers)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "R0hJ" * 10).verify(receiver.calls[0].body, receiver.calls[0].headers)


def test_a_failing_receiver_is_tried_again_with_the_same_message(
    both: Harness, receiver: Receiver, start_dispatcher: StartDispatcher
) -> None:
    receiver.answers["/"] = [500, 404, 429, 200]
    job_id = both.finish(receiver.url())
    start_dispatcher(both)
    assert settled(both, job_id) is DeliveryState.DELIVERED
    assert len(receiver.calls) == 4
    assert len({(call.id, call.body) for call in receiver.calls}) == 1
    for call in receiver.calls:
        Webhook(SECRET).verify(call.body, call.headers)
    assert both.only(job_id).attempt == 4


def test_after_the_last_try_it_is_dead_and_can_be_replayed(
    harness: Harness, receiver: Receiver, start_dispatcher: StartDispatcher
) -> None:
    receiver.answers["/"] = [500]
    job_id = harness.finish(receiver.url())
    start_dispatcher(harness)
    assert settled(harness, job_id) is DeliveryState.DEAD
    assert len(receiver.calls) == TRIES
    delivery = harness.only(job_id)
    assert (delivery.response_status, delivery.error) == (500, "the receiver answered 500")
    receiver.answers["/"] = [200]
    harness.webhooks.replay(delivery.id)
    assert settled(harness, job_id) is DeliveryState.DELIVERED
    assert {call.id for call in receiver.calls} == {delivery.id}


def test_the_number_of_tries_is_a_setting(
    open_harness: Callable[..., Harness], receiver: Receiver, start_dispatcher: StartDispatcher
) -> None:
    harness = open_harness(webhook_max_attempts=2)
    receiver.answers["/"] = [500] * 9
    job_id = harness.finish(receiver.url())
    start_dispatcher(harness)
    assert settled(harness, job_id) is DeliveryState.DEAD
    assert len(receiver.calls) == 2
    harness.webhooks.replay(harness.only(job_id).id)  # with fresh tries
    eventually(lambda: len(receiver.calls) == 4)
    assert settled(harness, job_id) is DeliveryState.DEAD


def test_gone_stops_at_once(harness: Harness, receiver: Receiver, start_dispatcher: StartDispatcher) -> None:
    receiver.answers["/"] = [410]
    job_id = harness.finish(receiver.url())
    start_dispatcher(harness)
    assert settled(harness, job_id) is DeliveryState.DEAD
    assert len(receiver.calls) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(
    harness: Harness, receiver: Receiver, start_dispatcher: StartDispatcher, status: int
) -> None:
    receiver.answers["/"] = [status, 200]
    job_id = harness.finish(receiver.url())
    start_dispatcher(harness)
    assert settled(harness, job_id) is DeliveryState.DELIVERED  # by the second try
    assert receiver.paths() == ["/", "/"]


@pytest.mark.parametrize("path", ["/hang", "/drip"])
def test_a_slow_receiver_is_left_in_time(
    open_harness: Callable[..., Harness], receiver: Receiver, start_dispatcher: StartDispatcher, path: str
) -> None:
    harness = open_harness(webhook_timeout_seconds=0.3)
    job_id = harness.finish(receiver.url(path))
    start_dispatcher(harness)
    eventually(lambda: harness.only(job_id).error)
    assert "Timeout" in (harness.only(job_id).error or "")


def test_an_endless_answer_is_not_read(
    open_harness: Callable[..., Harness], receiver: Receiver, start_dispatcher: StartDispatcher
) -> None:
    harness = open_harness(webhook_timeout_seconds=30)
    job_id = harness.finish(receiver.url("/endless"))
    start_dispatcher(harness)
    assert settled(harness, job_id) is DeliveryState.DELIVERED


def test_a_refused_connection_is_a_failed_attempt(harness: Harness, start_dispatcher: StartDispatcher) -> None:
    job_id = harness.finish(unused_url())
    start_dispatcher(harness)
    eventually(lambda: harness.only(job_id).attempt > 1)
    assert "ConnectError" in (harness.only(job_id).error or "")


def test_private_addresses_are_refused_for_good(
    open_harness: Callable[..., Harness], receiver: Receiver, start_dispatcher: StartDispatcher
) -> None:
    """Including URLs accepted when it was still allowed."""
    harness = open_harness(webhook_allow_private=False)
    jobs = [harness.finish(receiver.url()), harness.finish(f"http://localhost:{receiver.server_port}/")]
    start_dispatcher(harness)
    for job_id in jobs:
        assert settled(harness, job_id) is DeliveryState.DEAD
        assert "private address" in (harness.only(job_id).error or "")
        assert harness.only(job_id).attempt == 1
    assert receiver.calls == []


def test_a_slow_receiver_holds_up_only_its_own_messages(
    harness: Harness, receiver: Receiver, start_dispatcher: StartDispatcher
) -> None:
    for _ in range(8):
        harness.finish(receiver.url("/hang"))
    quick = [harness.finish(receiver.url("/quick")) for _ in range(3)]  # another path of the same origin
    start_dispatcher(harness)
    for job_id in quick:
        assert settled(harness, job_id) is DeliveryState.DELIVERED
    assert receiver.paths().count("/hang") == 1  # one at a time
    receiver.release.set()
    eventually(lambda: all(delivery.state == "DELIVERED" for delivery in harness.deliveries()))


def test_many_unresponsive_receivers_do_not_delay_others(
    open_harness: Callable[..., Harness], receiver: Receiver, start_dispatcher: StartDispatcher
) -> None:
    """With more of them than a small pool has threads, and a timeout longer than the test."""
    harness = open_harness(webhook_timeout_seconds=300)
    hanging = [harness.finish(receiver.url(f"/hang/{number}")) for number in range(60)]
    start_dispatcher(harness)
    assert settled(harness, harness.finish(receiver.url("/quick"))) is DeliveryState.DELIVERED
    assert {harness.only(job_id).state for job_id in hanging} == {DeliveryState.PENDING}


def test_retries_leave_half_of_the_connections_to_first_tries(
    open_harness: Callable[..., Harness], receiver: Receiver, start_dispatcher: StartDispatcher
) -> None:
    harness = open_harness(webhook_timeout_seconds=300, webhook_concurrency=8)
    for number in range(6):
        harness.finish(receiver.url(f"/hang/{number}"))
        claimed = harness.webhooks.claim(lease_seconds=60)
        assert claimed is not None
        harness.webhooks.failed(claimed, "no", retry_in=0)
    start_dispatcher(harness)

    def hanging() -> int:
        return len([path for path in receiver.paths() if path.startswith("/hang")])

    eventually(lambda: hanging() == 4)
    assert (
        settled(harness, harness.finish(receiver.url("/quick").replace("127.0.0.1", "localhost")))
        is DeliveryState.DELIVERED
    )
    assert hanging() == 4


@pytest.mark.parametrize("of", ["one host", "one owner"])
def test_one_client_cannot_take_all_connections(
    open_harness: Callable[..., Harness], receiver: Receiver, start_dispatcher: StartDispatcher, of: str
) -> None:
    """Neither with one unresponsive host nor with many hosts."""
    harness = open_harness(webhook_timeout_seconds=300, webhook_concurrency=8)
    with ExitStack() as stack:
        hosts = [receiver.url("/hang").rsplit("/", 1)[0]] * 20
        if of == "one owner":
            silent = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(20)]
            hosts = [f"http://127.0.0.1:{listener.getsockname()[1]}" for listener in silent]
        for number, host in enumerate(hosts):
            harness.finish(f"{host}/hang/{number}")
        start_dispatcher(harness)
        other = receiver.url("/quick").replace("127.0.0.1", "localhost")
        job_id = harness.submit(other)
        if of == "one owner":
            harness.store.edit(job_id, client_id="bob")
        harness.store.complete(harness.store.claim())
        assert settled(harness, job_id) is DeliveryState.DELIVERED
        receiver.release.set()


def test_a_system_without_a_thread_to_spare_delays_one_message_alone(
    harness: Harness,
    receiver: Receiver,
    start_dispatcher: StartDispatcher,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    start, failed = threading.Thread.start, []

    def short_of_threads(thread: threading.Thread) -> None:
        if thread.name == "webhook" and not failed:
            failed.append(thread)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", short_of_threads)
    late, next_one = harness.finish(receiver.url("/late")), harness.finish(receiver.url("/next"))
    start_dispatcher(harness)
    assert settled(harness, next_one) is DeliveryState.DELIVERED
    assert harness.only(late).state is DeliveryState.PENDING
    assert "can't start new thread" in caplog.text


def test_several_dispatchers_deliver_once(both: Harness, receiver: Receiver, start_dispatcher: StartDispatcher) -> None:
    jobs = {both.finish(receiver.url(f"/{number}")) for number in range(10)}
    for _ in range(3):
        start_dispatcher(both)
    eventually(lambda: all(delivery.state == "DELIVERED" for delivery in both.deliveries()))
    time.sleep(0.1)
    assert len(receiver.calls) == len(jobs) == 10


def test_a_stopped_dispatcher_lets_what_is_under_way_finish(
    harness: Harness, receiver: Receiver, start_dispatcher: StartDispatcher
) -> None:
    job_id = harness.finish(receiver.url("/hang"))
    dispatcher = start_dispatcher(harness)
    eventually(lambda: receiver.calls)
    dispatcher.stop(timeout=0.05)
    receiver.release.set()
    assert settled(harness, job_id) is DeliveryState.DELIVERED
    later = harness.finish(receiver.url("/later"))
    time.sleep(0.1)
    assert harness.only(later).attempt == 0


def test_secrets_in_the_url_do_not_reach_the_log(
    harness: Harness, receiver: Receiver, start_dispatcher: StartDispatcher, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers["/hook?key=s3cret"] = [410]
    with caplog.at_level(logging.INFO, logger="cyberimage"):
        job_id = harness.finish(receiver.url("/hook?key=s3cret"))
        start_dispatcher(harness)
        settled(harness, job_id)
    eventually(lambda: "given up" in caplog.text)
    assert "s3cret" not in caplog.text
    assert "s3cret" not in json.dumps(harness.only(job_id).error)

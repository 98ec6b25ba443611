"""The courier: takes messages out of the outbox and brings each to its receiver, on a thread of its own.

Neither workers nor requests ever wait for it. Any number of processes may run one: a delivery is claimed by a lease.
An endpoint (a URL without its query) gets one message at a time from this process. At most WEBHOOK_CONCURRENCY requests
are open; retries take no more than half of these, and only when no first try is due; one host no more than half, and
one owner of jobs no more than seven eighths. So receivers which do not answer are waited for beside the others and not
before them, whoever names them and however many.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter
from dataclasses import dataclass

import httpx

from app.core.webhooks import Delivery, retry_delay
from app.errors import DatabaseUnavailable
from app.providers.ssrf_guard import AddressRefused, guarded_client
from app.services.context import AppContext
from app.services.webhooks.signing import signed_headers, signing_secret
from app.store.ops.webhooks import SkippedReceivers, WebhookStore

POLL_SECONDS = 1.0
LEASE_EXTRA_SECONDS = 60.0  # past the timeout, for the resolver and a database that is slow to answer
TIDY_EVERY_SECONDS = 3600.0
ANSWER_MAX_BYTES = 65_536  # read so that the receiver can finish its answer; never kept

log = logging.getLogger("cyberimage.webhooks")


@dataclass(frozen=True)
class Outcome:
    """`status` is the receiver's answer, if there was one; `error` is None when it took the message.

    `final` means that trying again is no use, `timed_out` that the receiver held the connection without an answer.
    """

    status: int | None = None
    error: str | None = None
    final: bool = False
    timed_out: bool = False


class WebhookDispatcher:
    def __init__(self, context: AppContext) -> None:
        settings = context.settings
        self._context = context
        self._store = WebhookStore(context.database)
        self._timeout = settings.webhook_timeout_seconds
        self._most = settings.webhook_concurrency
        self._client = guarded_client(
            allow_private=settings.webhook_allow_private, total_seconds=self._timeout, connections=self._most
        )
        self._changed = threading.Condition()  # guards what follows; notified when a delivery has ended
        self._under_way: dict[str, tuple[Delivery, threading.Thread]] = {}  # by endpoint
        self._ended = self._ended_before = 0  # deliveries, in all and when work was last looked for
        self._stopping = False
        self._tidy_at = time.monotonic()
        self._dispatcher = threading.Thread(target=self._dispatch, name="webhooks", daemon=True)

    def start(self) -> None:
        self._dispatcher.start()

    def stop(self, timeout: float = 0.0) -> None:
        """Take no more messages, and give those under way `timeout` seconds. What is cut short is sent again later."""
        give_up_at = time.monotonic() + timeout
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            threads = [self._dispatcher, *(thread for _, thread in self._under_way.values())]
        for thread in threads:
            thread.join(max(0.0, give_up_at - time.monotonic()))

    def _dispatch(self) -> None:
        while not self._stopping:
            delivery = self._claim()
            if delivery is not None:
                self._begin(delivery)
                continue
            with self._changed:  # whatever ended since it was looked may have freed an endpoint that has more to send
                self._changed.wait_for(lambda: self._stopping or self._ended != self._ended_before, POLL_SECONDS)

    def _claim(self) -> Delivery | None:
        """The next message to bring, once there is room for it; None when nothing is due."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or len(self._under_way) < self._most)
            retries = sum(delivery.is_retry for delivery, _ in self._under_way.values()) < self._most // 2
            passed_over = self._passed_over()
            self._ended_before = self._ended
        if self._stopping:
            return None
        try:
            if time.monotonic() >= self._tidy_at:
                self._tidy_at = time.monotonic() + TIDY_EVERY_SECONDS
                self._store.tidy()
            return self._store.claim(
                lease_seconds=self._timeout + LEASE_EXTRA_SECONDS, passed_over=passed_over, retries=retries
            )
        except DatabaseUnavailable as error:
            log.warning("Cannot look for webhooks to deliver: %s", error.detail)
            return None

    def _passed_over(self) -> SkippedReceivers:
        """Who has as many requests open as one may have."""
        under_way = [delivery for delivery, _ in self._under_way.values()]
        receivers = Counter(delivery.receiver for delivery in under_way)
        owners = Counter(delivery.owner for delivery in under_way)
        return SkippedReceivers(
            endpoints=list(self._under_way),
            receivers=[name for name, number in receivers.items() if number >= max(1, self._most // 2)],
            owners=[name for name, number in owners.items() if number >= max(1, self._most * 7 // 8)],
        )

    def _begin(self, delivery: Delivery) -> None:
        thread = threading.Thread(target=self._run, args=[delivery], name="webhook", daemon=True)
        with self._changed:
            self._under_way[delivery.endpoint] = delivery, thread
        try:
            thread.start()
        except RuntimeError as error:  # the system has no thread left: the lease runs out, and it is delivered then
            log.error("A webhook has to wait: %s", error, extra=_context(delivery))
            self._end(delivery)

    def _run(self, delivery: Delivery) -> None:
        try:
            self.deliver(delivery)
        except DatabaseUnavailable as error:  # the lease runs out, and it is delivered again
            log.error("What came of a delivery could not be written: %s", error.detail, extra=_context(delivery))
        finally:
            self._end(delivery)

    def _end(self, delivery: Delivery) -> None:
        with self._changed:
            del self._under_way[delivery.endpoint]
            self._ended += 1
            self._changed.notify_all()

    def deliver(self, delivery: Delivery) -> None:
        """Send the message and write down what came of it. Raises DatabaseUnavailable."""
        outcome = self._send(delivery)
        if outcome.error is None:
            self._store.delivered(delivery, outcome.status or 0)
            log.info("Delivered %s, try %s", delivery.event, delivery.attempt, extra=_context(delivery))
            return
        retry_in = None if outcome.final else retry_delay(delivery.tries_left)
        self._store.failed(
            delivery,
            outcome.error,
            response_status=outcome.status,
            retry_in=retry_in,
            timed_out=outcome.timed_out,
        )
        log.warning(
            "%s was not delivered to %s: %s; %s",
            delivery.event,
            delivery.receiver,
            outcome.error,
            "given up" if retry_in is None else f"trying again in {retry_in:.0f} s",
            extra=_context(delivery),
        )

    def _send(self, delivery: Delivery) -> Outcome:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "CyberImage-Webhooks/1",
            **signed_headers(signing_secret(self._context), delivery),
        }
        began = time.monotonic()
        try:
            with self._client.stream(
                "POST", delivery.url, content=delivery.payload.encode(), headers=headers
            ) as response:
                _read_some(response)
                return _judge(response.status_code)
        except AddressRefused as error:
            return Outcome(error=str(error), final=True)
        except httpx.InvalidURL as error:
            return Outcome(error=f"not a URL: {error}", final=True)
        except httpx.TransportError as error:
            slow = time.monotonic() - began > self._timeout / 2  # a resolver that hangs says ConnectError in the end
            timed_out = slow or isinstance(error, httpx.TimeoutException)
            return Outcome(error=f"{type(error).__name__}: {error}", timed_out=timed_out)


def _judge(status: int) -> Outcome:
    if 200 <= status < 300:
        return Outcome(status)
    if status == httpx.codes.GONE:
        return Outcome(status, "the receiver answered 410: it wants no more of this", final=True)
    if 300 <= status < 400:
        return Outcome(status, f"the receiver answered {status}; redirects are not followed")
    return Outcome(status, f"the receiver answered {status}")


def _read_some(response: httpx.Response) -> None:
    """Read a short answer to its end. The status has come already: however the rest goes, it counts."""
    seen = 0
    with contextlib.suppress(httpx.TransportError):
        for chunk in response.iter_raw():
            seen += len(chunk)
            if seen > ANSWER_MAX_BYTES:
                return


def _context(delivery: Delivery) -> dict[str, str]:
    return {"job_id": delivery.job_id}

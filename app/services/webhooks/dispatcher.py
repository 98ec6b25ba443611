"""Webhook dispatcher: a background thread that claims messages from the outbox and delivers them.

Workers and requests never wait for it. Any number of processes may run one: a delivery is claimed by a lease. An
endpoint (a URL without its query) gets one message at a time from this process. At most WEBHOOK_CONCURRENCY requests
are open; retries take no more than half of these, and only when no first attempt is due; one host no more than half,
and one owner of jobs no more than seven eighths. So unresponsive receivers delay only their own messages, however many
there are and whichever clients name them.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from app.core.trace_context import HEADER, parse
from app.core.webhooks import TRIES, Delivery, retry_delay
from app.errors import DatabaseUnavailable
from app.monitoring.fault_log import database_faults
from app.monitoring.tracing import Span
from app.process.threads import BackgroundThread
from app.providers.ssrf_guard import AddressRefused, guarded_client
from app.services.context import AppContext
from app.services.webhooks.signing import signed_headers, signing_secrets
from app.store.ops.webhooks import SkippedReceivers

POLL_SECONDS = 1.0
LEASE_EXTRA_SECONDS = 60.0  # beyond the timeout, for the resolver and a slow database
CLEAN_UP_EVERY_SECONDS = 3600.0
ANSWER_MAX_BYTES = 65_536  # read so that the receiver can finish its response; never stored

log = logging.getLogger("cyberimage.webhooks")


@dataclass(frozen=True)
class Outcome:
    """`status` is the receiver's response, if any; `error` is None if it accepted the message.

    `final`: retrying is useless. `timed_out`: the receiver held the connection without a response.
    """

    status: int | None = None
    error: str | None = None
    final: bool = False
    timed_out: bool = False


class WebhookDispatcher:
    def __init__(self, context: AppContext) -> None:
        settings = context.settings
        self._context = context
        self._store = context.webhooks
        self._timeout = settings.webhook_timeout_seconds
        self._most = settings.webhook_concurrency
        self._client = guarded_client(
            allow_private=settings.webhook_allow_private, total_seconds=self._timeout, connections=self._most
        )
        self._changed = threading.Condition()  # guards the following; notified when a delivery ends
        self._under_way: dict[str, tuple[Delivery, threading.Thread]] = {}  # by endpoint
        self._ended = self._ended_before = 0  # ended deliveries, in total and at the last claim
        self._stopping = False
        self._clean_up_at = time.monotonic()
        self._dispatcher = BackgroundThread("webhooks", self._dispatch)

    def start(self) -> None:
        self._dispatcher.start()

    def stop(self, timeout: float = 0.0) -> None:
        """Claim no more messages, and wait `timeout` seconds for open ones. Interrupted ones are sent again later."""
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
            with self._changed:  # a delivery that ended meanwhile may have freed an endpoint with more messages
                self._changed.wait_for(lambda: self._stopping or self._ended != self._ended_before, POLL_SECONDS)

    def _claim(self) -> Delivery | None:
        """Wait for a free slot, then claim the next message; None if nothing is due."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or len(self._under_way) < self._most)
            retries = sum(delivery.is_retry for delivery, _ in self._under_way.values()) < self._most // 2
            skipped = self._at_limit()
            self._ended_before = self._ended
        if self._stopping:
            return None
        try:
            if time.monotonic() >= self._clean_up_at:
                self._clean_up_at = time.monotonic() + CLEAN_UP_EVERY_SECONDS
                self._store.clean_up()
            return self._store.claim(
                lease_seconds=self._timeout + LEASE_EXTRA_SECONDS, skipped=skipped, retries=retries
            )
        except DatabaseUnavailable as error:
            database_faults.add(log, logging.WARNING, "Could not read the webhook outbox: %s", error.detail)
            return None

    def _at_limit(self) -> SkippedReceivers:
        """Endpoints, hosts and owners that already have the most requests open that one may have."""
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
        except RuntimeError as error:  # no thread available: delivered when the lease expires
            log.error("Could not start a thread for a webhook; it is sent later: %s", error, extra=_context(delivery))
            self._end(delivery)

    def _run(self, delivery: Delivery) -> None:
        try:
            self.deliver(delivery)
        except DatabaseUnavailable as error:  # the lease expires, and it is delivered again
            log.error("Could not store the result of a webhook delivery: %s", error.detail, extra=_context(delivery))
        finally:
            self._end(delivery)

    def _end(self, delivery: Delivery) -> None:
        with self._changed:
            del self._under_way[delivery.endpoint]
            self._ended += 1
            self._changed.notify_all()

    def deliver(self, delivery: Delivery) -> None:
        """Send the message and store the result. Raises DatabaseUnavailable."""
        outcome = self._send(delivery)
        if outcome.error is None:
            self._store.delivered(delivery, outcome.status or 0)
            log.info("Delivered %s, attempt %s", delivery.event, delivery.attempt, extra=_context(delivery))
            return
        used_up = TRIES - delivery.tries_left >= self._context.settings.webhook_max_attempts
        retry_in = None if outcome.final or used_up else retry_delay(delivery.tries_left, random.random())
        self._store.failed(
            delivery,
            outcome.error,
            response_status=outcome.status,
            retry_in=retry_in,
            timed_out=outcome.timed_out,
        )
        log.warning(
            "%s could not be delivered to %s: %s; %s",
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
            **signed_headers(signing_secrets(self._context), delivery),
        }
        span = Span("webhook", parse(delivery.traceparent), kind="client", attributes={"http.request.method": "POST"})
        if span.context is not None:
            headers[HEADER] = span.context.header
        outcome = self._post(delivery, headers)
        span.end(error=outcome.error, attributes={"http.response.status_code": outcome.status})
        return outcome

    def _post(self, delivery: Delivery, headers: Mapping[str, str]) -> Outcome:
        began = time.monotonic()
        try:
            with self._client.stream(
                "POST", delivery.url, content=delivery.payload.encode(), headers=headers
            ) as response:
                _read_some(response)
                return _outcome_of(response.status_code)
        except AddressRefused as error:
            return Outcome(error=str(error), final=True)
        except httpx.InvalidURL as error:
            return Outcome(error=f"not a URL: {error}", final=True)
        except httpx.TransportError as error:
            slow = time.monotonic() - began > self._timeout / 2  # a hanging resolver ends in ConnectError
            timed_out = slow or isinstance(error, httpx.TimeoutException)
            return Outcome(error=f"{type(error).__name__}: {error}", timed_out=timed_out)


def _outcome_of(status: int) -> Outcome:
    if 200 <= status < 300:
        return Outcome(status)
    if status == httpx.codes.GONE:
        return Outcome(status, "the receiver answered 410: it wants no more messages", final=True)
    if 300 <= status < 400:
        return Outcome(status, f"the receiver answered {status}; redirects are not followed")
    return Outcome(status, f"the receiver answered {status}")


def _read_some(response: httpx.Response) -> None:
    """Read a short response to its end. The status counts, even if reading the body fails."""
    seen = 0
    with contextlib.suppress(httpx.TransportError):
        for chunk in response.iter_raw():
            seen += len(chunk)
            if seen > ANSWER_MAX_BYTES:
                return


def _context(delivery: Delivery) -> dict[str, str]:
    found, trace = {"job_id": delivery.job_id}, parse(delivery.traceparent)
    return found if trace is None else found | {"trace_id": trace.trace_id}

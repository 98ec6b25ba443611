"""The courier: threads that take messages out of the outbox and bring them to their receivers.

Neither workers nor requests ever wait for it. Any number of processes may run one: a delivery is claimed by a lease.
Each thread brings one message at a time, and a receiver gets one at a time from this process, so that a slow one holds
up its own messages and nobody else's.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from dataclasses import dataclass

import httpx

from app.core.webhooks import Delivery, retry_delay
from app.errors import DatabaseUnavailable
from app.services.guarded_http import AddressRefused, guarded_client
from app.services.installation import Installation
from app.services.webhooks import signed_headers, signing_secret
from app.store.webhooks import WebhookStore

THREADS = 4
POLL_SECONDS = 1.0
LEASE_EXTRA_SECONDS = 60.0  # past the timeout, for the resolver and a database that is slow to answer
TIDY_EVERY_SECONDS = 3600.0
ANSWER_MAX_BYTES = 65_536  # read so that the receiver can finish its answer; never kept

log = logging.getLogger("cyberimage.webhooks")


@dataclass(frozen=True)
class Outcome:
    """`status` is the receiver's answer, if there was one; `error` is None when it took the message.

    `final` means that trying again is no use.
    """

    status: int | None = None
    error: str | None = None
    final: bool = False


class Courier:
    def __init__(self, installation: Installation) -> None:
        settings = installation.settings
        self._installation = installation
        self._store = WebhookStore(installation.database)
        self._lease = settings.webhook_timeout_seconds + LEASE_EXTRA_SECONDS
        self._client = guarded_client(
            allow_private=settings.webhook_allow_private, total_seconds=settings.webhook_timeout_seconds
        )
        self._seat = threading.Lock()  # whoever holds it looks for work; the others deliver, or wait for the seat
        self._marking = threading.Lock()
        self._look_again = threading.Event()
        self._stopping = threading.Event()
        self._busy: frozenset[str] = frozenset()
        self._tidy_at = time.monotonic()
        self._threads = [
            threading.Thread(target=self._run, name=f"courier {number}", daemon=True)
            for number in range(1, THREADS + 1)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float = 0.0) -> None:
        """Take no more messages, and give those under way `timeout` seconds. What is cut short is sent again later."""
        self._stopping.set()
        self._look_again.set()
        give_up_at = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, give_up_at - time.monotonic()))

    def _run(self) -> None:
        while (delivery := self._next()) is not None:
            try:
                self.deliver(delivery)
            except DatabaseUnavailable as error:  # the lease runs out, and it is delivered again
                log.error("What came of a delivery could not be written: %s", error.detail, extra=_context(delivery))
            finally:
                self._mark(delivery.receiver, busy=False)

    def _next(self) -> Delivery | None:
        """The next message to bring; waits until there is one. None when the courier stops."""
        with self._seat:
            while not self._stopping.is_set():
                self._look_again.clear()
                delivery = self._claim()
                if delivery is not None:
                    self._mark(delivery.receiver, busy=True)
                    return delivery
                self._look_again.wait(POLL_SECONDS)
        return None

    def _claim(self) -> Delivery | None:
        try:
            if time.monotonic() >= self._tidy_at:
                self._tidy_at = time.monotonic() + TIDY_EVERY_SECONDS
                self._store.tidy()
            return self._store.claim(lease_seconds=self._lease, not_to=self._busy)
        except DatabaseUnavailable as error:
            log.warning("Cannot look for webhooks to deliver: %s", error.detail)
            return None

    def _mark(self, receiver: str, *, busy: bool) -> None:
        with self._marking:
            self._busy = self._busy | {receiver} if busy else self._busy - {receiver}
        self._look_again.set()

    def deliver(self, delivery: Delivery) -> None:
        """Send the message and write down what came of it. Raises DatabaseUnavailable."""
        outcome = self._send(delivery)
        if outcome.error is None:
            self._store.delivered(delivery, outcome.status or 0)
            log.info("Delivered %s, try %s", delivery.event, delivery.attempt, extra=_context(delivery))
            return
        retry_in = None if outcome.final else retry_delay(delivery.tries_left)
        self._store.failed(delivery, outcome.error, response_status=outcome.status, retry_in=retry_in)
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
            **signed_headers(signing_secret(self._installation), delivery),
        }
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
            return Outcome(error=f"{type(error).__name__}: {error}")


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

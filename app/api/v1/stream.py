"""Pictures over a WebSocket: the request goes in, progress with previews comes out, then the picture.

The first message is the request, or `{"job_id"}` to go on with a job of an earlier connection. The connection is no
part of the job: a client that goes away cancels nothing, one that reads slowly gets fewer messages and delays no other.
"""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from flask import Blueprint, Response, g, request
from flask_sock import Sock
from pydantic import ValidationError
from simple_websocket import Server as Connection
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import RemoteProtocolError

from app.api.http.openapi import JobPath
from app.api.http.problems import document, problem, refuse
from app.api.routing import Access, RoutePolicy, declare
from app.api.security.authorization import revocation_check
from app.api.security.client_identity import identity
from app.api.server.client_disconnect import SOCKETS
from app.api.server.context import ApiContext, api_context
from app.api.server.socket_handover import disable_timeouts
from app.api.server.websocket_socket import WebSocketTransport
from app.api.v1.asking import ask
from app.api.v1.bodies import Flat, Img2ImgBody, Txt2ImgBody
from app.api.v1.waiting import pictures_of, raise_what_went_wrong
from app.config import Settings
from app.core.job import JobStatus, JobView
from app.core.json_values import read_json
from app.errors import CyberImageError, InvalidRequest, JobNotFound, Unavailable, UpgradeRequired
from app.services.job_body import ProgressBody
from app.store.queue.previews import Preview

pages = Blueprint("v1_stream", __name__)
sock = Sock()
VERSION = "13"  # of the protocol: RFC 6455
PING_SECONDS = 20
MESSAGE_BYTES = 65_536  # without a picture

TOO_MANY = "Too many streams are open. Send the request to /api/generate and poll instead."
FIRST_MESSAGE_SECONDS = 15.0
HANG_UP_SECONDS = 5.0
HURRIED_SECONDS = 0.5  # where threads are short already
MIN_BYTES_PER_SECOND = 20_000  # of a first message with pictures, as of a request's body
ROOM_CHECK_SECONDS = 0.1  # how soon a large first message goes on
CHECK_SECONDS = 1.0  # how soon it is noticed that the client has gone, or that the server stops


@pages.before_request
def check_handshake() -> None:
    """Raises UpgradeRequired for a handshake of another version of the protocol."""
    version = request.headers.get("Sec-WebSocket-Version", "")
    if version.strip() != VERSION:
        raise UpgradeRequired(f"Sec-WebSocket-Version is {version[:20]!r}; this server speaks version {VERSION}.")


@pages.errorhandler(RemoteProtocolError)
def refuse_handshake(error: RemoteProtocolError) -> Response:
    return problem(InvalidRequest(f"This is no handshake of a WebSocket: {error}."))


@pages.before_request
def take_slot() -> None:
    """Before the handshake: a WebSocket holds a thread. Some of those for which there is no room get a message, since
    browsers do not show the response to a handshake; all others are refused without one."""
    here = api_context()
    for slots in (here.waiting_slots, here.refusal_slots):
        if slots.acquire(blocking=False):
            g.stream_slots = slots
            return
    raise Unavailable(TOO_MANY, retry_after=5)


@pages.before_request
def prepare_socket() -> None:
    """Before the handshake too: all that is received counts, and compression is not agreed on, with which a few bytes
    unpack to many."""
    request.environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
    for name in request.environ.keys() & SOCKETS:
        request.environ[name] = WebSocketTransport(request.environ[name])


@pages.teardown_request
def free_slot(_: BaseException | None) -> None:
    if (slots := g.pop("stream_slots", None)) is not None:
        slots.release()


def options(settings: Settings) -> dict[str, int]:
    """Those of simple_websocket, for all routes: the larger bound, before a view sets its own."""
    return {"ping_interval": PING_SECONDS, "max_message_size": _picture_bytes(settings)}


def _picture_bytes(settings: Settings) -> int:
    """The longest message with pictures: as long as a body of `POST generate/img2img`."""
    return settings.max_body_bytes + settings.input_body_bytes


@sock.route("/api/v1/stream/generate/txt2img", pages)
@declare(RoutePolicy(Access.USER, budget="generate", facade="v1"))
def stream(connection: Connection) -> None:
    """Serve one WebSocket of pictures from words."""
    connection.max_message_size = MESSAGE_BYTES
    _serve(connection, Txt2ImgBody, picture_bytes=0)


@sock.route("/api/v1/stream/generate/img2img", pages)
@declare(RoutePolicy(Access.USER, budget="generate", facade="v1"))
def stream_img2img(connection: Connection) -> None:
    """Serve one WebSocket of pictures from pictures."""
    _serve(connection, Img2ImgBody, picture_bytes=_picture_bytes(api_context().context.settings))


def _serve(connection: Connection, kind: type[Flat], picture_bytes: int) -> None:
    here = api_context()
    disable_timeouts.get()()  # only now: the client was let in, and has been answered 101
    connection.sock.expect_pictures(picture_bytes)
    if g.stream_slots is here.refusal_slots:
        _close_with(connection, Unavailable(TOO_MANY), CloseReason.TRY_AGAIN_LATER)
        return _hang_up(connection, HURRIED_SECONDS)
    try:
        _converse(here, connection, _accept(here, connection, kind))
    except CyberImageError as error:
        _close_with(connection, error, _close_reason(here, error))
    except OSError:  # it reads nothing any more
        connection.connected = False
    finally:
        _hang_up(connection, HANG_UP_SECONDS)


def _hang_up(connection: Connection, patience: float) -> None:
    """Let the client take in the last message and answer the close; then end the connection and the thread that reads
    it, which would else live until its next ping, and hold up the end of this process."""
    connection.sock.discard_rest()
    connection.thread.join(patience)
    connection.sock.close()


def _accept(here: ApiContext, connection: Connection, kind: type[Flat]) -> str:
    """The id of the job that the first message asks for. A large message is read into memory once it is complete and
    there is room for it, as a large body is, and holds the room until its picture is stored with the job. Raises
    CyberImageError."""
    with ExitStack() as room:

        def take_room() -> None:
            room.enter_context(here.large_bodies.taking(connection.sock.received))

        return _job_of(here, _first_message(here, connection, take_room), kind)


def _converse(here: ApiContext, connection: Connection, job_id: str) -> None:
    """Send progress, then the result. Raises CyberImageError, to be sent as an error."""
    shown: Preview | None = None
    objection = revocation_check()
    for view in here.notifier.follow(job_id, idle_seconds=CHECK_SECONDS):
        if not connection.connected:
            return
        if (error := objection()) is not None:
            raise error
        if view is not None and view.job.status.terminal:
            raise_what_went_wrong(view)
            _send(connection, {"type": "result", **pictures_of(here.context, view).as_dict()})
            connection.close(CloseReason.NORMAL_CLOSURE)
        elif view is not None:
            preview = _newer_preview(here, view, shown)
            _send(connection, _progress(view, preview))
            shown = preview or shown
        _discard_messages(connection)
        if here.draining.is_set():
            again = f'The server stops; the job goes on. Connect again and send {{"job_id": "{job_id}"}}.'
            raise Unavailable(again)


def _first_message(here: ApiContext, connection: Connection, take_room: Callable[[], None]) -> dict[str, Any]:
    transport: WebSocketTransport = connection.sock
    started, text = time.monotonic(), None
    # In short waits: it notices late that the client has gone, and a large message waits for its room meanwhile.
    while text is None and time.monotonic() < started + _seconds_for(transport):
        if here.draining.is_set():
            raise Unavailable("The server stops. Connect again in a moment, and send the request then.")
        text = connection.receive(timeout=ROOM_CHECK_SECONDS)
        if transport.wants_room.is_set():
            transport.wants_room.clear()
            take_room()
            transport.grant_room()
            started = time.monotonic()
    if text is None:
        raise InvalidRequest(
            f"No request came within {_seconds_for(transport):.3g} seconds. Send it as the first message."
        )
    message = read_json(text)
    if not isinstance(message, dict):
        raise InvalidRequest("The first message must be a JSON object: the request, or a job_id.")
    return message


def _seconds_for(transport: WebSocketTransport) -> float:
    """How long the first message may take in all, as much of it as has come."""
    return FIRST_MESSAGE_SECONDS + transport.received / MIN_BYTES_PER_SECOND


def _job_of(here: ApiContext, message: dict[str, Any], kind: type[Flat]) -> str:
    """The job that the first message asks for, or goes on with."""
    try:
        if set(message) == {"job_id"}:
            return _checked_owner(here, JobPath.model_validate(message).job_id)
        body = kind.model_validate(message)
    except ValidationError as error:
        refuse(error)
    own, general = identity().rate_limit_generate, here.context.settings.rate_limit_generate
    if body.num_images > 1 and (general if own is None else own):  # the connection was charged for one
        raise InvalidRequest("num_images: where generations are limited, a stream makes one picture at a time.")
    return ask(here.context, body).job_id


def _checked_owner(here: ApiContext, job_id: str) -> str:
    """The authorization checks paths; this job is named in a message."""
    if not identity().may_touch(here.context.owners.of_job(job_id)):
        raise JobNotFound("There is no job with this id.")
    return job_id


def _progress(view: JobView, preview: Preview | None) -> dict[str, Any]:
    job = view.job
    about = {"job_id": job.id, "status": job.status, "position": view.position, "eta_seconds": view.eta_seconds}
    message = {"type": "progress", **about, **ProgressBody.of(job.progress).as_dict()}
    if preview is not None:
        message["preview"] = "data:image/webp;base64," + base64.b64encode(preview.webp).decode()
    return message


def _newer_preview(here: ApiContext, view: JobView, shown: Preview | None) -> Preview | None:
    """What the job looks like by now, when that is news."""
    if view.job.status is not JobStatus.PROCESSING or not view.job.progress.step:
        return None
    known = (shown.attempt, shown.step) if shown is not None else (0, 0)
    return here.context.previews.get(view.job.id, newer_than=known)


def _send(connection: Connection, message: dict[str, Any]) -> None:
    connection.send(json.dumps(message, ensure_ascii=False))


def _close_reason(here: ApiContext, error: CyberImageError) -> CloseReason:
    if isinstance(error, InvalidRequest):
        return CloseReason.POLICY_VIOLATION
    is_stopping = isinstance(error, Unavailable) and here.draining.is_set()
    return CloseReason.SERVICE_RESTART if is_stopping else CloseReason.NORMAL_CLOSURE


def _close_with(connection: Connection, error: CyberImageError, reason: CloseReason) -> None:
    problem = document(error).as_dict()
    about = {name: problem[name] for name in ("code", "status", "errors", "request_id")}
    with contextlib.suppress(OSError):  # it reads nothing any more
        _send(connection, {"type": "error", "message": error.detail, **about})
        connection.close(reason, error.code)


def _discard_messages(connection: Connection) -> None:
    """There is nothing more to say; but what is not read would stay in memory."""
    while connection.receive(timeout=0) is not None:
        pass

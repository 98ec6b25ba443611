"""How request bodies are read: strict JSON, with an error that says what is wrong with it.

Routes that take pictures also read forms (multipart/form-data): a file becomes the base64 that JSON would hold, and
everything behind this point sees the same body. They alone may be sent more than MAX_BODY_BYTES.

Large bodies are received to a file, and taken into memory only so many at a time: a client may be slow to send one, and
must not hold memory meanwhile; a body that is here costs four times its size while it is read. What a request holds is
released when it has been answered, or earlier, when it waits for its job.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Iterator
from typing import IO, Any

from flask import Flask, Request, current_app, g, request

from app.api.http import line_bodies
from app.api.routing import current_policy, policy_of
from app.api.server.context import api_context
from app.config import Settings
from app.core.field_aliases import SETTING_ALIASES
from app.core.json_values import read_json, refuse_unusable, text_problem
from app.errors import FieldError, InvalidRequest, PayloadTooLarge, UnsupportedMediaType

# The members that hold pictures, alone or in lists and objects, here and in the façades.
PICTURES = (
    *("image", "mask", "inputs", "images", "references", "init_images", "imageList", "alwayson_scripts"),
    "controlnet_images",
)
_OF_LIST = "[]"
_FORM = "multipart/form-data"
_CHARSETS = ("utf-8", "utf8", "us-ascii")
_MOST_ERRORS = 20
_CHANGING = ("POST", "PUT", "PATCH", "DELETE")
_NUMBERS = (
    *("num_inference_steps", "guidance_scale", "seed", "width", "height", "num_images", "strength", "lora_scale"),
    "timeout",
    *(name for name in SETTING_ALIASES),
)
_WRITTEN_AS_JSON = frozenset({"settings", "priority", *_NUMBERS})  # members that are not text


def register(app: Flask, settings: Settings) -> None:
    """Set the size limit of each request's body."""
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes

    @app.before_request
    def make_room() -> None:
        policy = current_policy()
        if policy.max_body_bytes is not None:
            request.max_content_length = policy.max_body_bytes
        elif policy.accepts_files:
            request.max_content_length = settings.max_body_bytes + settings.input_body_bytes
        elif policy.accepts_lines and request.mimetype in line_bodies.FORMATS:
            request.max_content_length = max(settings.max_body_bytes, line_bodies.LARGEST_BYTES)

    app.before_request(_refuse_unusable_query)
    app.teardown_request(lambda _: give_back())


def refuse_unread_body() -> None:
    """Raises InvalidRequest for a body with members where none is read: its sender expects it to have an effect. To be
    called after the client was let in."""
    if request.method not in _CHANGING or request.url_rule is None:
        return
    sent = request.content_length or "chunked" in request.headers.get("Transfer-Encoding", "")
    if not sent or current_policy().takes_body or not request.is_json:
        return
    if fields := request.get_json():
        errors = [FieldError(name[:100], "is not a known field: this route takes no body") for name in fields]
        raise InvalidRequest(f"{request.method} {request.path} takes no body.", errors=errors[:_MOST_ERRORS])


class ApiRequest(Request):
    """Flask's request, except that a bad body raises even with `silent=True`.

    flask-openapi3 reads bodies silently and takes None for an unreadable one; what was wrong would be lost.
    """

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        known: dict[str, Any] | None = vars(self).get("read_body")
        if known is None:
            known = self.read_body = self._read(cache)
        return known

    def _read(self, cache: bool) -> dict[str, Any]:
        if not self.mimetype and not self._whole(cache):
            return {}  # nothing was sent: the route's model says what it requires
        if self.mimetype == _FORM and policy_of(self.endpoint).accepts_files:
            return self._form()
        if self.mimetype in line_bodies.FORMATS and policy_of(self.endpoint).accepts_lines:
            return line_bodies.body_of_lines(self._whole(cache), self.mimetype, self.args)
        if not self.is_json:
            raise UnsupportedMediaType("Send the body as JSON, with the header Content-Type: application/json.")
        charset = self.mimetype_params.get("charset", "utf-8")
        if charset.lower() not in _CHARSETS:
            raise UnsupportedMediaType(f"The charset is {charset[:40]!r}; JSON is UTF-8 (RFC 8259). Leave it out.")
        whole = self._whole(cache)
        if not whole:
            return {}
        too_large = len(whole) > current_app.config["MAX_CONTENT_LENGTH"]  # for anything but pictures
        try:
            data = read_json(whole)
        except InvalidRequest as error:
            if too_large and not error.errors:  # what was sent is no JSON at all
                raise PayloadTooLarge(error.detail) from None
            raise
        if not isinstance(data, dict):
            raise InvalidRequest("The body must be a JSON object.")
        if too_large:
            _check_rest(len(whole), data)
        return data

    def _form(self) -> dict[str, Any]:
        """Each field a member: `settings` and `priority` as JSON, other text as it is, a file as base64."""
        data: dict[str, Any] = {}
        for name, text in self.form.items(multi=True):
            if text:  # browsers send what was left empty, too
                _add(data, name, _as_json(name, text) if name in _WRITTEN_AS_JSON else text)
        if size := sum(file.stream.seek(0, os.SEEK_END) for file in self.files.values()):
            hold(size)
        for name, file in self.files.items(multi=True):
            file.stream.seek(0)  # the rate limits read the form again
            if content := file.stream.read():
                _add(data, name, base64.b64encode(content).decode())
        refuse_unusable(data)
        return data

    def _whole(self, cache: bool) -> bytes:
        if self._may_be_large():
            return read_large(self)
        data = self.get_data(cache=cache)
        # werkzeug refuses a length announced too large, but cuts a chunked body off at the limit and says nothing.
        if self.content_length is None and self.max_content_length and len(data) >= self.max_content_length:
            raise PayloadTooLarge()
        return data

    def _may_be_large(self) -> bool:
        usual = current_app.config["MAX_CONTENT_LENGTH"]
        return policy_of(self.endpoint).accepts_files and (self.content_length is None or self.content_length > usual)


def _check_rest(length: int, data: dict[str, Any]) -> None:
    """The room that pictures get is theirs alone."""
    pictures = sum(len(text) for text in _picture_texts(data))
    if length - pictures > current_app.config["MAX_CONTENT_LENGTH"]:
        raise PayloadTooLarge("Without its pictures the body has more bytes than MAX_BODY_BYTES allows.")


def _picture_texts(data: dict[str, Any]) -> Iterator[str]:
    settings, params = data.get("settings"), data.get("params")
    arguments = params.get("arguments") if isinstance(params, dict) else None  # of a tool
    waiting = [data.get(name) for name in PICTURES]
    waiting += [arguments.get(name) for name in PICTURES] if isinstance(arguments, dict) else []
    waiting += [settings.get("inputs")] if isinstance(settings, dict) else []
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _as_json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidRequest(f"The form's field {name} must be JSON.") from None


def _add(data: dict[str, Any], name: str | None, value: Any) -> None:
    """`name[]` is one of a list, as many clients write it."""
    if name is None:  # werkzeug's types do not know of it
        raise InvalidRequest("A part of the form has no name.")
    if name.endswith(_OF_LIST) and isinstance(data.setdefault(name.removesuffix(_OF_LIST), []), list):
        data[name.removesuffix(_OF_LIST)].append(value)
        return
    if name in data:
        raise InvalidRequest(f"The form names {name[:100]!r} twice.")
    data[name] = value


def _refuse_unusable_query() -> None:
    """Raises InvalidRequest for text that no database could look for."""
    if not request.query_string:
        return
    problems = [
        FieldError(name, problem)
        for name, text in request.args.items(multi=True)
        if (problem := text_problem(name) or text_problem(text))
    ]
    if problems:
        raise InvalidRequest("; ".join(f"{one.field}: {one.message}" for one in problems), errors=problems)


_PIECE = 65_536
_HELD = "large_body_bytes"


def read_large(sent: Request) -> bytes:
    """The whole body, received to a file first. Raises PayloadTooLarge, Unavailable."""
    with tempfile.TemporaryFile() as file:
        size = _receive(sent, file)
        hold(size)
        file.seek(0)
        return file.read()


def hold(size: int) -> None:
    """Wait until so many bytes may be in memory. Raises Unavailable."""
    budget = api_context().large_bodies
    size = min(size, budget.total - g.get(_HELD, 0))
    budget.acquire(size)
    setattr(g, _HELD, g.get(_HELD, 0) + size)


def give_back() -> None:
    """The body of the current request is needed no more."""
    held = g.pop(_HELD, 0)
    if held:
        api_context().large_bodies.release(held)


def forget(*pictures: object) -> None:
    """Let go of the current request's body, of which `pictures` are the models that were read from it."""
    for model in pictures:
        for members in (vars(model), getattr(model, "__pydantic_extra__", None) or {}):
            for name in PICTURES:
                if name in members:
                    members[name] = None  # they are frozen; but the framework keeps them until the answer
    for cached in ("read_body", "_cached_data"):  # a call that waits keeps its request
        vars(request).pop(cached, None)
    give_back()


def _receive(sent: Request, file: IO[bytes]) -> int:
    limit = sent.max_content_length or 0
    size = 0
    while piece := sent.stream.read(_PIECE):
        size += len(piece)
        file.write(piece)
    # werkzeug refuses a length announced too large, but cuts a chunked body off at the limit and says nothing.
    if sent.content_length is None and size >= limit:
        raise PayloadTooLarge()
    return size

"""Compression of text: pages, scripts, JSON, metrics. Pictures, videos and event streams are sent as they are.

Only answers to GET and HEAD, which a client may fetch often and which hold no picture in base64. Answers with an ETag
of their own keep it, so that conditional requests see one version.
"""

from __future__ import annotations

from flask import Flask, Response, request
from flask_compress import Compress

_LEAST_BYTES = 2048  # below, the time costs more than the bytes
_ALGORITHMS = ("br", "gzip")


def register(app: Flask) -> None:
    """After the access log, which counts what is sent, and before the hooks that finish a response: the last one
    registered runs first."""
    app.config.update(COMPRESS_MIN_SIZE=_LEAST_BYTES, COMPRESS_ALGORITHM=_ALGORITHMS, COMPRESS_STREAMS=False)
    _TextCompression(app)


class _TextCompression(Compress):
    def after_request(self, response: Response | None) -> Response:
        assert response is not None  # Flask's hooks get one
        if request.method not in ("GET", "HEAD") or response.mimetype not in self.compress_mimetypes_set:
            return response
        if (response.content_length or _LEAST_BYTES) < _LEAST_BYTES:
            return response
        if request.endpoint == "static":
            response.direct_passthrough = False
            response.make_sequence()  # read the file: it is small, and a stream would have no length
        elif "ETag" in response.headers:
            return response
        if not request.accept_encodings.best_match(_ALGORITHMS):  # flask-compress takes one with a quality of 0, too
            response.vary.add("Accept-Encoding")
            return response
        return super().after_request(response)

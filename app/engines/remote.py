"""Common parts of remote engines: settings, and downloading a provider's output files."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from app.core.backoff import Backoff
from app.core.prediction import Prediction
from app.core.request import GenerationRequest
from app.core.sent_settings import seed_in
from app.engines.base import Control, GeneratedImage, GeneratedVideo, Ledger, RemoteControl, ResidentModel
from app.engines.interruptible import run_interruptibly
from app.errors import Cancelled, ModelUnavailable, ProviderError, ResultExpired, ResultPending
from app.files.media import Unreadable, is_video, read_image, read_video
from app.providers.files import Fetch, FetchFailed, OpenPicture

TRIES = 3  # of failed downloads in one attempt; the next attempt follows after LATER
FETCH_PAUSE = Backoff(first=1.0, longest=60.0)
LATER = Backoff(first=8.0, longest=240.0)
_ANEW = "Submit the request again to have it made again, at its price."


@dataclass(frozen=True)
class RemoteSettings:
    """`files_seconds`: how long providers keep files. `public_url` is where providers reach this installation; empty =
    they do not. Tokens are left out of `repr`."""

    fetch: Fetch
    open_picture: OpenPicture
    timeout_seconds: float
    files_seconds: float = 3600.0
    replicate_base_url: str = ""
    replicate_token: str = field(default="", repr=False)
    openai_base_url: str = ""
    openai_key: str = field(default="", repr=False)
    engine_server_key: str = field(default="", repr=False)
    public_url: str = ""


class NoResidentModels:
    """Mixin: the `load`, `unload` and `resident` of an engine that holds no models in memory."""

    def load(self, spec: object, control: Control) -> None:
        """Does nothing."""

    def unload(self, model_id: str) -> None:
        """Does nothing."""

    def resident(self) -> Sequence[ResidentModel]:
        return ()


def remote_model_of(request: GenerationRequest) -> tuple[str, str | None]:
    """The provider's name for the model, and its version. Raises ModelUnavailable for a request of another lane."""
    if request.remote is None:
        raise ModelUnavailable(
            f"{request.model_id} was not a remote model when this job was submitted. Submit it again."
        )
    return request.remote.model, request.remote.version


@dataclass
class Outputs:
    images: list[GeneratedImage] = field(default_factory=list)
    videos: list[GeneratedVideo] = field(default_factory=list)

    def add(self, content: bytes, seed: int | None) -> None:
        """Decode and add an image or video; `seed` is the one that was sent for all. Raises Unreadable."""
        if not is_video(content):
            self.images.append(GeneratedImage(read_image(content), seed))
            return
        facts = read_video(content)
        self.videos.append(GeneratedVideo(content, facts.poster, seed, facts.mime_type, facts.seconds, facts.fps))

    def add_base64(self, text: object, seed: int | None) -> None:
        """Decode and add an image of an answer in JSON. Raises ProviderError."""
        try:
            self.add(base64.b64decode(text, validate=True) if isinstance(text, str) else b"", seed)
        except (binascii.Error, Unreadable) as error:
            raise ProviderError(f"The server sent an image that cannot be read: {error}") from None


def images_in(answer: Any) -> list[dict[str, Any]]:
    """The images of an answer of OpenAI's images API. Raises ProviderError."""
    found = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise ProviderError("The server's answer has no list of images.")
    return [one for one in found if isinstance(one, dict)]


def ledger_of(control: Control) -> Ledger:
    if not isinstance(control, RemoteControl):
        raise TypeError("a remote engine needs a control with a ledger")
    return control.ledger


class OutputDownloads:
    """Downloads the output files of a prediction. Only the job's worker does this, so each is fetched once, whether a
    poll or a webhook reported the end."""

    def __init__(self, settings: RemoteSettings, control: Control, prediction: Prediction) -> None:
        self._fetch = settings.fetch
        self._kept_seconds = settings.files_seconds
        self._control = control
        self._ledger = ledger_of(control)
        self._prediction = prediction
        self._seed = seed_in(prediction.input)
        self._retries = prediction.download_retries
        self._failures = 0

    def all(self, urls: Iterable[str]) -> Outputs:
        """Download and decode all of `urls`. Raises ResultPending to go on later, ResultExpired, ProviderError for a
        file that cannot be used, and Cancelled."""
        self._note(None)
        outputs = Outputs()
        for url in urls:
            self._one(url, outputs)
        self._note(None)
        return outputs

    def _one(self, url: str, outputs: Outputs) -> None:
        gone = unreadable = 0
        while True:
            try:
                outputs.add(self._fetched(url), self._seed)
                return
            except FetchFailed as failed:
                gone = gone + 1 if failed.gone else 0
                if failed.final:
                    self._fail(ProviderError, f"The result could not be fetched: {failed.text}.")
                if gone == TRIES:
                    self._fail(ResultExpired, f"The provider has deleted the result: {failed.text}. {_ANEW}")
                self._retry(failed.text)
            except Unreadable as error:  # perhaps truncated
                unreadable += 1
                if unreadable == TRIES:
                    self._fail(ProviderError, f"The result cannot be used: {error}. Retry to fetch it again.")
                self._retry(str(error))

    def _fetched(self, url: str) -> bytes:
        """The file; a stop is seen at once, however slowly it comes."""

        def check() -> None:
            if self._control.cancelled():
                raise Cancelled

        return run_interruptibly(lambda: self._fetch(url, self._control.cancelled), check)

    def _retry(self, text: str) -> None:
        """Count the failure and wait; after TRIES of them in this attempt leave the rest to a later one."""
        self._failures += 1
        self._retries += 1
        if (self._prediction.ended_age or 0.0) >= self._kept_seconds:
            self._fail(ResultExpired, f"The result could not be fetched while the provider kept it: {text}. {_ANEW}")
        self._note(text)
        if self._failures >= TRIES:
            pause = LATER.seconds(self._retries // TRIES)
            raise ResultPending(f"The result cannot be fetched yet: {text}.", retry_after=pause)
        wait(self._control, FETCH_PAUSE.seconds(self._failures))

    def _fail(self, kind: type[ProviderError], text: str) -> NoReturn:
        self._note(text)
        raise kind(text)

    def _note(self, error: str | None) -> None:
        self._ledger.note_download(self._prediction, retries=self._retries, error=error)


def wait(control: Control, seconds: float) -> None:
    """Wait `seconds`. Raises Cancelled as soon as the job is stopped."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if control.cancelled():
            raise Cancelled
        ledger_of(control).wait(left)
    if control.cancelled():
        raise Cancelled

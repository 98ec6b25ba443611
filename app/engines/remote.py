"""Common parts of remote engines: settings, and downloading a provider's output files."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from app.core.backoff import Backoff
from app.core.prediction import Prediction
from app.core.request import GenerationRequest
from app.core.sent_settings import seed_in
from app.engines.base import Control, GeneratedImage, GeneratedVideo, Ledger, RemoteControl, ResidentModel
from app.errors import Cancelled, ModelUnavailable, ProviderError
from app.files.media import Unreadable, is_video, read_image, read_video
from app.providers.files import Fetch, FetchFailed, OpenPicture

FETCHES = 5  # tries per job, over all of its files
FETCH_PAUSE = Backoff(first=1.0, longest=60.0)


@dataclass(frozen=True)
class RemoteSettings:
    """`public_url` is where providers reach this installation; empty = they do not. Tokens are left out of `repr`."""

    fetch: Fetch
    open_picture: OpenPicture
    timeout_seconds: float
    replicate_base_url: str = ""
    replicate_token: str = field(default="", repr=False)
    openai_base_url: str = ""
    openai_key: str = field(default="", repr=False)
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


def ledger_of(control: Control) -> Ledger:
    if not isinstance(control, RemoteControl):
        raise TypeError("a remote engine needs a control with a ledger")
    return control.ledger


class OutputDownloads:
    """Downloads the output files of a prediction. Only the job's worker does this, so each is fetched once, whether a
    poll or a webhook reported the end."""

    def __init__(self, fetch: Fetch, control: Control, prediction: Prediction) -> None:
        self._fetch = fetch
        self._control = control
        self._ledger = ledger_of(control)
        self._prediction = prediction
        self._seed = seed_in(prediction.input)
        self._retries = prediction.download_retries
        self._failures = 0

    def all(self, urls: Iterable[str]) -> Outputs:
        """Download and decode all of `urls`. Raises ProviderError when one cannot be fetched, Cancelled."""
        self._note(None)
        outputs = Outputs()
        for url in urls:
            self._one(url, outputs)
        self._note(None)
        return outputs

    def _one(self, url: str, outputs: Outputs) -> None:
        while True:
            try:
                outputs.add(self._fetch(url, self._control.cancelled), self._seed)
                return
            except FetchFailed as failed:
                self._retry(failed.text, final=failed.final)
            except Unreadable as unreadable:  # perhaps truncated
                self._retry(str(unreadable))

    def _retry(self, text: str, *, final: bool = False) -> None:
        """Count the failure and wait, or give up."""
        self._failures += 1
        if final or self._failures >= FETCHES:
            self._note(text)
            raise ProviderError(f"The result could not be fetched: {text}. Retry to make it again.")
        self._retries += 1
        self._note(text)
        wait(self._control, FETCH_PAUSE.seconds(self._failures))

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

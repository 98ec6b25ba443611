"""What engines of remote providers share: their settings, and making outputs of files that lie at a provider's."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from app.core.prediction import Prediction
from app.core.request import GenerationRequest
from app.engines.base import Control, GeneratedImage, GeneratedVideo, Ledger, RemoteControl, ResidentModel
from app.errors import Cancelled, ModelUnavailable, ProviderError
from app.files.media import Unreadable, is_video, read_image, read_video
from app.providers.files import Fetch, FetchFailed, OpenPicture

FETCHES = 5  # tries per job, over all of its files
FETCH_PAUSE_SECONDS = 1.0  # doubling


@dataclass(frozen=True)
class RemoteSettings:
    """`public_url` is where providers reach this installation; empty = they do not. Tokens are shown nowhere."""

    fetch: Fetch
    open_picture: OpenPicture
    timeout_seconds: float
    replicate_base_url: str = ""
    replicate_token: str = field(default="", repr=False)
    openai_base_url: str = ""
    openai_key: str = field(default="", repr=False)
    public_url: str = ""


class NothingResident:
    """The part of the `Engine` contract that means nothing to whoever holds no model in memory."""

    def load(self, spec: object, control: Control) -> None:
        """There is nothing to load."""

    def unload(self, model_id: str) -> None:
        """Nor to unload."""

    def resident(self) -> Sequence[ResidentModel]:
        return ()


def call_of(request: GenerationRequest) -> tuple[str, str | None]:
    """The provider's name for the model, and its version. Raises ModelUnavailable for a request of another lane."""
    if request.remote is None:
        raise ModelUnavailable(f"{request.model_id} was no remote model when this was asked for. Ask for it anew.")
    return request.remote.model, request.remote.version


@dataclass
class Outputs:
    images: list[GeneratedImage] = field(default_factory=list)
    videos: list[GeneratedVideo] = field(default_factory=list)

    def add(self, content: bytes, seed: int) -> None:
        """Raises Unreadable."""
        seed += len(self.images) + len(self.videos)
        if not is_video(content):
            self.images.append(GeneratedImage(read_image(content), seed))
            return
        facts = read_video(content)
        self.videos.append(GeneratedVideo(content, facts.poster, seed, facts.mime_type, facts.seconds, facts.fps))


def ledger_of(control: Control) -> Ledger:
    if not isinstance(control, RemoteControl):
        raise TypeError("whoever runs a remote engine must remember what was asked")
    return control.ledger


class OutputDownloads:
    """Brings the files of a prediction here. Only who has the job does this, so each is fetched once, however the end
    of the prediction became known."""

    def __init__(self, fetch: Fetch, control: Control, prediction: Prediction, seed: int) -> None:
        self._fetch = fetch
        self._control = control
        self._ledger = ledger_of(control)
        self._prediction = prediction
        self._seed = seed
        self._retries = prediction.download_retries
        self._failures = 0

    def all(self, urls: Iterable[str]) -> Outputs:
        """Whole and readable. Raises ProviderError when one cannot be had, Cancelled."""
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
                self._again(failed.text, final=failed.final)
            except Unreadable as unreadable:  # cut short, perhaps
                self._again(str(unreadable))

    def _again(self, text: str, *, final: bool = False) -> None:
        """Count the failure and wait, or give up."""
        self._failures += 1
        if final or self._failures >= FETCHES:
            self._note(text)
            raise ProviderError(f"The result could not be fetched: {text}. Retry to make it again.")
        self._retries += 1
        self._note(text)
        wait(self._control, FETCH_PAUSE_SECONDS * 2 ** (self._failures - 1))

    def _note(self, error: str | None) -> None:
        self._ledger.note_download(self._prediction, retries=self._retries, error=error)


def wait(control: Control, seconds: float) -> None:
    """Raises Cancelled as soon as the job is to stop."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if control.cancelled():
            raise Cancelled
        ledger_of(control).wait(left)
    if control.cancelled():
        raise Cancelled

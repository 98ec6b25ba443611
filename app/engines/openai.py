"""Engine for servers with OpenAI's images API: one synchronous request that returns the images.

A request cannot be resumed after a crash: it is sent again with the same Idempotency-Key, so that servers that support
the header do not run it twice.
"""

from __future__ import annotations

import time
from typing import Any

import httpx

from app.core.catalog import ModelSpec
from app.core.job import Phase
from app.core.prediction import NO_FILE, Prediction, PredictionStatus, Report
from app.core.request import GenerationRequest
from app.engines.base import NO_INPUTS, Control, Generation, Inputs
from app.engines.interruptible import run_interruptibly
from app.engines.remote import (
    NoResidentModels,
    OutputDownloads,
    Outputs,
    RemoteSettings,
    images_in,
    ledger_of,
    remote_model_of,
    wait,
)
from app.errors import Cancelled, ProviderError
from app.providers.calls import Busy, Refused, Unreachable, call

SOURCE = "openai"
BUSY_PAUSE_SECONDS = 5.0
TRIES = 5
_UNKNOWN_HERE = ("num_inference_steps", "guidance_scale", "negative_prompt", "seed")


class OpenAIEngine(NoResidentModels):
    def __init__(self, settings: RemoteSettings) -> None:
        key = settings.openai_key
        self._settings = settings
        self._client = httpx.Client(
            base_url=settings.openai_base_url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=settings.timeout_seconds,
            trust_env=False,
        )

    def generate(
        self, spec: ModelSpec, request: GenerationRequest, control: Control, inputs: Inputs = NO_INPUTS
    ) -> Generation:
        """Thread-safe. A cancel leaves the HTTP request behind; a worker that stops waits for its answer, which cannot
        be had again."""
        started = time.perf_counter()
        ledger, (model, _) = ledger_of(control), remote_model_of(request)
        asked = ledger.find() or ledger.intend(source=SOURCE, model=model, input=_body(request, model))
        control.report(Phase.GENERATING)
        outputs = self._outputs(asked, control, self._answer(asked, control))
        return Generation(
            images=outputs.images,
            effective=dict(asked.input),
            versions={"provider": SOURCE, "model": model},
            timings={Phase.GENERATING.value: time.perf_counter() - started},
            warnings=_warnings(request),
        )

    def _answer(self, asked: Prediction, control: Control) -> list[dict[str, Any]]:
        """The server's images. URLs that it answered an earlier attempt with are used again."""
        if asked.status is PredictionStatus.SUCCEEDED and asked.outputs:
            return [{"url": url} for url in asked.outputs]
        ledger = ledger_of(control)
        ledger.created(asked, asked.id)
        answer = self._ask(asked, control)
        urls = () if any(one.get("b64_json") for one in answer) else tuple(_urls(answer))
        ledger.observed(SOURCE, Report(asked.id, PredictionStatus.SUCCEEDED, urls))
        return answer

    def _outputs(self, asked: Prediction, control: Control, answer: list[dict[str, Any]]) -> Outputs:
        downloads = OutputDownloads(self._settings, control, asked)
        outputs = downloads.all(urls) if (urls := _urls(answer)) else Outputs()
        try:
            for one in answer:
                if one.get("b64_json"):
                    outputs.add_base64(one["b64_json"], None)
            if not outputs.images and not outputs.videos:
                raise ProviderError("The server answered without an image.")
        except ProviderError:
            ledger_of(control).note_download(asked, retries=0, error=NO_FILE)  # so that a retry sends the request again
            raise
        return outputs

    def _ask(self, asked: Prediction, control: Control) -> list[dict[str, Any]]:
        def check() -> None:
            if control.cancelled() and not ledger_of(control).wanted():
                raise Cancelled

        for left in reversed(range(TRIES)):
            try:
                return run_interruptibly(lambda: self._once(asked), check)
            except Refused as refused:
                ledger_of(control).observed(SOURCE, Report(asked.id, PredictionStatus.FAILED, error=refused.text))
                raise ProviderError(refused.text) from None
            except (Busy, Unreachable) as fault:
                if not left:
                    raise ProviderError(f"{fault.text} Retry when it answers again.") from None
                wait(control, getattr(fault, "retry_after", None) or BUSY_PAUSE_SECONDS)
        raise AssertionError("the last try returns or raises")

    def _once(self, asked: Prediction) -> list[dict[str, Any]]:
        headers = {"Idempotency-Key": asked.id}
        answer = call(
            self._client, "POST", "images/generations", provider="The server", json=dict(asked.input), headers=headers
        )
        return images_in(answer)


def _body(request: GenerationRequest, model: str) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "prompt": request.prompt, "n": request.num_images}
    if request.width and request.height:
        body["size"] = f"{request.width}x{request.height}"
    return body


def _urls(answer: list[dict[str, Any]]) -> list[str]:
    return [one["url"] for one in answer if one.get("url") and not one.get("b64_json")]


def _warnings(request: GenerationRequest) -> list[str]:
    """Warnings for settings that this API does not have."""
    chosen = {*request.remote.chosen} if request.remote else set()
    chosen |= {"negative_prompt"} if request.negative_prompt else set()
    unused = [name for name in _UNKNOWN_HERE if name in chosen]
    return [f"{request.model_id} has no {name}; it was not used." for name in unused]

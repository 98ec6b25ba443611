"""Engine for models that an engine server draws: SGLang-Diffusion, vLLM-Omni, and others with OpenAI's images API, each
with as many GPUs as it has.

A server draws one picture a request, so that each has a seed of its own, as when it is drawn here. A request costs
nothing but time, so a job whose worker died is drawn again; while its server is away, loads its model or answers that
it is busy, the job waits in the queue. Words of the API: SGLang, multimodal_gen/runtime/entrypoints/openai/protocol.py;
vLLM-Omni, docs/serving/image_generation_api.md and image_edit_api.md.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Mapping
from typing import Any

import httpx
from PIL import Image

from app.core.backoff import Backoff
from app.core.catalog import ModelSpec
from app.core.engine_servers import EngineServer
from app.core.job import Phase
from app.core.prediction import Prediction, PredictionStatus, Report
from app.core.request import GenerationRequest
from app.engines.base import NO_INPUTS, Control, Generation, Inputs
from app.engines.interruptible import run_interruptibly
from app.engines.remote import NoResidentModels, Outputs, RemoteSettings, images_in, ledger_of
from app.errors import Cancelled, ModelUnavailable, ProviderError, ResultPending
from app.providers.calls import Busy, Refused, Unreachable, call

SOURCE = "engine"
CONNECT_SECONDS = 10.0
AWAY = Backoff(first=5.0, longest=60.0)  # until a job is tried again whose server is away
_SETTINGS = ("num_inference_steps", "guidance_scale", "true_cfg_scale")
_ELSEWHERE = ("width", "height", "num_images", "negative_prompt")  # chosen settings that are always sent


class EngineServers(NoResidentModels):
    """Thread-safe."""

    def __init__(self, settings: RemoteSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._clients: dict[str, httpx.Client] = {}
        self._away: dict[str, int] = {}  # by URL: how often in a row it was

    def generate(
        self, spec: ModelSpec, request: GenerationRequest, control: Control, inputs: Inputs = NO_INPUTS
    ) -> Generation:
        """A cancel leaves the request behind: these servers have no call to stop one. Raises ResultPending while the
        server is away."""
        started, server = time.perf_counter(), spec.options.server
        if server is None:
            raise ModelUnavailable(f"{spec.id} has no engine server any more. Submit the request for another model.")
        ledger, body = ledger_of(control), body_of(spec, request, server)
        asked = ledger.find() or ledger.intend(source=SOURCE, model=spec.repo, input=body)
        ledger.created(asked, asked.id)
        outputs = Outputs()
        for number in range(request.num_images):
            control.report(Phase.GENERATING, number, request.num_images)
            seed = request.seed + number if server.knows_settings else None
            one = {**body, "n": 1} | ({} if seed is None else {"seed": seed})
            outputs.add_base64(self._draw(spec, one, inputs, control, asked), seed)
        ledger.observed(SOURCE, Report(asked.id, PredictionStatus.SUCCEEDED, ()))
        return Generation(
            images=outputs.images,
            effective=dict(asked.input),
            versions={"provider": server.kind, "model": spec.repo},
            timings={Phase.GENERATING.value: time.perf_counter() - started},
            warnings=_warnings(spec, request, server),
        )

    def _draw(
        self,
        spec: ModelSpec,
        body: Mapping[str, Any],
        inputs: Inputs,
        control: Control,
        asked: Prediction,
    ) -> str:
        """One picture, in base64."""

        def check() -> None:
            if control.cancelled():
                raise Cancelled

        server = spec.options.server
        assert server is not None
        try:
            answer = run_interruptibly(lambda: self._ask(spec.id, server, body, inputs), check)
        except Refused as refused:
            ledger_of(control).observed(SOURCE, Report(asked.id, PredictionStatus.FAILED, error=refused.text))
            raise ProviderError(refused.text) from None
        except (Busy, Unreachable) as fault:
            raise self._pending(server, fault) from None
        self._away.pop(server.url, None)
        found = [one["b64_json"] for one in images_in(answer) if one.get("b64_json")]
        if not found:
            raise ProviderError("The engine server answered without an image.")
        return str(found[0])

    def _ask(self, model_id: str, server: EngineServer, body: Mapping[str, Any], inputs: Inputs) -> Any:
        client, name = self._client(server), f"The engine server of {model_id}"  # not its address: clients read it
        if not inputs:
            return call(client, "POST", "images/generations", provider=name, json=dict(body))
        pictures = [("image", (f"{slot}.png", _png(pixels), "image/png")) for slot, pixels in inputs.items()]
        fields = {key: str(value) for key, value in body.items()}
        return call(client, "POST", "images/edits", provider=name, data=fields, files=pictures)

    def _pending(self, server: EngineServer, fault: Busy | Unreachable) -> ResultPending:
        with self._lock:
            times = self._away[server.url] = self._away.get(server.url, 0) + 1
        pause = getattr(fault, "retry_after", None) or AWAY.seconds(times)
        return ResultPending(f"{fault.text} The job waits until it answers.", retry_after=pause)

    def _client(self, server: EngineServer) -> httpx.Client:
        key = self._settings.engine_server_key
        with self._lock:
            if server.url not in self._clients:
                self._clients[server.url] = httpx.Client(
                    base_url=server.url,
                    headers={"Authorization": f"Bearer {key}"} if key else {},
                    timeout=httpx.Timeout(self._settings.timeout_seconds, connect=CONNECT_SECONDS),
                    trust_env=False,
                )
            return self._clients[server.url]


def body_of(spec: ModelSpec, request: GenerationRequest, server: EngineServer) -> dict[str, Any]:
    """What is asked of the server. Settings that the client did not choose are left to the model there."""
    body: dict[str, Any] = {"model": spec.repo, "prompt": request.prompt, "n": request.num_images}
    if request.width and request.height:
        body["size"] = f"{request.width}x{request.height}"
    body["response_format"] = "b64_json"
    if server.knows_settings:
        chosen = request.remote.chosen if request.remote is not None else ()
        body |= {name: value for name in _SETTINGS if name in chosen and (value := getattr(request, name)) is not None}
        body |= {"negative_prompt": request.negative_prompt} if request.negative_prompt else {}
        body["seed"] = request.seed
    return body


def _warnings(spec: ModelSpec, request: GenerationRequest, server: EngineServer) -> list[str]:
    """Warnings for settings that the server was not sent."""
    chosen = set(request.remote.chosen) if request.remote is not None else set()
    chosen -= {*_ELSEWHERE} | ({*_SETTINGS, "seed"} if server.knows_settings else set())
    if request.negative_prompt and not server.knows_settings:
        chosen.add("negative_prompt")
    return [f"The engine server of {spec.id} has no {name}; it was not used." for name in sorted(chosen)]


def _png(pixels: Any) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()

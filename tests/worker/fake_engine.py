"""An engine without weights: draws a plain image from the request's seed and runs scripted behaviours."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from app.core.catalog import ModelSpec
from app.core.job import Phase
from app.core.request import GenerationRequest
from app.engines.base import NO_INPUTS, Control, GeneratedImage, Generation, Inputs, ResidentModel
from app.errors import Cancelled, ContentBlocked, CyberImageError
from tests.waiting import PATIENCE

Behaviour = Callable[[Control], None]
SIDE = 64


class FakeEngine:
    """`behaviours` are run, by prompt, before the first step, after `always`. `ran` are the started prompts in
    order, `inputs` their images, `merged` the prompts of each merged call, `imported` the models of the warm-up, during
    which `importing` is called; loading raises `load_error`."""

    def __init__(self, step_seconds: float = 0.0) -> None:
        self.behaviours: dict[str, Behaviour] = {}
        self.always: Behaviour = lambda _: None
        self.ran: list[str] = []
        self.inputs: list[Inputs] = []
        self.merged: list[list[str]] = []
        self.imported: list[str] = []
        self.importing: Callable[[ModelSpec], None] = lambda _: None
        self.load_error: CyberImageError | None = None
        self.step_seconds = step_seconds
        self._models: dict[str, ResidentModel] = {}

    def import_classes(self, spec: ModelSpec) -> None:
        self.imported.append(spec.id)
        self.importing(spec)

    def load(self, spec: ModelSpec, control: Control) -> None:
        control.report(Phase.LOADING)
        if self.load_error is not None:
            raise self.load_error
        if spec.id not in self._models or self._models[spec.id].parked:
            self._models[spec.id] = ResidentModel(spec.id, "cpu", "float32")

    def generate(
        self, spec: ModelSpec, request: GenerationRequest, control: Control, inputs: Inputs = NO_INPUTS
    ) -> Generation:
        self.ran.append(request.prompt)
        self.inputs.append(inputs)
        self.load(spec, control)
        self.behave(request.prompt, control)
        for step in range(request.num_inference_steps):
            if control.cancelled():
                raise Cancelled
            control.report(Phase.GENERATING, step + 1, request.num_inference_steps)
            time.sleep(self.step_seconds)
        images = [picture(request.seed + index) for index in range(request.num_images)]
        return Generation(images, {"guidance_scale": 1.0}, {"fake": "1"}, {Phase.GENERATING.value: 0.01})

    def park(self, model_id: str) -> None:
        self._models[model_id] = ResidentModel(model_id, "cpu", "float32", parked=True)

    def merges(self, spec: ModelSpec) -> bool:
        return spec.id in self._models

    def generate_merged(
        self, spec: ModelSpec, requests: Sequence[GenerationRequest], controls: Sequence[Control]
    ) -> Sequence[Generation | CyberImageError]:
        self.merged.append([request.prompt for request in requests])
        self.ran += self.merged[-1]
        results: list[Generation | CyberImageError] = []
        for request, control in zip(requests, controls, strict=True):
            effective = {"guidance_scale": 1.0, "drawn_together": len(requests)}
            seconds = {Phase.GENERATING.value: 0.01}
            try:
                self.behave(request.prompt, control)
                results.append(
                    Generation([picture(request.seed)], effective, {"fake": "1"}, seconds, merged=len(requests))
                )
            except ContentBlocked as error:
                results.append(error)
        for step in range(requests[0].num_inference_steps):
            asked = [control.cancelled() for control in controls]
            if all(asked):
                raise Cancelled
            for control in controls:
                control.report(Phase.GENERATING, step + 1, requests[0].num_inference_steps)
            time.sleep(self.step_seconds)
        return results

    def behave(self, prompt: str, control: Control) -> None:
        self.always(control)
        self.behaviours.get(prompt, lambda _: None)(control)

    def unload(self, model_id: str) -> None:
        self._models.pop(model_id, None)

    def resident(self) -> Sequence[ResidentModel]:
        return list(self._models.values())


def picture(seed: int) -> GeneratedImage:
    """A plain picture whose colour is made of `seed`."""
    colour = [seed % 256, seed // 256 % 256, seed // 65536 % 256]
    return GeneratedImage(np.full((SIDE, SIDE, 3), colour, dtype=np.uint8), seed)


def fails(error: BaseException, times: int = 1_000) -> Behaviour:
    """Raise `error`, the first `times` times."""
    left = [times]

    def behave(_: Control) -> None:
        if left[0] > 0:
            left[0] -= 1
            raise error

    return behave


class Card:
    """A device. `problem` is what its test finds; `draws` is how many pictures a process gets out of it, after which
    each one raises `error`, as after a sticky error of CUDA."""

    def __init__(self, draws: int = 1_000_000, error: BaseException | None = None) -> None:
        self.problem: str | None = None
        self.tests = 0
        self._draws = draws
        self._error = error or RuntimeError("CUDA error: an illegal memory access was encountered")

    def test(self, _: threading.Event) -> str | None:
        self.tests += 1
        return self.problem

    def process(self) -> FakeEngine:
        """The engine of a new process."""
        engine, left = FakeEngine(), [self._draws]

        def draw(control: Control) -> None:
            left[0] -= 1
            if left[0] < 0 or self.problem is not None:
                raise self._error

        engine.always = draw
        return engine


class Gate:
    """A behaviour that reports `phase` and waits until it is opened, or until the job is stopped if it `obeys`."""

    def __init__(self, phase: Phase = Phase.GENERATING, *, obeys: bool = True) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()
        self._phase = phase
        self._obeys = obeys

    def __call__(self, control: Control) -> None:
        control.report(self._phase)
        self.reached.set()
        give_up_at = time.monotonic() + PATIENCE
        while not self.opened.wait(0.01) and time.monotonic() < give_up_at:
            if self._obeys and control.cancelled():
                raise Cancelled

    def wait(self) -> None:
        assert self.reached.wait(PATIENCE), "the engine never came here"

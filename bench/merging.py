"""Four jobs of one picture each in one call (MERGE_JOBS=4) against one after the other, by one engine."""

from __future__ import annotations

from collections.abc import Sequence

from app.config import ROOT
from app.core.catalog import ModelSpec
from app.core.request import GenerationRequest
from app.engines.base import EngineSettings, Generation, Pixels
from app.engines.diffusers.engine import DiffusersEngine
from bench.null_control import NullControl
from bench.together import Draw, compare

WORDS = ("a red circle on a blue background", "a house by the sea", "the moon and stars", "a boat")


def main() -> None:
    compare(ways)


def ways(spec: ModelSpec, side: int, steps: int) -> tuple[Draw, Draw]:
    requests = [
        GenerationRequest(
            model_id="m", prompt=words, num_inference_steps=steps, width=side, height=side, seed=1 + number
        )
        for number, words in enumerate(WORDS)
    ]
    engine = DiffusersEngine(EngineSettings(root=ROOT, model_cache_dir=ROOT, previews=False))
    engine.load(spec, NullControl())

    def one_by_one() -> Sequence[Pixels]:
        return [engine.generate(spec, request, NullControl()).images[0].pixels for request in requests]

    def merged() -> Sequence[Pixels]:
        made = engine.generate_merged(spec, requests, [NullControl() for _ in requests])
        return [each.images[0].pixels for each in made if isinstance(each, Generation)]

    return one_by_one, merged

"""A measurement with one kind of attention leaves the pipeline as it was for the next."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.attention_processor import XFormersAttnProcessor

from bench.gpu import comparison
from tools.tiny_models import flow_families


@pytest.mark.parametrize("family", ["flux", "sd35"])
@pytest.mark.parametrize("fails", [False, True])
def test_every_attention_layer_has_its_processor_back(monkeypatch, family, fails) -> None:
    pipeline = getattr(flow_families, family)()

    def enable() -> None:
        """Replaces what diffusers replaces, without its check for CUDA."""
        for _, layer in _attention_layers(pipeline):
            layer.processor = XFormersAttnProcessor()

    monkeypatch.setattr(pipeline, "enable_xformers_memory_efficient_attention", enable)
    before = [layer.processor for _, layer in _attention_layers(pipeline)]
    during: list[object] = []
    try:
        with comparison.attention("xformers", pipeline):
            during = [layer.processor for _, layer in _attention_layers(pipeline)]
            if fails:
                raise RuntimeError("no kernel")
    except RuntimeError:
        assert fails
    after = [layer.processor for _, layer in _attention_layers(pipeline)]
    assert before
    assert all(isinstance(processor, XFormersAttnProcessor) for processor in during)
    assert all(one is other for one, other in zip(before, after, strict=True))


def _attention_layers(pipeline: object) -> list[tuple[str, torch.nn.Module]]:
    return [found for found in pipeline.transformer.named_modules() if hasattr(found[1], "processor")]

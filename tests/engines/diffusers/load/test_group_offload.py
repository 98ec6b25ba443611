"""Blocks that stay on the device under group offloading. Onto the CPU, whose hooks are those of a GPU."""

from __future__ import annotations

import diffusers
import numpy as np
import pytest
import torch
from diffusers import FluxTransformer2DModel

from app.engines.diffusers.load.group_offload import (
    bytes_of,
    offload_groups,
    resident_blocks,
    resident_bytes_of,
    spread,
    stream_all,
)

CPU = torch.device("cpu")


def block(size):
    return torch.nn.Linear(size // 4, 1, bias=False)


@pytest.mark.parametrize("most", [0, 39, 40, 399, 400, 1000, 10**9])
def test_no_more_stays_than_there_is_room_for(most):
    blocks = [block(size) for size in (40, 40, 40, 80, 80, 80, 80, 400)]
    staying = spread(blocks, most)
    assert sum(bytes_of(each) for each in staying) <= most
    assert len(staying) <= len(blocks) - 2


@pytest.mark.parametrize("count", [2, 3, 10, 57])
def test_what_stays_is_spread_evenly(count):
    blocks = [block(40) for _ in range(60)]
    staying = {id(each) for each in spread(blocks, 40 * count)}
    places = [index for index, each in enumerate(blocks) if id(each) in staying]
    assert len(places) in (count, count - 1)  # rounding may leave one out
    gaps = np.diff([-1, *places])
    assert gaps.max() - gaps.min() <= 1


@pytest.fixture
def pipeline_of(built):
    def load(family):
        pipeline = diffusers.DiffusionPipeline.from_pretrained(built(family), local_files_only=True)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    return load


def with_more_blocks(pipeline):
    """The tiny FLUX has one block of each kind."""
    torch.manual_seed(3)
    config = {**pipeline.transformer.config, "num_layers": 3, "num_single_layers": 4}
    pipeline.register_modules(transformer=FluxTransformer2DModel.from_config(config).eval())
    return pipeline


def draw(pipeline):
    generator = torch.Generator().manual_seed(1)
    with torch.inference_mode():
        made = pipeline("a cat", num_inference_steps=2, width=32, height=32, generator=generator, output_type="np")
    return made.images[0]


def test_it_draws_the_same_whatever_stays(pipeline_of):
    pipeline = with_more_blocks(pipeline_of("flux"))
    plain, names = draw(pipeline), list(pipeline.transformer.state_dict())
    blocks = [*pipeline.transformer.transformer_blocks, *pipeline.transformer.single_transformer_blocks]
    most = sum(bytes_of(each) for each in blocks) * 2 // 3
    offload_groups(pipeline, CPU, pinned=False, resident_bytes=most)
    staying = resident_blocks(pipeline.transformer)
    assert 0 < len(staying) < len(blocks)
    assert 0 < resident_bytes_of(pipeline) <= most
    assert list(pipeline.transformer.state_dict()) == names
    assert np.array_equal(draw(pipeline), plain)
    assert np.array_equal(draw(pipeline), plain)
    stream_all(pipeline, CPU, pinned=False)
    assert resident_bytes_of(pipeline) == 0
    assert np.array_equal(draw(pipeline), plain)


@pytest.mark.parametrize("family", ["sdxl", "sd15"])
def test_the_blocks_of_a_unet_may_stay_too(pipeline_of, family):
    pipeline = pipeline_of(family)
    plain = draw(pipeline)
    offload_groups(pipeline, CPU, pinned=False, resident_bytes=10**9)
    assert resident_bytes_of(pipeline) > 0
    assert np.array_equal(draw(pipeline), plain)


def test_the_lists_are_whole_again_when_the_hooks_cannot_be_put_on(pipeline_of, monkeypatch):
    pipeline = with_more_blocks(pipeline_of("flux"))
    names = list(pipeline.transformer.state_dict())

    def fail(*_, **__):
        raise RuntimeError("no stream")

    monkeypatch.setattr("app.engines.diffusers.load.group_offload.apply_group_offloading", fail)
    with pytest.raises(RuntimeError):
        offload_groups(pipeline, CPU, pinned=False, resident_bytes=10**9)
    assert list(pipeline.transformer.state_dict()) == names


def test_without_group_offloading_nothing_counts_as_staying(pipeline_of):
    assert resident_bytes_of(pipeline_of("flux")) == 0

"""Weights that the SD 3 transformer takes over from the FLUX one compute the same there."""

from __future__ import annotations

import pytest
import torch
from diffusers import FluxTransformer2DModel, SD3Transformer2DModel

from tools.demo_model import sd3, sd3_start, transformer

COUNT = 4


@pytest.fixture(scope="module")
def flux() -> FluxTransformer2DModel:
    torch.manual_seed(1)
    model = transformer.build()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.1 * torch.randn_like(parameter))
        for block in model.single_transformer_blocks:  # it stands beside the attention there, behind it in SD 3
            block.proj_mlp.weight.zero_()
            block.proj_mlp.bias.zero_()
    return model.eval()


@pytest.fixture(scope="module")
def pooled() -> tuple[torch.Tensor, torch.Tensor]:
    half = torch.randn(300, sd3.HALF)
    return sd3.twice(half), half @ torch.randn(sd3.HALF, 2 * sd3.HALF) + 0.5


@pytest.fixture(scope="module")
def model(flux: FluxTransformer2DModel, pooled: tuple[torch.Tensor, torch.Tensor]) -> SD3Transformer2DModel:
    made = sd3.build()
    sd3_start.carry_over(flux, made, pooled)
    return made.eval()


@torch.no_grad()
def test_both_ends(flux: FluxTransformer2DModel, model: SD3Transformer2DModel) -> None:
    latents = torch.randn(COUNT, model.config.in_channels, 8, 12)
    patches = model.pos_embed.proj(latents).flatten(2).transpose(1, 2)
    torch.testing.assert_close(patches, flux.x_embedder(transformer.pack(latents)))
    hidden = torch.randn(COUNT, 24, flux.inner_dim)
    channel_first = flux.proj_out(hidden).unflatten(-1, (-1, 2, 2))
    channel_last = model.proj_out(hidden).unflatten(-1, (2, 2, -1))
    torch.testing.assert_close(channel_last.movedim(-1, -3), channel_first)


@torch.no_grad()
def test_time_and_prompt(
    flux: FluxTransformer2DModel, model: SD3Transformer2DModel, pooled: tuple[torch.Tensor, torch.Tensor]
) -> None:
    t = torch.linspace(0, 1000, COUNT)
    halves, known = pooled[0][:COUNT], pooled[1][:COUNT]
    guidance = torch.full_like(t, 1000 * sd3_start.LEARNT_GUIDANCE)
    expected = flux.time_text_embed(t, guidance, known)
    torch.testing.assert_close(model.time_text_embed(t, halves), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("number", range(transformer.DOUBLE_BLOCKS + transformer.SINGLE_BLOCKS))
@torch.no_grad()
def test_every_block(flux: FluxTransformer2DModel, model: SD3Transformer2DModel, number: int) -> None:
    source = [*flux.transformer_blocks, *flux.single_transformer_blocks][number]
    picture, words = torch.randn(COUNT, 12, flux.inner_dim), torch.randn(COUNT, 5, flux.inner_dim)
    given = {"hidden_states": picture, "encoder_hidden_states": words, "temb": torch.randn(COUNT, flux.inner_dim)}
    expected, made = source(**given), model.transformer_blocks[number](**given)
    torch.testing.assert_close(made[1], expected[1], rtol=1e-4, atol=1e-4)
    if made[0] is not None:  # the last block's words go nowhere
        torch.testing.assert_close(made[0], expected[0], rtol=1e-4, atol=1e-4)

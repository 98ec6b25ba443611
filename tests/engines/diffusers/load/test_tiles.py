"""VAE tiles are small enough to save memory at usual sizes."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL

from app.engines.diffusers.load.offload import enable_tiles, tiled


@pytest.fixture
def vae() -> AutoencoderKL:
    """A small autoencoder for pictures of 1024 pixels, as FLUX, SD 3.5 and SDXL have it."""
    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=(4, 4, 4, 4),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=2,
        latent_channels=4,
        sample_size=1024,
    ).eval()


def decoded(vae: AutoencoderKL, latents: torch.Tensor) -> tuple[torch.Tensor, list[tuple[int, ...]]]:
    """The picture, and the shape of the latents at each call of the decoder."""
    shapes: list[tuple[int, ...]] = []
    hook = vae.decoder.register_forward_pre_hook(lambda _, arguments: shapes.append(tuple(arguments[0].shape[-2:])))
    with torch.inference_mode():
        picture = vae.decode(latents).sample
    hook.remove()
    return picture, shapes


def test_a_picture_of_the_usual_size_is_decoded_in_tiles_and_looks_the_same(vae) -> None:
    latents = torch.randn(1, 4, 96, 96, generator=torch.Generator().manual_seed(1))
    whole, shapes = decoded(vae, latents)
    assert shapes == [(96, 96)]
    enable_tiles(vae)
    assert (vae.tile_sample_min_size, vae.tile_latent_min_size) == (512, 64)
    tiles, shapes = decoded(vae, latents)
    assert shapes == [(64, 64), (64, 48), (48, 64), (48, 48)]
    assert tiles.shape == whole.shape
    assert float((tiles - whole).abs().mean()) < 0.1 * float(whole.std())


def test_tiles_that_are_small_already_stay_as_they_are(vae) -> None:
    vae.tile_sample_min_size, vae.tile_latent_min_size = 256, 32
    enable_tiles(vae)
    assert (vae.tile_sample_min_size, vae.tile_latent_min_size) == (256, 32)


def test_tiles_after_memory_ran_out_are_small_too(vae) -> None:
    class Pipeline:
        pass

    pipeline = Pipeline()
    pipeline.vae = vae
    with tiled(pipeline, True):
        assert (vae.use_tiling, vae.tile_latent_min_size) == (True, 64)
    assert vae.use_tiling is False

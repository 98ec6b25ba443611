"""Widens the 8-fold autoencoder to the 16-fold one that is shipped.

The inner autoencoder (`vae`) codes half-size pictures. The shipped one has one level more on each side: its decoder
draws the native size from the inner latents, and its encoder imitates "halve, then the inner encoder". So latents
that were stored once stay valid whatever is trained here, and the transformer sees a quarter of the tokens.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F

from tools.demo_model import checkpoint, vae
from tools.demo_model.optim import set_rate

OUTER = 16  # channels of the added level
FOLD = 16  # pixels a latent covers on each side


def widen(inner: AutoencoderKL) -> AutoencoderKL:
    """A 16-fold autoencoder: inner levels copied from `inner`, an added level that starts near doing nothing."""
    model = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 5,
        up_block_types=("UpDecoderBlock2D",) * 5,
        block_out_channels=(OUTER, 16, 32, 64, 64),
        layers_per_block=1,
        latent_channels=vae.LATENT_CHANNELS,
        norm_num_groups=1,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    vae.start(model)
    encoder, decoder = model.encoder, model.decoder
    for k in range(4):
        encoder.down_blocks[k + 1].load_state_dict(inner.encoder.down_blocks[k].state_dict(), strict=False)
        decoder.up_blocks[k].load_state_dict(inner.decoder.up_blocks[k].state_dict(), strict=False)
    for name in ("mid_block", "conv_norm_out", "conv_out"):
        getattr(encoder, name).load_state_dict(getattr(inner.encoder, name).state_dict())
        getattr(decoder, name).load_state_dict(getattr(inner.decoder, name).state_dict())
    decoder.conv_in.load_state_dict(inner.decoder.conv_in.state_dict())
    encoder.conv_in.load_state_dict(inner.encoder.conv_in.state_dict())
    average = encoder.down_blocks[0].downsamplers[0].conv
    with torch.no_grad():
        average.weight.zero_()
        average.bias.zero_()
        for channel in range(OUTER):
            average.weight[channel, channel, :2, :2] = 0.25
    return model


def aligned_crops(
    pictures: np.ndarray, latents: np.ndarray, size: int, count: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """`count` crops of `size` px with their latents: (count, 3, size, size) and (count, c, size/16, size/16)."""
    cells = size // FOLD
    crops, codes = [], []
    for _ in range(count):
        k = int(rng.integers(latents.shape[0]))
        row, column = (int(rng.integers(extent - cells + 1)) for extent in latents.shape[2:])
        y, x = row * FOLD, column * FOLD
        crops.append(pictures[k, y : y + size, x : x + size])
        codes.append(latents[k, :, row : row + cells, column : column + cells])
    return vae.to_model(np.stack(crops)), torch.from_numpy(np.stack(codes).astype(np.float32))


def crop_plan(progress: float) -> tuple[int, int]:
    """(crop size in px, crops a step): whole pictures in the last part, where the statistics are those of use."""
    return (128, 8) if progress < 0.5 else (256, 2)


def train(folder: Path, steps: int, *, rate: float = 1.5e-3, device: str = "cpu", report: int = 50) -> AutoencoderKL:
    """Train the added levels (and the decoder below them) into `folder`/vae-outer.pt, resuming from there."""
    path = folder / "vae-outer.pt"
    state = checkpoint.load(path)
    torch.manual_seed(9)
    inner = vae.build()
    inner.load_state_dict((checkpoint.load(folder / "vae.pt") or {})["model"])
    model = widen(inner) if state is None else widen(vae.build())
    if state is not None:
        model.load_state_dict(state["model"])
    model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    named = list(model.named_parameters())
    optimizer = vae.optimizer_for(named, rate)
    if state is not None:
        optimizer.load_state_dict(state["optimizer"])
    pictures = np.load(folder / "pictures" / "square.npy", mmap_mode="r")
    latents = np.load(folder / "latents" / "square.npy", mmap_mode="r")
    started = saved = time.time()
    for step in range(state["step"] if state else 0, steps):
        progress = step / steps
        set_rate(optimizer, rate * min(1.0, (step + 1) / 30) * (0.02 + 0.49 * (1 + math.cos(math.pi * progress))))
        size, count = crop_plan(progress)
        x, z = aligned_crops(pictures, latents, size, count, np.random.default_rng((4, step)))
        losses = train_step(model, x.to(device), z.to(device), encode=size == 256, device=device)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % report == report - 1:
            psnr = vae.held_out_psnr(model, 8)
            print(f"outer {step + 1} {losses} psnr {psnr:.2f} {time.time() - started:.0f}s", flush=True)
        if time.time() - saved > 60 or step == steps - 1:
            checkpoint.save(path, {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1})
            saved = time.time()
    vae.fix_variance(model)
    return model.eval()


def train_step(model: AutoencoderKL, pictures: Tensor, latents: Tensor, encode: bool, device: str) -> str:
    """Backward of the decoder's loss and, for whole pictures, of the encoder's; returns the losses in words."""
    noisy = latents + torch.randn_like(latents) * vae.LATENT_NOISE * torch.rand(latents.shape[0], 1, 1, 1) * 2
    with torch.autocast(device, torch.bfloat16):
        output = model.decode(noisy, return_dict=False)[0].float()
    drawn = vae.reconstruction_loss(output, pictures) + 2.0 * F.mse_loss(output, pictures)
    drawn.backward()
    if not encode:
        return f"decode {drawn.item():.4f}"
    with torch.autocast(device, torch.bfloat16):
        coded = model.encode(pictures).latent_dist.mean.float()
    imitated = F.mse_loss(coded, latents)
    imitated.backward()
    return f"decode {drawn.item():.4f} encode {imitated.item():.4f}"

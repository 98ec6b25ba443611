"""The inner autoencoder (diffusers `AutoencoderKL`, 8-fold, 12 channels) and its training; `vae_outer` widens it."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F

from tools.demo_model import checkpoint
from tools.demo_model.optim import MuonAdamW, set_rate
from tools.demo_model.paint import paint
from tools.demo_model.pictures import HELD_OUT_SEED
from tools.demo_model.scene import sample_scene

LATENT_CHANNELS = 12
LATENT_NOISE = 0.08  # added in training so that small errors of the transformer stay invisible
LOG_VARIANCE = -6.0


def build() -> AutoencoderKL:
    """An untrained autoencoder: identity-like convolutions, silent residual branches."""
    model = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 64, 64),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=1,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    start(model)
    return model


def start(model: nn.Module) -> None:
    """Make the inner convolutions near-identities and the residual branches silent."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            if name.endswith("conv2"):
                nn.init.zeros_(module.weight)
            elif module.in_channels >= 16 and module.out_channels >= 16:
                nn.init.dirac_(module.weight)
                with torch.no_grad():
                    module.weight.add_(torch.randn_like(module.weight) * 0.02)


def fix_variance(model: AutoencoderKL) -> None:
    """Make the encoder's variance the constant it was trained with (only the mean half is learned)."""
    with torch.no_grad():
        model.encoder.conv_out.weight[LATENT_CHANNELS:] = 0
        model.encoder.conv_out.bias[LATENT_CHANNELS:] = LOG_VARIANCE


def reconstruction_loss(output: Tensor, target: Tensor) -> Tensor:
    """L1 on pixels, on their differences (edges) and on 4-fold averages (flat colours)."""
    error = output - target
    edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    return error.abs().mean() + 0.5 * edges + 0.5 * F.avg_pool2d(error, 4).abs().mean()


def latent_loss(latents: Tensor) -> Tensor:
    """Keeps every channel near zero mean and unit spread."""
    flat = latents.transpose(0, 1).flatten(1)
    return flat.mean(1).square().mean() + (flat.std(1) - 1).square().mean()


def crops(store: np.ndarray, size: int, count: int, rng: np.random.Generator) -> Tensor:
    """`count` random crops of `size` px from uint8 pictures, as (count, 3, size, size) in -1..1."""
    height, width = store.shape[1:3]
    out = np.empty((count, size, size, 3), np.uint8)
    for k in range(count):
        y, x = int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))
        out[k] = store[int(rng.integers(store.shape[0])), y : y + size, x : x + size]
    return to_model(out)


def to_model(pictures: np.ndarray) -> Tensor:
    """uint8 (n, h, w, 3) → float (n, 3, h, w) in -1..1, channels last in memory."""
    values = torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2)
    return (values.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def optimizer_for(parameters: list[tuple[str, nn.Parameter]], rate: float) -> MuonAdamW:
    """Muon for the inner convolutions, AdamW for norms, biases and the outermost layers."""
    outer = ("conv_in.weight", "conv_out.weight")
    inner = [p for n, p in parameters if p.ndim == 4 and not n.endswith(outer)]
    rest = [p for n, p in parameters if p.ndim != 4 or n.endswith(outer)]
    return MuonAdamW(inner, rest, lr=rate, decay=0.0)


def crop_plan(progress: float) -> tuple[int, int]:
    """(crop size in px, crops a step): small crops first, whole pictures last, about equal work a step."""
    if progress < 0.55:
        return 64, 32
    return (128, 8) if progress < 0.85 else (256, 2)


def train(folder: Path, steps: int, *, rate: float = 2e-3, device: str = "cpu", report: int = 100) -> AutoencoderKL:
    """Train encoder and decoder into `folder`/vae.pt, resuming from there."""
    path = folder / "vae.pt"
    store = np.load(folder / "pictures" / "square.npy", mmap_mode="r")
    torch.manual_seed(7)
    model = build()
    state = checkpoint.load(path)
    if state is not None:
        model.load_state_dict(state["model"])
    model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = optimizer_for(list(model.named_parameters()), rate)
    if state is not None:
        optimizer.load_state_dict(state["optimizer"])
    started = saved = time.time()
    for step in range(state["step"] if state else 0, steps):
        progress = step / steps
        set_rate(optimizer, rate * min(1.0, (step + 1) / 50) * (0.02 + 0.49 * (1 + math.cos(math.pi * progress))))
        size, count = crop_plan(progress)
        loss = train_step(model, crops(store, size, count, np.random.default_rng(step)).to(device), device)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % report == report - 1:
            psnr = held_out_psnr(model, 12)
            print(f"vae {step + 1} loss {loss:.4f} psnr {psnr:.2f} {time.time() - started:.0f}s", flush=True)
        if time.time() - saved > 60 or step == steps - 1:
            checkpoint.save(path, {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1})
            saved = time.time()
    fix_variance(model)
    return model.eval()


def train_step(model: AutoencoderKL, pictures: Tensor, device: str) -> float:
    """Forward and backward on one batch; returns the loss."""
    with torch.autocast(device, torch.bfloat16):
        latents = model.encode(pictures).latent_dist.mean
        noisy = latents + torch.randn_like(latents) * LATENT_NOISE
        output = model.decode(noisy, return_dict=False)[0].float()
    loss = reconstruction_loss(output, pictures) + 2.0 * F.mse_loss(output, pictures)
    loss = loss + 0.05 * latent_loss(latents.float())
    loss.backward()
    return float(loss.detach())


def held_out_pictures(count: int, width: int = 256, height: int = 256) -> np.ndarray:
    """Pictures that training never sees, uint8 (count, height, width, 3)."""
    seeds = [HELD_OUT_SEED + k for k in range(count)]
    return np.stack([paint(sample_scene(np.random.default_rng(s)), width, height, s) for s in seeds])


@torch.no_grad()
def held_out_psnr(model: AutoencoderKL, count: int) -> float:
    """Mean PSNR in dB of encode → decode on held-out pictures at the native size."""
    return float(np.mean(psnrs(model, held_out_pictures(count))))


@torch.no_grad()
def psnrs(model: AutoencoderKL, pictures: np.ndarray) -> list[float]:
    """PSNR in dB of each picture."""
    model.eval()
    device = next(model.parameters()).device
    values = []
    for picture in pictures:
        x = to_model(picture[None]).to(device)
        y = model.decode(model.encode(x).latent_dist.mean, return_dict=False)[0].clamp(-1, 1)
        values.append(-10 * math.log10(float(((x - y) / 2).square().mean()) + 1e-10))
    model.train()
    return values

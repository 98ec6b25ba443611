"""Trains the transformer by flow matching: curriculum over sizes, Muon and AdamW, averaged weights, checkpoints."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor, nn

from tools.demo_model import checkpoint, transformer
from tools.demo_model.batches import Batch, Batches
from tools.demo_model.optim import MuonAdamW, set_rate

RATE = 2e-3
WARM_UP = 40


@dataclass(frozen=True)
class Stage:
    """`steps` updates of `batch` samples; `decay` is the share of steps at the end with a falling rate."""

    name: str
    half: bool
    steps: int
    batch: int
    rate: float = RATE
    decay: float = 0.0
    average: float = 0.998


def times(count: int, generator: torch.Generator) -> Tensor:
    """Noise levels in 0..1, denser in the middle: sigmoid of N(0.3, 1.2)."""
    return torch.sigmoid(0.3 + 1.2 * torch.randn(count, generator=generator))


def velocity_loss(model: nn.Module, batch: Batch, half: bool, generator: torch.Generator) -> Tensor:
    """Mean squared error of the predicted velocity (noise minus picture)."""
    latents = batch.latents
    noise = torch.randn(latents.shape, generator=generator).to(latents.device)
    t = times(latents.shape[0], generator).to(latents.device)
    level = t[:, None, None, None]
    noisy = (1 - level) * latents + level * noise
    target = transformer.pack(noise - latents)
    return nn.functional.mse_loss(predict(model, noisy, t, batch, half, torch.ones_like(t)), target)


def predict(model: nn.Module, noisy: Tensor, t: Tensor, batch: Batch, half: bool, guidance: Tensor) -> Tensor:
    """The packed velocity at `noisy` (n, c, h, w) and noise level `t` (n,)."""
    rows, columns = noisy.shape[2] // 2, noisy.shape[3] // 2
    device = noisy.device.type
    with torch.autocast(device, torch.bfloat16):
        output = model(
            hidden_states=transformer.pack(noisy),
            encoder_hidden_states=batch.text,
            pooled_projections=batch.pooled,
            timestep=t,
            img_ids=transformer.image_ids(rows, columns, 2.0 if half else 1.0).to(noisy.device),
            txt_ids=torch.zeros(batch.text.shape[1], 3, device=noisy.device),
            guidance=guidance,
            joint_attention_kwargs={"key_bias": batch.bias},
            return_dict=False,
        )[0]
    return output.float()


class Average:
    """Exponential moving average of a model's parameters; early on it forgets faster, so that it never lags."""

    def __init__(self, model: nn.Module):
        self.values = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int, keep: float) -> None:
        """Move towards the model's present weights."""
        keep = min(keep, (step + 1) / (step + 10))
        for name, p in model.named_parameters():
            self.values[name].lerp_(p.detach(), 1 - keep)


def rate_at(stage: Stage, step: int) -> float:
    """The learning rate at `step` of the stage."""
    remaining = (stage.steps - step) / max(stage.decay * stage.steps, 1)
    return stage.rate * min(1.0, (step + 1) / WARM_UP, remaining if stage.decay else 1.0)


def train(
    model: FluxTransformer2DModel, path: Path, stages: list[Stage], batches: dict[bool, Batches], *,
    compiled: bool = False, save_every: float = 120.0, report: int = 20,
) -> FluxTransformer2DModel:  # fmt: skip
    """Run the stages in order, resuming from `path`; returns the model holding its averaged weights."""
    model.set_attn_processor(transformer.BiasedAttention())
    average, run = Average(model), torch.compile(model, dynamic=False) if compiled else model
    state = checkpoint.load(path)
    at, first, total = 0, 0, 0
    if state is not None:
        model.load_state_dict(state["model"])
        average.values, at, first, total = state["average"], state["stage"], state["step"], state["total"]
    optimizer = MuonAdamW(*transformer.split_parameters(model), lr=RATE)
    if state is not None:
        optimizer.load_state_dict(state["optimizer"])
    started = saved = time.time()
    drawn, losses = 0, []
    for number in range(at, len(stages)):
        stage = stages[number]
        for step in range(first, stage.steps):
            generator = torch.Generator().manual_seed(1_000_003 * (number + 1) + step)
            set_rate(optimizer, rate_at(stage, step))
            loss = velocity_loss(run, batches[stage.half](total, stage.batch), stage.half, generator)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            average.update(model, total, stage.average)
            total, drawn = total + 1, drawn + stage.batch
            losses.append(float(loss.detach()))
            if total % report == 0:
                print(f"{stage.name} {step + 1}/{stage.steps} loss {sum(losses) / len(losses):.4f} "
                      f"{drawn / (time.time() - started):.1f}/s {time.time() - started:.0f}s", flush=True)  # fmt: skip
                losses = []
            last = step == stage.steps - 1
            if last or time.time() - saved > save_every:
                where = {"stage": number + last, "step": 0 if last else step + 1, "total": total}
                tensors = {"model": model.state_dict(), "average": average.values, "optimizer": optimizer.state_dict()}
                checkpoint.save(path, {**where, **tensors})
                saved = time.time()
        first = 0
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(average.values[name])
    return model

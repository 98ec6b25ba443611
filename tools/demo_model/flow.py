"""Trains the transformer by flow matching: Muon and AdamW, averaged weights, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from tools.demo_model import checkpoint, transformer
from tools.demo_model.batches import Batch, Batches
from tools.demo_model.optim import MuonAdamW, set_rate

Model = TypeVar("Model", bound=nn.Module)
# (model, noisy latents, noise level, batch, guidance) → packed velocity; one for each architecture
Predict = Callable[[nn.Module, Tensor, Tensor, Batch, Tensor], Tensor]
RATE = 2e-3
WARM_UP = 40


@dataclass(frozen=True)
class Course:
    """`steps` updates of `batch` samples; `decay` is the share of steps at the end with a falling rate."""

    steps: int
    batch: int
    rate: float = RATE
    decay: float = 0.0
    average: float = 0.999


def times(count: int, generator: torch.Generator) -> Tensor:
    """Noise levels in 0..1, denser in the middle: sigmoid of N(0.3, 1.2)."""
    return torch.sigmoid(0.3 + 1.2 * torch.randn(count, generator=generator))


def velocity_loss(model: nn.Module, batch: Batch, generator: torch.Generator, predict: Predict) -> Tensor:
    """Mean squared error of the predicted velocity (noise minus picture)."""
    latents = batch.latents
    noise = torch.randn(latents.shape, generator=generator).to(latents.device)
    t = times(latents.shape[0], generator).to(latents.device)
    level = t[:, None, None, None]
    noisy = (1 - level) * latents + level * noise
    target = transformer.pack(noise - latents)
    return nn.functional.mse_loss(predict(model, noisy, t, batch, torch.ones_like(t)), target)


def predict_flux(model: nn.Module, noisy: Tensor, t: Tensor, batch: Batch, guidance: Tensor) -> Tensor:
    """The packed velocity at `noisy` (n, c, h, w) and noise level `t` (n,)."""
    rows, columns = noisy.shape[2] // 2, noisy.shape[3] // 2
    device = noisy.device.type
    with torch.autocast(device, torch.bfloat16):
        output = model(
            hidden_states=transformer.pack(noisy),
            encoder_hidden_states=batch.text,
            pooled_projections=batch.pooled,
            timestep=t,
            img_ids=transformer.image_ids(rows, columns).to(noisy.device),
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


def rate_at(course: Course, step: int) -> float:
    """The learning rate at `step` of the course."""
    remaining = (course.steps - step) / max(course.decay * course.steps, 1)
    return course.rate * min(1.0, (step + 1) / WARM_UP, remaining if course.decay else 1.0)


def train(
    model: Model, path: Path, course: Course, batches: Batches, predict: Predict, *,
    compiled: bool = False, save_every: float = 120.0, report: int = 50,
) -> Model:  # fmt: skip
    """Follow the course, resuming from `path`; returns the model holding its averaged weights."""
    state = checkpoint.load(path)
    if state is not None:
        model.load_state_dict(state["model"])
    average, run = Average(model), torch.compile(model, dynamic=False) if compiled else model
    optimizer = MuonAdamW(*transformer.split_parameters(model), lr=course.rate)
    first = 0
    if state is not None:
        optimizer.load_state_dict(state["optimizer"])
        average.values, first = state["average"], state["step"]
    started = saved = time.time()
    losses: list[float] = []
    for step in range(first, course.steps):
        generator = torch.Generator().manual_seed(1_000_003 + step)
        set_rate(optimizer, rate_at(course, step))
        loss = velocity_loss(run, batches(step, course.batch), generator, predict)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average.update(model, step, course.average)
        losses.append(float(loss.detach()))
        if (step + 1) % report == 0:
            seconds = time.time() - started
            pace = (step + 1 - first) * course.batch / seconds
            print(f"flow {step + 1} loss {sum(losses) / len(losses):.4f} {pace:.1f}/s {seconds:.0f}s", flush=True)
            losses = []
        if step == course.steps - 1 or time.time() - saved > save_every:
            tensors = {"model": model.state_dict(), "average": average.values, "optimizer": optimizer.state_dict()}
            checkpoint.save(path, {"step": step + 1, **tensors})
            saved = time.time()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(average.values[name])
    return model

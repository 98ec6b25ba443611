"""Guidance distillation: trains the transformer to compute guidance w in one pass instead of two.

The student at guidance w imitates v_u + w (v_c − v_u) of the frozen teacher (Meng et al. 2023). At w = 1 it stays the
plain conditional model.
"""

from __future__ import annotations

import copy
import time
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import FluxTransformer2DModel
from torch import nn

from tools.demo_model import checkpoint, flow, transformer
from tools.demo_model.batches import Batch, Batches
from tools.demo_model.optim import MuonAdamW, set_rate

STRONGEST = 5.0


def empty_text(batch: Batch, batches: Batches) -> Batch:
    """`batch` with every caption replaced by the empty one (and its padding kept)."""
    count = batch.latents.shape[0]
    ids = torch.zeros(count, batch.text.shape[1], dtype=torch.long).numpy()
    ids[:, 0] = 1
    clip_ids = torch.full((count, 77), batches.end).numpy()
    clip_ids[:, 0] = batches.end - 1
    text, pooled, lengths = batches.features(ids, clip_ids, batch.text.shape[1])
    tokens = batch.latents.shape[2] * batch.latents.shape[3] // 4
    padding = torch.full((count,), 50)
    bias = transformer.padding_bias(lengths, padding, text.shape[1], tokens)
    return replace(batch, text=text, pooled=pooled, bias=bias).to(batches.device)


def distill(
    model: FluxTransformer2DModel, path: Path, batches: Batches, *, steps: int = 250, batch: int = 32,
    rate: float = 6e-4, compiled: bool = False, save_every: float = 120.0, average_keep: float = 0.98,
) -> FluxTransformer2DModel:  # fmt: skip
    """Distil `model` in place, resuming from `path`; returns it with averaged weights."""
    teacher = copy.deepcopy(model)  # gradients stay possible: then it shares the compiled graph of the student
    average = flow.Average(model)
    optimizer = MuonAdamW(*transformer.split_parameters(model), lr=rate)
    first = 0
    state = checkpoint.load(path)
    if state is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average.values, first = state["average"], state["step"]
    run = torch.compile(model, dynamic=False) if compiled else model
    guide = torch.compile(teacher, dynamic=False) if compiled else teacher
    started = saved = time.time()
    for step in range(first, steps):
        generator = torch.Generator().manual_seed(77_000_000 + step)
        set_rate(optimizer, rate * min(1.0, (step + 1) / 20, (steps - step) / (0.5 * steps)))
        one = batches(50_000_000 + step, batch)
        noise = torch.randn(one.latents.shape, generator=generator).to(batches.device)
        t = flow.times(batch, generator).to(batches.device)
        level = t[:, None, None, None]
        noisy = (1 - level) * one.latents + level * noise
        w = 1 + (STRONGEST - 1) * torch.rand(batch, generator=generator).to(batches.device)
        ones = torch.ones_like(w)
        with_text = flow.predict_flux(guide, noisy, t, one, ones).detach()
        without = flow.predict_flux(guide, noisy, t, empty_text(one, batches), ones).detach()
        target = without + w[:, None, None] * (with_text - without)
        loss = nn.functional.mse_loss(flow.predict_flux(run, noisy, t, one, w), target)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average.update(model, step, average_keep)
        if step % 20 == 19:
            print(f"distil {step + 1}/{steps} loss {float(loss):.4f} {time.time() - started:.0f}s", flush=True)
        if time.time() - saved > save_every or step == steps - 1:
            tensors = {"model": model.state_dict(), "average": average.values, "optimizer": optimizer.state_dict()}
            checkpoint.save(path, {"step": step + 1, **tensors})
            saved = time.time()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(average.values[name])
    return model

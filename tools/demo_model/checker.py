"""The checker: a small CNN trained on procedural pictures that classifies what a picture shows.

It judges generated pictures in the evaluation; it is no part of the model. The attributes are those of `labels`.
"""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tools.demo_model import checkpoint
from tools.demo_model.labels import ATTRIBUTES, label
from tools.demo_model.optim import MuonAdamW, set_rate
from tools.demo_model.paint import paint
from tools.demo_model.pictures import BUCKETS, HELD_OUT_SEED, scene_of
from tools.demo_model.scene import sample_scene

SIDE = 128  # pictures are judged at half the native size


class Checker(nn.Module):
    """Convolutions down to 8 × 8, then all attributes at once."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 48, 96, 128)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(8, after), nn.GELU()]
            layers += [nn.Conv2d(after, after, 3, 1, 1), nn.GroupNorm(8, after), nn.GELU()]
        self.features = nn.Sequential(*layers)
        self.sizes = [len(options) for options in ATTRIBUTES.values()]
        self.reduce = nn.Conv2d(128, 32, 1)
        self.hidden = nn.Linear(32 * 64 + 128, 192)
        self.heads = nn.Linear(192, sum(self.sizes))

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """pictures (n, 3, SIDE, SIDE) in -1..1 → one (n, classes) per attribute."""
        grid = self.features(pictures)
        flat = torch.cat([self.reduce(grid).flatten(1), grid.amax((2, 3))], 1)
        return self.heads(F.gelu(self.hidden(flat))).split(self.sizes, -1)


def to_checker(pictures: np.ndarray) -> Tensor:
    """uint8 (n, 256, 256, 3) → (n, 3, SIDE, SIDE)."""
    x = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    x = F.avg_pool2d(x, x.shape[-1] // SIDE)
    return x.contiguous(memory_format=torch.channels_last)


def disturb(pictures: Tensor, rng: torch.Generator) -> Tensor:
    """Slight blur, noise and colour shifts, so that it judges content and not the renderer's crispness."""
    out = pictures + 0.03 * torch.randn(pictures.shape, generator=rng)
    out = out + 0.04 * torch.randn((pictures.shape[0], 3, 1, 1), generator=rng)
    if float(torch.rand((), generator=rng)) < 0.5:
        out = 0.5 * out + 0.5 * F.avg_pool2d(out, 3, 1, 1)
    return out


def train(folder: Path, steps: int = 2500, batch: int = 48, rate: float = 2e-3) -> Checker:
    """Train on the painted square pictures into `folder`/checker.pt, or load it from there."""
    model = Checker().to(memory_format=torch.channels_last)
    path = folder / "checker.pt"
    state = checkpoint.load(path)
    first = 0
    matrices = [p for n, p in model.named_parameters() if p.ndim > 1 and not n.startswith(("heads", "features.0."))]
    chosen = {id(p) for p in matrices}
    optimizer = MuonAdamW(matrices, [p for p in model.parameters() if id(p) not in chosen], lr=rate)
    if state is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    store = np.load(folder / "pictures" / "square.npy", mmap_mode="r") if first < steps else np.empty(0)
    square = BUCKETS["square"]
    saved = started = time.time()
    for step in range(first, steps):
        set_rate(optimizer, rate * min(1.0, (step + 1) / 50, (steps - step) / (0.6 * steps)))
        rows = np.random.default_rng((5, step)).integers(store.shape[0], size=batch)
        target = torch.tensor([label(scene_of(square, int(k))) for k in rows])
        x = disturb(to_checker(store[np.sort(rows)][np.argsort(np.argsort(rows))]), torch.Generator().manual_seed(step))
        with torch.autocast("cpu", torch.bfloat16):
            outputs = model(x)
        loss = sum((F.cross_entropy(o.float(), target[:, k]) for k, o in enumerate(outputs)), torch.zeros(()))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 100 == 99:
            print(f"checker {step + 1} loss {float(loss):.3f} {time.time() - started:.0f}s", flush=True)
        if time.time() - saved > 60 or step == steps - 1:
            checkpoint.save(path, {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1})
            saved = time.time()
    return model.eval()


@torch.no_grad()
def read(model: Checker, pictures: np.ndarray) -> list[dict[str, str]]:
    """What the checker sees in each uint8 picture (n, 256, 256, 3): attribute → value."""
    outputs = model(to_checker(pictures))
    names = list(ATTRIBUTES)
    choices = torch.stack([o.argmax(-1) for o in outputs], 1).tolist()
    return [{names[k]: ATTRIBUTES[names[k]][c] for k, c in enumerate(row)} for row in choices]


def accuracy(model: Checker, count: int = 600) -> dict[str, float]:
    """The share of held-out procedural pictures on which each attribute is read right."""
    hits = np.zeros(len(ATTRIBUTES))
    for first in range(0, count, 50):
        scenes, pictures = [], []
        for k in range(first, min(first + 50, count)):
            seed = HELD_OUT_SEED + 1_000_000 + k
            scenes.append(sample_scene(np.random.default_rng(seed)))
            pictures.append(paint(scenes[-1], 256, 256, seed))
        with torch.no_grad():
            outputs = model(to_checker(np.stack(pictures)))
        truth = torch.tensor([label(scene) for scene in scenes])
        hits += np.array([float((o.argmax(-1) == truth[:, k]).sum()) for k, o in enumerate(outputs)])
    return {name: float(hits[k] / count) for k, name in enumerate(ATTRIBUTES)}

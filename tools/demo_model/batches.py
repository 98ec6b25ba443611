"""Training batches: latents, frozen text features and the padding bias, from the stored arrays.

Batch k is fully determined by (seed, k), so that a resumed run continues exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import T5EncoderModel

from tools.demo_model.pictures import BUCKETS, scene_of
from tools.demo_model.scene import Shapes
from tools.demo_model.transformer import padding_bias

LONGEST = 24  # tokens; the 1.6 % of captions that are longer are left out, so that one compiled shape serves all
DROP = 0.1  # share of captions replaced by the empty one, for guidance
MOST_PADDING = 500
# Shares of the draws: landscapes, one shape, two shapes. Exact outlines and pairs take the longest to learn.
SHARES = (0.42, 0.2, 0.38)


@dataclass
class Batch:
    """latents (n, c, h, w); text (n, t, d); pooled (n, d); bias (n, 1, 1, t + image tokens)."""

    latents: Tensor
    text: Tensor
    pooled: Tensor
    bias: Tensor

    def to(self, device: str) -> Batch:
        """The same batch on `device`."""
        return Batch(*(value.to(device) for value in (self.latents, self.text, self.pooled, self.bias)))


def kinds(folder: Path, name: str, count: int) -> np.ndarray:
    """How many shapes each of the first `count` pictures shows, int (count,), 0 to 2; kept beside the latents."""
    path = folder / "latents" / f"{name}-kinds.npy"
    if not path.exists() or len(np.load(path)) != count:
        scenes = (scene_of(BUCKETS[name], k) for k in range(count))
        np.save(path, np.array([len(scene.items) if isinstance(scene, Shapes) else 0 for scene in scenes]))
    return np.load(path)


class Batches:
    """Batches over all aspect-ratio buckets."""

    def __init__(self, folder: Path, t5: T5EncoderModel, clip: nn.Module, *, seed: int = 0, device: str = "cpu"):
        self.t5, self.clip, self.seed, self.device = t5, clip, seed, device
        self.latents, self.t5_ids, self.clip_ids, self.rows = {}, {}, {}, {}
        for name in BUCKETS:
            self.latents[name] = np.load(folder / "latents" / f"{name}.npy", mmap_mode="r")
            with np.load(folder / "latents" / f"{name}-captions.npz") as ids:
                self.t5_ids[name], self.clip_ids[name] = ids["t5"], ids["clip"]
            short = np.argwhere((self.t5_ids[name] != 0).sum(-1) <= LONGEST)
            shapes = kinds(folder, name, len(self.t5_ids[name]))[short[:, 0]]
            self.rows[name] = tuple(short[shapes == kind] for kind in range(len(SHARES)))
        self.end = int(self.clip_ids["square"].max())

    def __call__(self, step: int, count: int) -> Batch:
        """Batch number `step` of `count` samples, all of one bucket."""
        return self.draw(step, count)[2]

    def draw(self, step: int, count: int) -> tuple[str, np.ndarray, Batch]:
        """The same with its bucket and the numbers (count,) of its pictures there."""
        rng = np.random.default_rng((self.seed, step))
        names = list(BUCKETS)
        name = names[int(rng.choice(len(names), p=[BUCKETS[n].share for n in names]))]
        by_kind = [rows if len(rows) else self.all_rows(name) for rows in self.rows[name]]
        drawn = rng.choice(len(SHARES), size=count, p=SHARES)
        rows = np.stack([by_kind[kind][rng.integers(len(by_kind[kind]))] for kind in drawn])
        latents = torch.from_numpy(np.stack([self.latents[name][k] for k in rows[:, 0]]).astype(np.float32))
        t5_ids = self.t5_ids[name][rows[:, 0], rows[:, 1]].astype(np.int64)
        clip_ids = self.clip_ids[name][rows[:, 0], rows[:, 1]].astype(np.int64)
        dropped = rng.random(count) < DROP
        t5_ids[dropped], clip_ids[dropped, 1:] = 0, self.end
        t5_ids[dropped, 0] = 1
        padding = np.where(rng.random(count) < 0.1, 0, np.exp(rng.uniform(0, np.log(MOST_PADDING), count))).astype(
            np.int64
        )
        text, pooled, lengths = self.features(t5_ids, clip_ids, LONGEST + 1)
        tokens = latents.shape[2] * latents.shape[3] // 4
        bias = self.bias(lengths, torch.from_numpy(padding), text.shape[1], tokens)
        return name, rows[:, 0], Batch(latents, text, pooled, bias).to(self.device)

    def bias(self, lengths: Tensor, padding: Tensor, text_length: int, tokens: int) -> Tensor:
        """The attention bias of captions of `lengths` words and `padding` pads before `tokens` image tokens."""
        return padding_bias(lengths, padding, text_length, tokens)

    def all_rows(self, name: str) -> np.ndarray:
        """Every usable (picture, caption) of a bucket, for the tiny data sets that lack one kind of scene."""
        return np.concatenate(self.rows[name])

    @torch.no_grad()
    def features(self, t5_ids: np.ndarray, clip_ids: np.ndarray, length: int) -> tuple[Tensor, Tensor, Tensor]:
        """(text (n, length, d), pooled (n, d), real lengths (n,)) of ids; the last position is always padding."""
        ids = torch.from_numpy(t5_ids[:, :length].copy())
        text = self.t5(input_ids=ids).last_hidden_state.float()
        pooled = self.clip(input_ids=torch.from_numpy(clip_ids[:, : 3 + 2 * length])).pooler_output.float()
        return text, pooled, (ids != 0).sum(1)

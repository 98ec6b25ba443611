"""Serves training batches: latents, frozen text features and the padding bias, from the stored arrays.

Batch k is fully determined by (seed, k), so a resumed run sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPTextModel, T5EncoderModel

from tools.demo_model.pictures import BUCKETS
from tools.demo_model.transformer import padding_bias

LONGEST = 24  # tokens; the 1.6 % of captions that are longer are left out, so that one compiled shape serves all
DROP = 0.1  # share of captions replaced by the empty one, for guidance
MOST_PADDING = 500


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


class Batches:
    """Batches over all aspect-ratio buckets."""

    def __init__(self, folder: Path, t5: T5EncoderModel, clip: CLIPTextModel, *, seed: int = 0, device: str = "cpu"):
        self.t5, self.clip, self.seed, self.device = t5, clip, seed, device
        self.latents, self.t5_ids, self.clip_ids, self.rows = {}, {}, {}, {}
        for name in BUCKETS:
            self.latents[name] = np.load(folder / "latents" / f"{name}.npy", mmap_mode="r")
            with np.load(folder / "latents" / f"{name}-captions.npz") as ids:
                self.t5_ids[name], self.clip_ids[name] = ids["t5"], ids["clip"]
            self.rows[name] = np.argwhere((self.t5_ids[name] != 0).sum(-1) <= LONGEST)
        self.end = int(self.clip_ids["square"].max())

    def __call__(self, step: int, count: int) -> Batch:
        """Batch number `step` of `count` samples, all of one bucket."""
        rng = np.random.default_rng((self.seed, step))
        names = list(BUCKETS)
        name = names[int(rng.choice(len(names), p=[BUCKETS[n].share for n in names]))]
        rows = self.rows[name][rng.integers(len(self.rows[name]), size=count)]
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
        bias = padding_bias(lengths, torch.from_numpy(padding), text.shape[1], tokens)
        return Batch(latents, text, pooled, bias).to(self.device)

    @torch.no_grad()
    def features(self, t5_ids: np.ndarray, clip_ids: np.ndarray, length: int) -> tuple[Tensor, Tensor, Tensor]:
        """(text (n, length, d), pooled (n, d), real lengths (n,)) of ids; the last position is always padding."""
        ids = torch.from_numpy(t5_ids[:, :length].copy())
        text = self.t5(input_ids=ids).last_hidden_state.float()
        pooled = self.clip(input_ids=torch.from_numpy(clip_ids[:, : 3 + 2 * length])).pooler_output.float()
        return text, pooled, (ids != 0).sum(1)

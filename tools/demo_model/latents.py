"""Stores what the transformer trains on: latents of every picture (native and half size) and its captions' ids.

The transformer's loop then reads memory-mapped arrays only, and is never short of data.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from transformers import CLIPTokenizer, T5Tokenizer

from tools.demo_model.captions import caption
from tools.demo_model.pictures import BUCKETS, scene_of
from tools.demo_model.text import TOKENS, tokenize
from tools.demo_model.vae import to_model

CAPTIONS_EACH = 4


@torch.no_grad()
def encode_bucket(
    folder: Path, name: str, vae: AutoencoderKL, halve: bool, device: str = "cpu", batch: int = 8
) -> Path:
    """Latents of a bucket's pictures as float16 (n, channels, h, w); `halve` encodes them at half size."""
    path = folder / "latents" / f"{name}{'-half' if halve else ''}.npy"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = np.load(folder / "pictures" / f"{name}.npy", mmap_mode="r")
    count, height, width = pictures.shape[:3]
    scale = 16 if halve else 8
    shape = (count, vae.config.latent_channels, height // scale, width // scale)
    partial = path.with_suffix(".part.npy")
    store = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
    for first in range(0, count, batch):
        x = to_model(np.asarray(pictures[first : first + batch])).to(device)
        if halve:
            x = torch.nn.functional.avg_pool2d(x, 2).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, torch.bfloat16):
            z = vae.encode(x).latent_dist.mean
        store[first : first + batch] = z.float().cpu().numpy()
    store.flush()
    partial.rename(path)
    return path


def write_captions(folder: Path, name: str, count: int) -> Path:
    """Ids of CAPTIONS_EACH captions for every picture of a bucket: T5 (n, c, TOKENS) and CLIP (n, c, 77)."""
    path = folder / "latents" / f"{name}-captions.npz"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    t5, clip = T5Tokenizer.from_pretrained(folder / "tokenizer_2"), CLIPTokenizer.from_pretrained(folder / "tokenizer")
    bucket = BUCKETS[name]
    texts = []
    for index in range(count):
        scene = scene_of(bucket, index)
        texts += [
            caption(scene, np.random.default_rng((bucket.first_seed + index, 2, k))) for k in range(CAPTIONS_EACH)
        ]
    t5_ids, clip_ids = tokenize(texts, t5, clip)
    partial = path.with_suffix(".part.npz")
    np.savez(
        partial,
        t5=t5_ids.numpy().astype(np.int16).reshape(count, CAPTIONS_EACH, TOKENS),
        clip=clip_ids.numpy().astype(np.int16).reshape(count, CAPTIONS_EACH, 77),
    )
    partial.rename(path)
    return path

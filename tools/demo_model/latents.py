"""Precomputes the transformer's training data: latents of all pictures and ids of their captions.

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
from tools.demo_model.vae_outer import FOLD

CAPTIONS_EACH = 4


@torch.no_grad()
def encode_bucket(folder: Path, name: str, model: AutoencoderKL, device: str = "cpu", batch: int = 8) -> Path:
    """Latents of a bucket's pictures as float16 (n, channels, height/16, width/16).

    `model` is the inner autoencoder, which codes the pictures at half size, or the whole 16-fold one.
    """
    path = folder / "latents" / f"{name}.npy"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = np.load(folder / "pictures" / f"{name}.npy", mmap_mode="r")
    count, height, width = pictures.shape[:3]
    inner = len(model.config.block_out_channels) == 4
    partial = path.with_suffix(".part.npy")
    shape = (count, model.config.latent_channels, height // FOLD, width // FOLD)
    store = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
    for first in range(0, count, batch):
        x = to_model(np.asarray(pictures[first : first + batch])).to(device)
        if inner:
            x = torch.nn.functional.avg_pool2d(x, 2).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, torch.bfloat16):
            z = model.encode(x).latent_dist.mean
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

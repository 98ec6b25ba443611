"""The built-in upscaler: a small `SRVGGNetCompact` that doubles the size of drawings, and its training.

    python -m tools.demo_model.upscaler --out builtin/upscaler/drawings-x2.safetensors --scratch demo_scratch

Targets are drawings at their size; inputs are the same ones at half of it, made small in different ways, or made
small and passed through the built-in model's autoencoder, whose softness the upscaler learns to undo. Resumes from its
last checkpoint. On one CPU core without bfloat16 instructions it takes about 25 minutes.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from tools.demo_model import checkpoint
from tools.demo_model.optim import MuonAdamW, set_rate
from tools.demo_model.paint import paint
from tools.demo_model.pictures import HELD_OUT_SEED, is_held_out
from tools.demo_model.scene import sample_scene

SCALE = 2
FEATURES, CONVOLUTIONS = 32, 10
CROP = 40  # pixels of an input
BATCH = 16
FIRST_SEED = 700_000_000
PAINTED = {256: 120, 384: 120, 512: 300, 768: 100, 1024: 60}  # how many targets of each size, in pixels
DECODED = 200  # of those of 512 pixels, whose inputs passed the autoencoder too
FLAT_KEPT = 0.03  # share of crops without an edge that are used all the same


class Upscaler(nn.Module):
    """SRVGGNetCompact with the parameters' names of Real-ESRGAN, so that any program that reads those reads it."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, FEATURES, 3, 1, 1), nn.PReLU(FEATURES)]
        for _ in range(CONVOLUTIONS):
            layers += [nn.Conv2d(FEATURES, FEATURES, 3, 1, 1), nn.PReLU(FEATURES)]
        for layer in layers[::2]:
            nn.init.kaiming_normal_(layer.weight, a=0.25)  # type: ignore[arg-type]  # keeps the spread through all layers
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        last = nn.Conv2d(FEATURES, 3 * SCALE**2, 3, 1, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.body = nn.ModuleList([*layers, last])

    def forward(self, pictures: Tensor) -> Tensor:
        values = pictures
        for layer in self.body:
            values = layer(values)
        return F.pixel_shuffle(values, SCALE) + F.interpolate(pictures, scale_factor=SCALE, mode="nearest")


def painted(size: int, count: int, first_seed: int, *, held_out: bool = False) -> np.ndarray:
    """`count` drawings of `size` × `size`, uint8; of combinations for training, or of any."""
    found = []
    seed = first_seed
    while len(found) < count:
        scene = sample_scene(np.random.default_rng(seed))
        if held_out or not is_held_out(scene):
            found.append(paint(scene, size, size, seed))
        seed += 1
    return np.stack(found)


def halved(picture: np.ndarray, how: int) -> np.ndarray:
    """`picture` at half its size: 0 averaged, as drawings are made, 1 bicubic, 2 Lanczos."""
    image = Image.fromarray(picture)
    if how == 0:
        return np.asarray(image.reduce(SCALE))
    size = (image.width // SCALE, image.height // SCALE)
    return np.asarray(image.resize(size, (Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)[how - 1]))


@torch.inference_mode()
def decoded(pictures: list[np.ndarray], model: Path) -> list[np.ndarray]:
    """`pictures` through the built-in model's autoencoder."""
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(model, subfolder="vae", torch_dtype=torch.float32).eval()
    made = []
    for picture in pictures:
        sent = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        drawn = vae.decode(vae.encode(sent).latent_dist.mean, return_dict=False)[0][0]
        made.append(((drawn.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy())
    return made


class Pairs:
    """Crops of inputs with their targets, from pictures in memory."""

    def __init__(self, scratch: Path, model: Path) -> None:
        self.targets: list[np.ndarray] = []
        self.inputs: list[np.ndarray] = []
        for size, count in PAINTED.items():
            targets = list(
                _stored(scratch / f"targets-{size}.npy", lambda s=size, n=count: painted(s, n, FIRST_SEED + s))
            )
            self.targets += targets
            self.inputs += [halved(target, k % 3) for k, target in enumerate(targets)]
        painted_inputs = self.inputs[PAINTED[256] + PAINTED[384] :][:DECODED]
        soft = list(_stored(scratch / "decoded.npy", lambda: np.stack(decoded(painted_inputs, model))))
        self.targets += self.targets[PAINTED[256] + PAINTED[384] :][:DECODED]
        self.inputs += soft

    def batch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Inputs and targets, float (n, 3, h, w) from 0 to 1, turned and mirrored at random."""
        inputs, targets = [], []
        while len(inputs) < BATCH:
            k = int(rng.integers(len(self.inputs)))
            small, large = self.inputs[k], self.targets[k]
            y, x = (int(rng.integers(side - CROP + 1)) for side in small.shape[:2])
            given = small[y : y + CROP, x : x + CROP]
            if int(given.max(axis=(0, 1)).max()) - int(given.min(axis=(0, 1)).min()) < 40 and rng.random() > FLAT_KEPT:
                continue
            wanted = large[SCALE * y : SCALE * (y + CROP), SCALE * x : SCALE * (x + CROP)]
            turns, mirrored = int(rng.integers(4)), rng.random() < 0.5
            for made, crop in ((inputs, given), (targets, wanted)):
                turned = np.rot90(crop, turns)
                made.append(turned[:, ::-1] if mirrored else turned)
        return _tensor(inputs), _tensor(targets)


def _stored(path: Path, make) -> np.ndarray:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part.npy")
        np.save(partial, make())
        partial.rename(path)
    return np.load(path, mmap_mode="r")


def _tensor(crops: list[np.ndarray]) -> Tensor:
    values = torch.from_numpy(np.ascontiguousarray(np.stack(crops))).permute(0, 3, 1, 2).float() / 255
    return values.contiguous(memory_format=torch.channels_last)


def loss_of(output: Tensor, target: Tensor) -> Tensor:
    """Squares. With absolute errors it learns nothing: most of a drawing is flat, so that their median is no change."""
    return 100 * (output - target).square().mean()


def train(scratch: Path, model: Path, steps: int, rate: float = 1e-3) -> Upscaler:
    """Train into `scratch`/upscaler.pt, resuming from there; returns the averaged weights."""
    pairs, path = Pairs(scratch, model), scratch / "upscaler.pt"
    torch.manual_seed(11)
    upscaler = Upscaler().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(upscaler)
    parameters = list(upscaler.named_parameters())
    inner = [p for name, p in parameters if p.shape[:2] == (FEATURES, FEATURES)]
    optimizer = MuonAdamW(inner, [p for _, p in parameters if not any(p is each for each in inner)], rate, decay=0.0)
    state = checkpoint.load(path)
    if state is not None:
        upscaler.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
    started = saved = time.time()
    for step in range(state["step"] if state else 0, steps):
        set_rate(optimizer, rate * min(1.0, (step + 1) / 50) * (0.01 + 0.495 * (1 + math.cos(math.pi * step / steps))))
        inputs, targets = pairs.batch(np.random.default_rng(step))
        loss = loss_of(upscaler(inputs), targets)
        loss.backward()
        nn.utils.clip_grad_norm_(upscaler.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for kept, new in zip(average.parameters(), upscaler.parameters(), strict=True):
                kept.lerp_(new, 0.02 if step > 100 else 0.5)
        if step % 200 == 199:
            print(
                step + 1,
                f"loss {float(loss.detach()):.4f}",
                figures(average, 8),
                f"{time.time() - started:.0f}s",
                flush=True,
            )
        if time.time() - saved > 60 or step == steps - 1:
            states = {"model": upscaler.state_dict(), "average": average.state_dict()}
            checkpoint.save(path, {**states, "optimizer": optimizer.state_dict(), "step": step + 1})
            saved = time.time()
    return average.eval()


@torch.inference_mode()
def figures(upscaler: nn.Module, count: int, size: int = 512) -> dict[str, float]:
    """Mean PSNR in dB on held-out drawings that were made small by averaging, and that of Lanczos."""
    ours, lanczos = [], []
    for target in painted(size, count, HELD_OUT_SEED + 5000, held_out=True):
        small = halved(target, 0)
        made = upscaler(_tensor([small]))[0].clamp(0, 1).permute(1, 2, 0).numpy() * 255
        resized = Image.fromarray(small).resize((size, size), Image.Resampling.LANCZOS)
        ours.append(psnr(made.round(), target))
        lanczos.append(psnr(np.asarray(resized), target))
    return {"upscaler": round(float(np.mean(ours)), 2), "lanczos": round(float(np.mean(lanczos)), 2)}


def psnr(made: np.ndarray, target: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB."""
    return -10 * math.log10(float(np.square((made.astype(float) - target) / 255).mean()) + 1e-10)


def export(upscaler: nn.Module, out: Path) -> None:
    """Write the weights in 16 bits."""
    from safetensors.torch import save_file

    out.parent.mkdir(parents=True, exist_ok=True)
    halves = {name: value.half().contiguous() for name, value in upscaler.state_dict().items()}
    save_file(halves, out, metadata={"format": "pt", "architecture": "SRVGGNetCompact", "scale": str(SCALE)})


def main() -> None:
    """Train and export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=Path("builtin/demo"), help="whose autoencoder softens inputs")
    parser.add_argument("--steps", type=int, default=5500)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    upscaler = train(arguments.scratch, arguments.model, arguments.steps)
    export(upscaler, arguments.out)
    print(arguments.out, arguments.out.stat().st_size, figures(upscaler, 24))


if __name__ == "__main__":
    main()

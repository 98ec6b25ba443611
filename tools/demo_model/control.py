"""The built-in control model: a `FluxControlNetModel` that draws along the edges of a picture, and its training.

    python -m tools.demo_model.control --out builtin/control --scratch demo_scratch

It learns beside the frozen transformer of `builtin/demo`, from drawings and their Canny edges as `POST /api/preprocess`
makes them. Resumes from its last checkpoint. On one core of a busy machine it took 80 minutes.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import FluxControlNetModel, FluxControlNetPipeline, FluxTransformer2DModel
from PIL import Image
from torch import Tensor, nn

from app.files.control_pictures import canny
from tools.demo_model import checkpoint, export, pictures, text, transformer
from tools.demo_model.batches import Batch, Batches
from tools.demo_model.captions import caption
from tools.demo_model.flow import Average, times
from tools.demo_model.optim import MuonAdamW, set_rate
from tools.demo_model.paint import paint
from tools.demo_model.pictures import BUCKETS, HELD_OUT_SEED
from tools.demo_model.scene import sample_scene
from tools.demo_model.train import start_from, store_latents

PICTURES = 8000
BATCH = 32
RATE = 2e-3
DECAY = 0.5  # share of the steps at the end with a falling rate
HINT_FOLD = 8  # the hint block of diffusers makes its picture so much smaller
TOLERANCE = 2  # pixels between an edge and the one that it is counted for


def build(model: FluxTransformer2DModel) -> FluxControlNetModel:
    """An untrained control model of one single block at the width of `model`: it adds nothing yet.

    The edges come through a hint block of their own, since the autoencoder never saw any: the block's 3 channels at
    1/8 of the size fill the 48 numbers of a token of 32 × 32 pixels. It is not told the guidance, which training does
    not vary.
    """
    config = model.config
    side = 32 // HINT_FOLD
    net = FluxControlNetModel(
        patch_size=side, in_channels=config.in_channels, num_layers=0, num_single_layers=1,
        attention_head_dim=config.attention_head_dim, num_attention_heads=config.num_attention_heads,
        joint_attention_dim=config.joint_attention_dim, pooled_projection_dim=config.pooled_projection_dim,
        guidance_embeds=False, axes_dims_rope=config.axes_dims_rope,
        conditioning_embedding_channels=config.in_channels // side**2,
    )  # fmt: skip
    for name in ("context_embedder", "x_embedder"):
        getattr(net, name).load_state_dict(getattr(model, name).state_dict())
    net.single_transformer_blocks[0].load_state_dict(model.single_transformer_blocks[0].state_dict())
    for embedder in ("timestep_embedder", "text_embedder"):
        getattr(net.time_text_embed, embedder).load_state_dict(getattr(model.time_text_embed, embedder).state_dict())
    # diffusers begins with zeros here and in `controlnet_blocks`; two in a row would pass no gradient.
    nn.init.kaiming_normal_(net.input_hint_block.conv_out.weight)
    return net


class PaddedAttention(transformer.BiasedAttention):
    """The attention of training for a control model, whose `forward` hands its blocks no bias for the padding."""

    bias: Tensor | None = None

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return super().__call__(*arguments, **named, key_bias=self.bias)


def edges_of(scratch: Path, name: str) -> np.ndarray:
    """Canny edges of a bucket's pictures, as bits (n, height, width / 8); kept in the scratch folder."""
    path = scratch / "edges" / f"{name}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn = np.load(scratch / "pictures" / f"{name}.npy", mmap_mode="r")
        np.save(path, np.stack([np.packbits(canny(np.asarray(each))[..., 0] > 0, axis=1) for each in drawn]))
    return np.load(path)


class ControlBatches:
    """Batches with the edges of their pictures, as the pipeline hands them to the control model."""

    def __init__(self, scratch: Path) -> None:
        self.batches = Batches(scratch, *text.load(scratch))
        self.edges = {name: edges_of(scratch, name) for name in BUCKETS}

    def __call__(self, step: int) -> tuple[Batch, Tensor]:
        """Batch number `step`, and edges (n, 3, height, width) from -1 to 1."""
        name, numbers, batch = self.batches.draw(step, BATCH)
        bits = np.unpackbits(self.edges[name][numbers], axis=2)
        return batch, torch.from_numpy(bits).float()[:, None].expand(-1, 3, -1, -1) * 2 - 1


def loss_of(model: FluxTransformer2DModel, net: FluxControlNetModel, batch: Batch, edges: Tensor, seed: int) -> Tensor:
    """Mean squared error of the velocity that the frozen model predicts with the control model's help."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(batch.latents.shape, generator=generator)
    t = times(noise.shape[0], generator)
    level = t[:, None, None, None]
    noisy = (1 - level) * batch.latents + level * noise
    shared = {
        "hidden_states": transformer.pack(noisy), "encoder_hidden_states": batch.text,
        "pooled_projections": batch.pooled, "timestep": t,
        "img_ids": transformer.image_ids(noisy.shape[2] // 2, noisy.shape[3] // 2),
        "txt_ids": torch.zeros(batch.text.shape[1], 3), "return_dict": False,
    }  # fmt: skip
    with torch.autocast("cpu", torch.bfloat16):
        _, samples = net(controlnet_cond=edges, **shared)
        velocity = model(
            **shared, guidance=torch.ones_like(t), controlnet_single_block_samples=samples,
            joint_attention_kwargs={"key_bias": batch.bias},
        )[0]  # fmt: skip
    return nn.functional.mse_loss(velocity.float(), transformer.pack(noise - batch.latents))


def train(scratch: Path, folder: Path, steps: int, *, compiled: bool = False) -> FluxControlNetModel:
    """Train into `scratch`/control.pt, resuming from there; returns the averaged weights."""
    serve, path = ControlBatches(scratch), scratch / "control.pt"
    model = FluxTransformer2DModel.from_pretrained(folder, subfolder="transformer", torch_dtype=torch.float32)
    model.requires_grad_(False).set_attn_processor(transformer.BiasedAttention())
    torch.manual_seed(17)
    net = build(model)
    attention = PaddedAttention()
    for block in net.single_transformer_blocks:
        block.attn.set_processor(attention)
    average, optimizer = Average(net), MuonAdamW(*transformer.split_parameters(net), lr=RATE)
    state = checkpoint.load(path) or {"step": 0}
    if state["step"]:
        net.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average.values = state["average"]
    run_model, run_net = (torch.compile(each, dynamic=False) if compiled else each for each in (model, net))
    started = saved = time.time()
    losses: list[float] = []
    for step in range(state["step"], steps):
        set_rate(optimizer, RATE * min(1.0, (step + 1) / 40, (steps - step) / (DECAY * steps)))
        batch, edges = serve(step)
        attention.bias = batch.bias
        loss = loss_of(run_model, run_net, batch, edges, 2_000_003 + step)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average.update(net, step, 0.999)
        losses.append(float(loss.detach()))
        if step % 100 == 99:
            pace = (step + 1 - state["step"]) * BATCH / (time.time() - started)
            print(f"control {step + 1} loss {np.mean(losses):.4f} {pace:.0f}/s", flush=True)
            losses = []
        if time.time() - saved > 60 or step == steps - 1:
            tensors = {"model": net.state_dict(), "average": average.values, "optimizer": optimizer.state_dict()}
            checkpoint.save(path, {"step": step + 1, **tensors})
            saved = time.time()
    return averaged(scratch, model)


def averaged(scratch: Path, model: FluxTransformer2DModel) -> FluxControlNetModel:
    """The control model with the averaged weights of the last checkpoint."""
    state = checkpoint.load(scratch / "control.pt")
    if state is None:
        raise FileNotFoundError(scratch / "control.pt")
    net = build(model)
    net.load_state_dict(state["average"], strict=False)
    return net.eval()


@torch.inference_mode()
def figures(net: FluxControlNetModel, folder: Path, count: int, weight: float = 1.0) -> dict[str, float]:
    """Agreement (F1, 0 to 1) of the edges of drawings with the ones asked for, on held-out scenes: with the control
    model, and from the same prompts and seeds without."""
    pipeline = FluxControlNetPipeline.from_pretrained(folder, controlnet=net, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    found: dict[str, list[float]] = {"with": [], "without": []}
    for k in range(count):
        wanted, prompt = held_out(k)
        for name, scale in (("with", weight), ("without", 0.0)):
            drawn = pipeline(
                prompt=prompt, width=256, height=256,
                control_image=Image.fromarray(wanted), controlnet_conditioning_scale=scale, num_inference_steps=12,
                guidance_scale=2.5, max_sequence_length=64, generator=torch.Generator().manual_seed(k),
                output_type="np",
            ).images[0]  # fmt: skip
            edges = canny((drawn * 255).round().astype(np.uint8))
            found[name].append(agreement(edges[..., 0] > 0, wanted[..., 0] > 0))
    return {name: round(float(np.mean(values)), 3) for name, values in found.items()}


def held_out(number: int) -> tuple[np.ndarray, str]:
    """The edges of a drawing that training never saw, uint8 (256, 256, 3), and its caption."""
    seed = HELD_OUT_SEED + 7000 + number
    scene = sample_scene(np.random.default_rng(seed))
    return canny(paint(scene, 256, 256, seed)), caption(scene, np.random.default_rng(number))


def agreement(drawn: np.ndarray, wanted: np.ndarray) -> float:
    """F1 of two pictures of edges (bool), where an edge within TOLERANCE pixels counts as the same."""
    if not drawn.any() or not wanted.any():
        return float(drawn.any() == wanted.any())
    precision = float(drawn[widened(wanted)].sum() / drawn.sum())
    recall = float(wanted[widened(drawn)].sum() / wanted.sum())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def widened(edges: np.ndarray) -> np.ndarray:
    """Everything within TOLERANCE pixels of an edge."""
    size = 2 * TOLERANCE + 1
    return nn.functional.max_pool2d(torch.from_numpy(edges)[None].float(), size, 1, TOLERANCE)[0].numpy() > 0


def main() -> None:
    """Prepare what is missing in the scratch folder, train and export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=Path("builtin/demo"))
    parser.add_argument("--steps", type=int, default=1800)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--compile", action="store_true", help="torch.compile both models")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    start_from(arguments.model, arguments.scratch)
    for name, count in pictures.counts(arguments.pictures).items():
        pictures.paint_bucket(BUCKETS[name], count, arguments.scratch / "pictures")
    store_latents(arguments.scratch, "cpu")
    net = train(arguments.scratch, arguments.model, arguments.steps, compiled=arguments.compile)
    print(figures(net, arguments.model, 40), flush=True)
    net.to(torch.float16).save_pretrained(arguments.out)
    print(arguments.out, f"{export.megabytes(arguments.out):.1f} MB")


if __name__ == "__main__":
    main()

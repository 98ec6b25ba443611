"""Trains the built-in model from nothing, or further from exported weights, and exports it.

    python -m tools.demo_model.train --out builtin/demo --scratch demo_scratch --plan cpu
    python -m tools.demo_model.train --out builtin/demo --scratch demo_scratch --plan cpu-more --init-from builtin/demo

Every stage keeps its result in the scratch folder, is skipped when that is there, and resumes when it was interrupted.
`--stages` runs some of them only. See README.md here for what each does and how long it takes.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)

from tools.demo_model import (
    checkpoint,
    export,
    flow,
    latents,
    pictures,
    sd3,
    sd3_start,
    text,
    transformer,
    vae,
    vae_outer,
)
from tools.demo_model.batches import Batches
from tools.demo_model.distill import distill
from tools.demo_model.plan import PLANS, Plan

PAIRED_CAPTIONS = 3000  # read by both CLIPs, to tell one what the other means
STAGES = ("pictures", "vae", "text", "latents", "outer", "flow", "distill", "export")


def main() -> None:
    """Parse the command line and run the stages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the exported model")
    parser.add_argument("--scratch", type=Path, required=True, help="checkpoints and data sets; several GB")
    parser.add_argument(
        "--family", choices=("flux", "sd3"), default="flux", help="architecture; data and VAE are shared"
    )
    parser.add_argument("--plan", choices=sorted(PLANS), default="cpu")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument(
        "--init-from", type=Path, nargs="+", default=[], help="exported models to start from instead of nothing"
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="torch.compile the transformer (twice as fast)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for exported in arguments.init_from:
        start_from(exported, arguments.scratch)
    plan, scratch = PLANS[arguments.plan], arguments.scratch
    if arguments.family == "sd3":
        if not plan.text_steps:
            parser.error(f"the plan {arguments.plan} trains no text encoder; take cpu-sd3")
        run_sd3(plan, scratch, arguments.out, arguments.device, arguments.compile)
    else:
        run(plan, arguments.stages, scratch, arguments.out, arguments.device, arguments.compile)


def start_from(exported: Path, scratch: Path) -> None:
    """Unpack an exported model into the scratch folder, as if its stages had just run; keeps what is there."""
    scratch.mkdir(parents=True, exist_ok=True)
    pipeline = DiffusionPipeline.from_pretrained(exported, torch_dtype=torch.float32)
    if isinstance(pipeline, StableDiffusion3Pipeline):
        if not (scratch / "start-sd3.pt").exists():
            checkpoint.save(scratch / "clip-sd3.pt", {"clip": pipeline.text_encoder.state_dict()})
            checkpoint.save(scratch / "start-sd3.pt", {"model": pipeline.transformer.state_dict()})
        return
    if (scratch / "start.pt").exists():
        return
    for name in ("tokenizer", "tokenizer_2"):
        shutil.copytree(exported / name, scratch / name, dirs_exist_ok=True)
    checkpoint.save(scratch / "vae-outer.pt", {"model": pipeline.vae.state_dict(), "step": 0})
    encoders = {"t5": pipeline.text_encoder_2.state_dict(), "clip": pipeline.text_encoder.state_dict()}
    checkpoint.save(scratch / "text.pt", encoders)
    checkpoint.save(scratch / "start.pt", {"model": pipeline.transformer.state_dict()})


def run(plan: Plan, stages: list[str], scratch: Path, out: Path, device: str, compiled: bool) -> None:
    """Run the named stages in their order."""
    if "pictures" in stages:
        for name, count in pictures.counts(plan.pictures).items():
            pictures.paint_bucket(pictures.BUCKETS[name], count, scratch / "pictures")
    if "vae" in stages and plan.vae_steps:
        vae.train(scratch, plan.vae_steps, rate=2e-3, device=device)
    if "text" in stages and plan.text_steps:
        text.train(scratch, plan.text_steps, captions=plan.text_captions)
    if "latents" in stages:
        store_latents(scratch, device)
    if "outer" in stages:
        vae_outer.train(scratch, plan.outer_steps, device=device)
    if "flow" in stages or "distill" in stages:
        model, serve = starting_transformer(scratch).to(device), batches_in(scratch, device)
        if "flow" in stages:
            flow.train(model, scratch / "flow.pt", plan.flow, serve, flow.predict_flux, compiled=compiled)
        if "distill" in stages:
            load_average(model, scratch / "flow.pt")
            steps, batch = plan.distill_steps, plan.distill_batch
            distill(model, scratch / "distill.pt", serve, steps=steps, batch=batch, compiled=compiled)
    if "export" in stages:
        write(scratch, out)


def run_sd3(plan: Plan, scratch: Path, out: Path, device: str, compiled: bool) -> None:
    """Train and export the SD 3 sibling on the pictures, autoencoder, T5, latents and transformer that `run` left."""
    clip = sd3.train_clip(scratch, plan.text_steps, plan.text_captions)
    t5, _ = text.load(scratch)
    serve = sd3.Sd3Batches(scratch, t5, clip, device=device)
    model = starting_sd3(scratch, serve).to(device)
    flow.train(model, scratch / "flow-sd3.pt", plan.flow, serve, sd3.predict, compiled=compiled)
    made = sd3.pipeline(outer_vae(scratch), t5, clip, model.to("cpu"), scratch)
    export.export(made, out, export.describe("demo-sd3", "StableDiffusion3Pipeline", "tokenizer_3"))
    print(f"exported {out}: {export.megabytes(out):.1f} MB", flush=True)


def starting_sd3(scratch: Path, serve: sd3.Sd3Batches) -> SD3Transformer2DModel:
    """The transformer that an exported sibling brought, or what the trained FLUX one knows, or an untrained one."""
    torch.manual_seed(5)
    model = sd3.build()
    if (state := checkpoint.load(scratch / "start-sd3.pt")) is not None:
        model.load_state_dict(state["model"])
    elif (scratch / "flow.pt").exists():
        flux, (_, flux_clip) = transformer.build(), text.load(scratch)
        load_average(flux, scratch / "flow.pt")
        ids = serve.captions(PAIRED_CAPTIONS)
        with torch.no_grad():
            pooled = sd3.pool(serve.clip, ids), flux_clip(input_ids=ids).pooler_output.float()
        sd3_start.carry_over(flux, model, pooled)
    return model


def starting_transformer(scratch: Path) -> FluxTransformer2DModel:
    """An untrained transformer, or the one that an exported model brought."""
    torch.manual_seed(3)
    model = transformer.build()
    state = checkpoint.load(scratch / "start.pt")
    if state is not None:
        model.load_state_dict(state["model"])
    return model


def store_latents(scratch: Path, device: str) -> None:
    """Latents and caption ids for every bucket."""
    model = (inner_vae(scratch) if (scratch / "vae.pt").exists() else outer_vae(scratch)).to(device)
    for name in pictures.BUCKETS:
        count = int(np.load(scratch / "pictures" / f"{name}.npy", mmap_mode="r").shape[0])
        latents.write_captions(scratch, name, count)
        latents.encode_bucket(scratch, name, model, device)


def inner_vae(scratch: Path) -> AutoencoderKL:
    """The trained inner autoencoder."""
    return loaded(vae.build(), scratch / "vae.pt")


def outer_vae(scratch: Path) -> AutoencoderKL:
    """The trained 16-fold autoencoder."""
    return loaded(vae_outer.widen(vae.build()), scratch / "vae-outer.pt")


def loaded(model: AutoencoderKL, path: Path) -> AutoencoderKL:
    """`model` with the weights of a checkpoint, ready for use."""
    state = checkpoint.load(path)
    if state is None:
        raise FileNotFoundError(path)
    model.load_state_dict(state["model"])
    vae.fix_variance(model)
    return model.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]


def batches_in(scratch: Path, device: str) -> Batches:
    """Batches from the stored latents, with the frozen text encoders."""
    return Batches(scratch, *text.load(scratch), device=device)


def load_average(model: FluxTransformer2DModel, path: Path) -> None:
    """Put the averaged weights of a flow or distillation checkpoint into `model`, if there is one."""
    state = checkpoint.load(path)
    if state is not None:
        model.load_state_dict(state["model"])
        model.load_state_dict(state["average"], strict=False)


def write(scratch: Path, out: Path) -> None:
    """Export what has been trained so far to `out`."""
    model = starting_transformer(scratch)
    load_average(model, scratch / ("distill.pt" if (scratch / "distill.pt").exists() else "flow.pt"))
    pipeline = export.flux_pipeline(outer_vae(scratch), *text.load(scratch), model, scratch)
    export.export(pipeline, out, export.describe("demo", "FluxPipeline", "tokenizer_2"))
    print(f"exported {out}: {export.megabytes(out):.1f} MB", flush=True)


if __name__ == "__main__":
    main()

"""`python -m bench.gpu --family flux`: measure on the first GPU; `--tiny --device cpu` only shows that it runs."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

from app.engines.attention_check import preload_cuda_12_runtime

preload_cuda_12_runtime()  # before diffusers imports xformers, whose extension is linked with it

import diffusers  # noqa: E402
import torch  # noqa: E402

from bench.gpu import comparison  # noqa: E402
from bench.gpu.random_weights import build  # noqa: E402
from bench.machine import describe_machine  # noqa: E402
from bench.null_control import NullControl  # noqa: E402

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def main() -> None:
    asked = _parser().parse_args()
    print(describe_machine())
    print(f"torch {torch.__version__}, diffusers {diffusers.__version__}; {vars(asked)}\n", flush=True)
    service = Path(tempfile.mkdtemp(prefix="cyberimage-gpu-", dir=asked.scratch))
    try:
        write(asked, service / "model")
        loading(asked, service / "model")
        drawing(asked, service / "model")
    finally:
        shutil.rmtree(service)


def write(asked: argparse.Namespace, folder: Path) -> None:
    """Make the weights on the device and put them on the disk, where a checkpoint would be."""
    pipeline = build(asked.family, torch.device(asked.device), DTYPES[asked.dtype], tiny=asked.tiny)
    pipeline.save_pretrained(folder, safe_serialization=True, max_shard_size="5GB")
    size = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    print(f"weights: {size / 1e9:.1f} GB\n", flush=True)
    del pipeline
    comparison.release()


def loading(asked: argparse.Namespace, folder: Path) -> None:
    """Load times from the page cache to the device: a plain script, our engine, our engine with another model to
    evict."""
    kept: list[Any] = []

    def plain() -> None:
        kept.append(diffusers.DiffusionPipeline.from_pretrained(folder, dtype=DTYPES[asked.dtype]).to(asked.device))

    rows = {"plain diffusers": comparison.timed(plain)}
    kept.clear()
    comparison.release()
    engine, (first, second) = comparison.engine_of(folder, ("first", "second"), asked.dtype, most=1)
    rows["our engine"] = comparison.timed(lambda: engine.load(first, NullControl()))
    rows["our engine, in exchange for another model"] = comparison.timed(lambda: engine.load(second, NullControl()))
    rows["our engine, when it is in memory"] = comparison.timed(lambda: engine.load(second, NullControl()))
    engine.unload("second")
    comparison.release()
    print("| load | seconds |\n|---|---|")
    for name, seconds in rows.items():
        print(f"| {name} | {seconds:.2f} |")
    print(flush=True)


def drawing(asked: argparse.Namespace, folder: Path) -> None:
    """Seconds per image with each kind of attention, and compiled. Both sides use the same weights."""
    engine, (spec,) = comparison.engine_of(folder, ("model",), asked.dtype, most=0)
    engine.load(spec, NullControl())
    resident = engine._model_cache.get(spec)  # a second copy would not fit everywhere
    assert resident is not None
    contenders = {
        "plain diffusers": comparison.drawn_plainly(resident.pipeline, asked.side, asked.steps),
        "our engine": comparison.drawn_by_the_engine(engine, spec, asked.side, asked.steps),
    }
    print("| attention | compiled | contender | seconds a picture | peak GB |\n|---|---|---|---|---|")
    for kind in asked.attention:
        report(asked, kind, "no", resident.pipeline, contenders)
    if asked.compile:
        comparison.compile_blocks(resident.pipeline)
        report(asked, asked.attention[0], "yes", resident.pipeline, contenders)


def report(asked: argparse.Namespace, kind: str, compiled: str, pipeline: Any, contenders: dict[str, Any]) -> None:
    try:
        with comparison.attention(kind, pipeline):
            found = comparison.compare(contenders, asked.rounds)
    except (RuntimeError, NotImplementedError, ValueError, ImportError) as error:
        print(f"| {kind} | {compiled} | does not run here: {str(error).splitlines()[0][:90]} | | |", flush=True)
        return
    for name, (seconds, peak) in found.items():
        print(f"| {kind} | {compiled} | {name} | {seconds:.3f} | {peak / 1e9:.1f} |", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parser.add_argument("--family", choices=("flux", "sd35"), default="flux")
    parser.add_argument("--side", type=int, default=1024, help="pixels")
    parser.add_argument("--steps", type=int, default=28)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="bfloat16")
    parser.add_argument("--attention", nargs="+", choices=("native", "cudnn", "xformers"), default=["native"])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--scratch", help="folder with room for the weights (34 GB)")
    parser.add_argument("--tiny", action="store_true", help="the small checkpoints of the tests instead")
    return parser


if __name__ == "__main__":
    main()

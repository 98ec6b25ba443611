"""Loads one checkpoint when told to, so that another process can watch its memory: `python -m … FOLDER DTYPE PART,…`.

Prints the planned peak of loading as `ready <bytes>`, waits for a line, loads, and prints `loaded`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from app.core.catalog import ModelOptions, ModelSpec
from app.core.memory_plan import Form, PlannedModel, loading_order, plans
from app.engines.diffusers.load.build import build_pipeline
from app.engines.diffusers.load.checkpoint import inspect_folder
from app.engines.diffusers.load.load_plan import LoadPlan
from app.engines.diffusers.load.quantization import Compression
from app.engines.diffusers.memory.part_shapes import part_shapes


def main(folder: Path, dtype: torch.dtype, cast: tuple[str, ...]) -> None:
    torch.set_num_threads(1)
    checkpoint, plain = inspect_folder(folder, None), LoadPlan(torch.device("cpu"), dtype)
    parts, form = part_shapes(checkpoint, plain), Form("tested", kinds=dict.fromkeys(cast, "float8"))
    planned = plans(PlannedModel(parts, on_gpu=False), [form])[0].device.loading
    order = tuple(part.name for part in loading_order(parts, form))
    load_plan = LoadPlan(torch.device("cpu"), dtype, compression=Compression(cast=cast), order=order)
    options = ModelOptions(pipeline_class="FluxPipeline")
    spec = ModelSpec(id="m", name="m", repo=str(folder), description="", source="local", options=options)
    small = LoadPlan(torch.device("cpu"), torch.float32)
    build_pipeline(spec, inspect_folder(Path(sys.argv[4]), None), small)  # what the libraries allocate once
    say(f"ready {planned}")
    sys.stdin.readline()
    pipeline = build_pipeline(spec, checkpoint, load_plan)
    say(f"loaded {type(pipeline).__name__}")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), getattr(torch, sys.argv[2]), tuple(filter(None, sys.argv[3].split(","))))

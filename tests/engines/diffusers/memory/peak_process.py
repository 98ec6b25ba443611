"""Loads checkpoints when told to, each in a process of its own whose memory another one can watch.

`python -m … FOLDER`: the libraries are imported once. For each line `FOLDER DTYPE PART PART…` a process is forked,
which loads the small checkpoint in the FOLDER of the command, for what the libraries allocate once, prints its id and
the planned peak of loading as `ready <pid> <bytes>`, waits for a line, loads, prints `loaded <class>`, or `failed`,
and ends. The first process computes nothing: the threads of OpenMP do not survive a fork.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

import torch

from app.core.catalog import ModelOptions, ModelSpec
from app.core.memory_plan import Form, PlannedModel, loading_order, plans
from app.engines.diffusers.load.build import build_pipeline, find_class
from app.engines.diffusers.load.checkpoint import Checkpoint, inspect_folder
from app.engines.diffusers.load.load_plan import LoadPlan
from app.engines.diffusers.load.quantization import Compression
from app.engines.diffusers.memory.part_shapes import part_shapes


def main(small: Path) -> None:
    find_class("FluxPipeline")
    say("begun")
    for line in iter(sys.stdin.readline, ""):
        folder, dtype, *cast = line.split()
        if (child := os.fork()) == 0:
            run(small, Path(folder), getattr(torch, dtype), tuple(cast))
        os.waitpid(child, 0)


def run(small: Path, folder: Path, dtype: torch.dtype, cast: tuple[str, ...]) -> NoReturn:
    try:
        torch.set_num_threads(1)
        build(inspect_folder(small, None), LoadPlan(torch.device("cpu"), torch.float32))
        load(folder, dtype, cast)
    except Exception:  # noqa: BLE001 - the other side waits for a line
        traceback.print_exc()
        say("failed")
    os._exit(0)


def load(folder: Path, dtype: torch.dtype, cast: tuple[str, ...]) -> None:
    checkpoint, plain = inspect_folder(folder, None), LoadPlan(torch.device("cpu"), dtype)
    parts, form = part_shapes(checkpoint, plain), Form("tested", kinds=dict.fromkeys(cast, "float8"))
    planned = plans(PlannedModel(parts, on_gpu=False), [form])[0].device.loading
    order = tuple(part.name for part in loading_order(parts, form))
    load_plan = LoadPlan(torch.device("cpu"), dtype, compression=Compression(cast=cast), order=order)
    say(f"ready {os.getpid()} {planned}")
    sys.stdin.readline()
    say(f"loaded {type(build(checkpoint, load_plan)).__name__}")


def build(checkpoint: Checkpoint, load_plan: LoadPlan) -> Any:
    options = ModelOptions(pipeline_class="FluxPipeline")
    spec = ModelSpec(id="m", name="m", repo=str(checkpoint.path), description="", source="local", options=options)
    return build_pipeline(spec, checkpoint, load_plan)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

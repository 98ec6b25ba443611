"""`python -m bench.gpu.proof --out FOLDER`: prove on one GPU, in minutes, what no CPU can.

First the checks of correctness on tiny checkpoints, then the table at the true size of each family with random weights.
Every stage has a price in seconds: one that the time left does not cover is left out, and said to be. Results are
written after each (proof.md, proof.json), so that a run which is cut off loses one stage. Needs no network, no disk
space, and neither Flask, SQLAlchemy nor PyAV; `--tiny --device cpu` shows that it runs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.engines.attention_check import preload_cuda_12_runtime

preload_cuda_12_runtime()  # before diffusers imports xformers, whose extension is linked with it

import diffusers  # noqa: E402
import torch  # noqa: E402

from bench.gpu import stages  # noqa: E402
from bench.gpu.checks import CHECKS, Bench  # noqa: E402
from bench.gpu.comparison import release  # noqa: E402
from bench.gpu.stages import Run  # noqa: E402

# At the true size on an H100, planned and not measured: seconds that must be left to begin.
PRICES: tuple[tuple[Callable[[Run], dict[str, Any]], float, bool], ...] = (
    (stages.weights, 20, False),
    (stages.plain, 35, False),
    (stages.engine, 30, False),
    (stages.profiles, 150, False),
    (stages.swap, 30, True),
    (stages.float8, 70, True),
    (stages.offload, 60, True),
)
CHECK_PRICE = 10.0


class Report:
    """What was found so far, written to `folder` after each addition."""

    def __init__(self, folder: Path, budget: float) -> None:
        self._folder, self._budget, self._began = folder, budget, time.perf_counter()
        self._found: dict[str, Any] = {"machine": machine()}
        self.failed = 0
        self._write()

    @property
    def left(self) -> float:
        return self._budget - (time.perf_counter() - self._began)

    def stage(self, name: str, price: float, work: Callable[[], dict[str, Any]]) -> None:
        """Do `work` if there is time for it. What fails is a finding, and no end."""
        if self.left < price:
            self._found[name] = {"left out": f"{self.left:.0f} s are left, it may take {price:.0f}"}
        else:
            began = time.perf_counter()
            try:
                found = work()
            except (RuntimeError, AssertionError, ValueError, ImportError, TypeError, AttributeError, OSError) as error:
                self.failed += 1
                where = traceback.format_exc().splitlines()[-5:]
                found = {"FAILED": f"{type(error).__name__}: {str(error)[:600]}", "where": where}
            self._found[name] = {**found, "stage_s": round(time.perf_counter() - began, 1)}
        print(
            f"[{self._budget - self.left:6.1f} s] {name}: {json.dumps(self._found[name], default=str)[:1500]}",
            flush=True,
        )
        self._write()

    def _write(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "proof.json").write_text(json.dumps(self._found, indent=1, default=str) + "\n")
        sections = [f"## {name}\n\n{_table(found)}" for name, found in self._found.items()]
        (self._folder / "proof.md").write_text("\n\n".join(["# GPU proof", *sections]) + "\n")


def machine() -> dict[str, Any]:
    found: dict[str, Any] = {
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "python": sys.version.split()[0],
    }
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        capability = ".".join(map(str, torch.cuda.get_device_capability()))
        found |= {"device": torch.cuda.get_device_name(), "capability": capability}
        found |= {"free_gb": free / 1e9, "total_gb": total / 1e9, "cuda": torch.version.cuda}
    return found


def _table(found: dict[str, Any]) -> str:
    rows = [f"| {name} | {_cell(value)} |" for name, value in found.items()]
    return "\n".join(["| what | found |", "|---|---|", *rows])


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(each)}" for name, each in value.items())
    return str(value).replace("|", "/").replace("\n", " ")


def main(arguments: list[str] | None = None) -> int:
    """Returns 1 when a stage failed."""
    asked = _parser().parse_args(arguments)
    if asked.device.startswith("cuda") and not torch.cuda.is_available():
        print("There is no GPU that torch can use. With --tiny --device cpu it runs without, and proves little.")
        return 2
    torch.backends.cudnn.benchmark = False
    report = Report(asked.out, asked.budget)
    wanted = lambda name: not asked.only or name in asked.only  # noqa: E731
    with tempfile.TemporaryDirectory(prefix="cyberimage-proof-") as folder:
        bench = Bench(Path(folder), asked.device)
        for check in CHECKS:
            if wanted(check.__name__):
                report.stage(check.__name__, CHECK_PRICE, lambda: check(bench))  # noqa: B023
                release()
    for family in asked.family:
        run = _run(asked, family)
        for work, price, on_gpu_only in PRICES:
            name = work.__name__
            if (not wanted(name) and work not in (stages.weights, stages.plain)) or (on_gpu_only and asked.tiny):
                continue
            report.stage(f"{family}: {name}", price, lambda: work(run))  # noqa: B023
        run.pipeline = None
        torch.compiler.reset()
        release()
    return 1 if report.failed else 0


def _run(asked: argparse.Namespace, family: str) -> Run:
    device, dtype = torch.device(asked.device), torch.float32 if asked.device == "cpu" else torch.bfloat16
    side, steps = (64, 4) if asked.tiny else (asked.side, asked.steps)
    return Run(family, device, dtype, side, steps, asked.rounds, tiny=asked.tiny)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu.proof", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "proof")), help="folder of the results")
    parser.add_argument("--budget", type=float, default=520.0, help="seconds for everything")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--family", nargs="+", choices=("flux", "sd35"), default=["flux", "sd35"])
    parser.add_argument("--side", type=int, default=1024, help="pixels")
    parser.add_argument("--steps", type=int, default=28)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", nargs="*", help="names of stages and checks")
    parser.add_argument("--tiny", action="store_true", help="the small checkpoints of the tests instead")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""Generate the tables of docs/GPU.md from the code that decides.

python -m tools.gpu_docs          write them
python -m tools.gpu_docs --check  exit with 1 when they are not up to date
"""

from __future__ import annotations

import re
import sys

from app.config import ROOT
from app.core.device_plan import plan_devices
from app.core.device_reports import Card, DriverReport, TorchDevice, TorchReport
from app.core.torch_builds import CPU_BUILD, CUDA_BUILDS
from tools import generated
from tools.install import pinned_torch

PAGE = ROOT / "docs" / "GPU.md"
TORCH = pinned_torch(CUDA_BUILDS[0])
GPU = ("RTX 4090", (8, 9), 24_000_000_000)
OLD = ("Tesla P100", (6, 0), 16_000_000_000)
NEWER = ("a GPU of 2030", (15, 0), 64_000_000_000)
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")


def main(check: bool) -> int:
    return generated.write({PAGE: filled(PAGE.read_text())}, check=check)


def filled(page: str) -> str:
    """`page` with its tables as the code decides now."""
    for name, rows in (("builds", builds_table()), ("devices", devices_table())):
        table = "\n".join(rows)
        pattern = rf"(<!-- {name}: .*? -->\n).*?(<!-- /{name} -->)"
        page = re.sub(pattern, lambda found, table=table: f"{found[1]}\n{table}\n\n{found[2]}", page, flags=re.DOTALL)
    return page


def builds_table() -> list[str]:
    rows = ["| NVIDIA driver | torch | built for |", "|---|---|---|"]
    newest = ""
    for build in CUDA_BUILDS:
        below = f" to {newest}" if newest else " and newer"
        version = ".".join(map(str, build.cuda or ()))
        rows.append(f"| branch {build.least_driver}{below} | {pinned_torch(build)} | CUDA {version} |")
        newest = f"before {build.least_driver}"
    return [*rows, f"| older, or none | {pinned_torch(CPU_BUILD)} | CPU, where pip finds that build |"]


def devices_table() -> list[str]:
    rows = ["| machine | settings | workers | log |", "|---|---|---|---|"]
    for machine, environment, driver, torch, workers, device in cases():
        plan = plan_devices(environment, driver, torch, workers=workers, device=device)
        started = ", ".join(shown(dict(each.environment), each.label) for each in plan.workers)
        said = plan.error or " ".join(plan.notes)
        settings = {**environment, **({"WORKERS": workers} if workers != "auto" else {})}
        settings |= {"DEVICE": device} if device != "auto" else {}
        given = ", ".join(f"`{name}={value}`" for name, value in settings.items())
        rows.append(f"| {machine} | {given} | {started or 'refused'} | {said} |")
    return rows


def shown(environment: dict[str, str], label: str) -> str:
    visible = environment.get("CUDA_VISIBLE_DEVICES", environment.get("ZE_AFFINITY_MASK", ""))
    return f"{label} {visible}" if visible not in ("", "-1") else label


def cases() -> list[tuple[str, dict[str, str], DriverReport, TorchReport, str | int, str]]:
    nothing, cpu = DriverReport(), TorchReport(f"{TORCH}+cpu")
    one, four = cards(GPU), cards(*[GPU] * 4)
    blind = TorchReport(f"{TORCH}+cu130", cuda="13.0")
    late = DriverReport("550.54.14", one.cards)
    uuids = {"CUDA_VISIBLE_DEVICES": "GPU-c,GPU-a"}
    mig = TorchReport(TORCH, "13.0", kind="cuda", devices=(TorchDevice("MIG", "MIG-a"), TorchDevice("MIG", "MIG-b")))
    rocm = TorchReport(f"{TORCH}+rocm", hip="7", kind="cuda", devices=(TorchDevice("MI300X"),) * 2)
    xpu = TorchReport(f"{TORCH}+xpu", xpu="1", kind="xpu", devices=(TorchDevice("Arc"),))
    mps = TorchReport(TORCH, kind="mps", devices=(TorchDevice("Apple GPU"),))
    return [
        ("no GPU", {}, nothing, cpu, "auto", "auto"),
        ("no GPU", {}, nothing, cpu, "auto", "cuda"),
        ("4 GPUs", {}, four, seen(four), "auto", "auto"),
        ("4 GPUs", {"CUDA_VISIBLE_DEVICES": "2,3"}, four, seen(four, 2, 3), "auto", "auto"),
        ("4 GPUs", uuids, four, seen(four, 2, 0), "auto", "auto"),
        ("4 GPUs", {"CUDA_VISIBLE_DEVICES": "0,9"}, four, seen(four, 0), "auto", "auto"),
        ("4 GPUs", {"CUDA_VISIBLE_DEVICES": "-1"}, four, blind, "auto", "auto"),
        ("4 GPUs", {}, four, seen(four), "auto", "cuda:2"),
        ("4 GPUs", {}, four, seen(four), "auto", "cuda:7"),
        ("4 GPUs", {}, four, seen(four), "auto", "cpu"),
        ("1 GPU", {}, one, seen(one), 2, "auto"),
        ("1 GPU in two parts (MIG)", {"CUDA_VISIBLE_DEVICES": "MIG-a,MIG-b"}, one, mig, "auto", "auto"),
        ("1 GPU, torch for the CPU", {}, one, cpu, "auto", "auto"),
        ("1 GPU, old driver", {}, late, blind, "auto", "auto"),
        ("1 GPU, driver updated", {}, DriverReport(problem="Driver/library version mismatch"), blind, "auto", "auto"),
        ("an old and a usual GPU", {}, cards(OLD, GPU), seen(cards(OLD, GPU)), "auto", "auto"),
        ("a GPU newer than torch", {}, cards(NEWER), seen(cards(NEWER)), "auto", "auto"),
        ("2 AMD GPUs", {}, DriverReport(amd=True), rocm, "auto", "auto"),
        ("AMD GPU, torch for the CPU", {}, DriverReport(amd=True), cpu, "auto", "auto"),
        ("Intel GPU", {}, nothing, xpu, "auto", "auto"),
        ("Apple", {}, DriverReport(apple=True), mps, "auto", "auto"),
    ]


def cards(*found: tuple[str, tuple[int, int], int]) -> DriverReport:
    return DriverReport(
        "580.65.06", tuple(Card(number, f"GPU-{'abcd'[number]}", *card) for number, card in enumerate(found))
    )


def seen(driver: DriverReport, *numbers: int) -> TorchReport:
    """torch's report when it sees the cards of these numbers, by default all."""
    chosen = [driver.cards[number] for number in numbers] or driver.cards
    devices = tuple(TorchDevice(card.name, card.uuid, card.capability, card.memory_bytes) for card in chosen)
    return TorchReport(f"{TORCH}+cu130", "13.0", kind="cuda", devices=devices, architectures=ARCHITECTURES)


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))

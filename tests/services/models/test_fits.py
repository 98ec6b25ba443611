"""The devices that models have to fit: those of the live workers here, or of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import Settings, load_settings
from app.core.catalog_lines import parse_model_line
from app.core.fit import DrawingDevice
from app.core.worker_capabilities import Capabilities
from app.monitoring.resources import Gpu
from app.services.context import AppContext, open_context
from app.services.models import fits
from app.services.ops import stats
from app.store.queue.workers import WorkerReport

GB = 2**30
CARDS = [Gpu(0, "A", 12 * GB, 0, None, None, "GPU-aaaa"), Gpu(1, "B", 24 * GB, 0, None, None, "GPU-bbbb")]


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> list[Gpu]:
    cards: list[Gpu] = []
    monkeypatch.setattr(fits, "gpus", lambda: iter(cards))
    monkeypatch.setattr(fits, "ram_bytes", lambda: 32 * GB)
    monkeypatch.setattr(fits, "installed_packages", lambda: ())
    monkeypatch.setattr(fits.platform, "node", lambda: "here")
    return cards


@pytest.fixture
def context(tmp_path: Path) -> Iterator[AppContext]:
    opened = open_context(settings(tmp_path))
    yield opened
    opened.close()


def settings(folder: Path = Path("x"), **values: object) -> Settings:
    places = {"database_url": f"sqlite:///{folder}/db", "images_dir": folder / "i", "model_cache_dir": folder / "m"}
    return load_settings({}, None, **(places | values))


def worker(device: str, device_id: str, host: str = "here", lane: str = "local") -> dict[str, object]:
    return {"host": host, "device": device, "device_id": device_id, "lane": lane, "models": []}


def card(number: int) -> DrawingDevice:
    return DrawingDevice(32 * GB, CARDS[number].memory_bytes)


def test_the_cards_of_the_workers_count(machine) -> None:
    machine += CARDS
    assert fits.devices(settings(), [worker("cuda", "cuda:1")]) == {card(1)}
    assert fits.devices(settings(), [worker("cuda", "cuda:GPU-aa"), worker("cuda", "cuda:1")]) == {card(0), card(1)}
    assert fits.devices(settings(), [worker("cuda", "cuda:MIG-1")]) == {None}


def test_what_is_elsewhere_or_of_another_maker_is_unknown(machine) -> None:
    machine += CARDS
    assert fits.devices(settings(), [worker("cuda", "cuda:0", host="there")]) == {None}
    assert fits.devices(settings(), [worker("rocm", "rocm")]) == {None}


def test_what_is_elsewhere_is_as_its_worker_reports_it(machine) -> None:
    def reported(**values: object) -> DrawingDevice | None:
        can = Capabilities(**({"ram_bytes": 64 * GB} | values))  # type: ignore[arg-type]
        (found,) = fits.devices(settings(), [worker("cuda", "cuda:0", host="there") | {"can_run": can}])
        return found

    assert reported(device="cuda", device_bytes=80 * GB) == DrawingDevice(64 * GB, 80 * GB)
    assert reported(device="cpu", large_models=False) == DrawingDevice(64 * GB, large_models=False)
    assert reported(device="rocm") is None
    assert reported(device="cpu", ram_bytes=0) is None


def test_without_workers_the_machine_counts(machine) -> None:
    assert fits.devices(settings(), [worker("", "", lane="remote")]) == {DrawingDevice(32 * GB, large_models=False)}
    machine += CARDS
    assert fits.devices(settings(), []) == {card(0), card(1)}
    assert fits.devices(settings(cuda_visible_devices="-1"), []) == {DrawingDevice(32 * GB, large_models=False)}
    assert fits.devices(settings(device="cpu"), []) == {DrawingDevice(32 * GB)}
    assert fits.devices(settings(device="mps"), []) == {None}


def test_a_model_that_nobody_measured_is_counted_by_its_files(context: AppContext, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    for part, size in (("transformer", 4000), ("vae", 200)):
        (folder / part).mkdir(parents=True)
        (folder / part / "diffusion_pytorch_model.safetensors").write_bytes(bytes(size))
    spec = parse_model_line(f"mine;{folder};words;local;false")
    assert {part.name: part.numbers for part in fits.parts_of(context, spec) or ()} == {"transformer": 2000, "vae": 100}
    assert fits.parts_of(context, spec.model_copy(update={"repo": "nowhere"})) is None
    assert fits.parts_of(context, spec.model_copy(update={"source": "huggingface", "repo": "owner/thing"})) is None


def test_what_is_here_is_listed_first_and_what_does_not_fit_last(context: AppContext, machine) -> None:
    machine.append(CARDS[0])
    context.workers.heartbeat(WorkerReport("w", "here", 1, "cuda", device_id="cuda:0"))
    listed = [(state.spec.id, state.spec.group, state.fit.answer) for state in stats.models(context)]
    assert [name for name, _, _ in listed][:2] == ["demo", "demo-sd3"]
    groups = [group for _, group, _ in listed]
    assert groups == sorted(groups, key=["built-in", "image", "edit", "video", "provider"].index)
    pictures = [answer for _, group, answer in listed if group == "image"]
    assert pictures == sorted(pictures, key=["yes", "no"].index)
    assert {name: answer for name, _, answer in listed}["flux2-dev"] == "no"
    assert listed[-1] == ("ltx-2.3", "video", "no")

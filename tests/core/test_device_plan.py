"""Which workers start on which device, by the environment, the driver, torch and the settings."""

from __future__ import annotations

import dataclasses
import re

import pytest

from app.core.device_plan import plan_devices
from app.core.device_reports import Card, DriverReport, TorchDevice, TorchReport

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")


def driver(*cards: tuple[str, tuple[int, int], int], version: str = "580.65.06") -> DriverReport:
    found = (Card(number, f"GPU-{number}", *card) for number, card in enumerate(cards))
    return DriverReport(version=version, cards=tuple(found))


RTX = ("RTX 4090", (8, 9), 24_000_000_000)
FOUR, EIGHT = driver(*[RTX] * 4), driver(*[RTX] * 8)


def torch_for(found: DriverReport, count: int | None = None, **values: object) -> TorchReport:
    """torch's usual build, which sees the first `count` cards of the driver, in its default all."""
    devices = tuple(TorchDevice(card.name, card.uuid, card.capability, card.memory_bytes) for card in found.cards)
    report = TorchReport(
        version="2.13.0+cu130", cuda="13.0", kind="cuda", devices=devices[:count], architectures=ARCHITECTURES
    )
    return dataclasses.replace(report, **values)


NO_CUDA = TorchReport(version="2.13.0+cpu")
BLIND = TorchReport(version="2.13.0+cu130", cuda="13.0", kind="cpu", architectures=ARCHITECTURES)
NOTHING = DriverReport()


def visible(text: str | None, found: DriverReport, *, workers="auto", device="auto", torch=None) -> list[str]:
    """CUDA_VISIBLE_DEVICES of each worker; `cpu` for one on the CPU."""
    environment = {} if text is None else {"CUDA_VISIBLE_DEVICES": text}
    plan = plan_devices(environment, found, torch or torch_for(found), workers=workers, device=device)
    assert plan.error == ""
    return [each.environment["CUDA_VISIBLE_DEVICES"] if each.device != "cpu" else "cpu" for each in plan.workers]


@pytest.mark.parametrize(
    ("text", "found", "expected"),
    [
        (None, FOUR, ["0", "1", "2", "3"]),
        ("0", EIGHT, ["0"]),
        ("2,3", FOUR, ["2", "3"]),
        (" 3 , 1 ", FOUR, ["3", "1"]),
        ("GPU-2,GPU-0", FOUR, ["GPU-2", "GPU-0"]),
        ("GPU-3", FOUR, ["GPU-3"]),
        ("MIG-a,MIG-b", driver(RTX), ["MIG-a", "MIG-b"]),
        ("MIG-GPU-0/1/0,MIG-GPU-0/2/0", driver(RTX), ["MIG-GPU-0/1/0", "MIG-GPU-0/2/0"]),
        ("", FOUR, ["cpu"]),
        ("-1", FOUR, ["cpu"]),
        ("0,-1,2", FOUR, ["0"]),  # CUDA ignores what follows the first that does not exist
        ("1,9,0", FOUR, ["1"]),
        ("NoDevFiles", FOUR, ["cpu"]),
        ("2,2", FOUR, ["cpu"]),  # CUDA refuses duplicates
    ],
)
def test_one_worker_for_each_visible_device(text, found, expected) -> None:
    entries = [] if text in (None, "", "-1") else text.split(",")
    seen = torch_for(found, len(expected) if text is None or entries else 0)
    if expected == ["cpu"]:
        seen = dataclasses.replace(seen, devices=(), kind="cpu")
    elif any("MIG" in entry for entry in entries):
        seen = dataclasses.replace(seen, devices=tuple(TorchDevice("MIG 1g.10gb", entry) for entry in entries))
    else:
        wanted = [entry.removeprefix("GPU-") for entry in expected]
        seen = dataclasses.replace(seen, devices=tuple(torch_for(found).devices[int(number)] for number in wanted))
    assert visible(text, found, torch=seen) == expected


@pytest.mark.parametrize(
    ("workers", "found", "expected"),
    [
        (0, FOUR, []),
        (2, FOUR, ["0", "1"]),
        (3, driver(RTX, RTX), ["0", "1", "0"]),
        (2, NOTHING, ["cpu", "cpu"]),
    ],
)
def test_the_number_of_workers(workers, found, expected) -> None:
    torch = torch_for(found) if found.cards else NO_CUDA
    assert visible(None, found, workers=workers, torch=torch) == expected


@pytest.mark.parametrize(
    ("device", "expected"),
    [("cpu", ["cpu"]), ("cuda", ["0", "1", "2", "3"]), ("cuda:2", ["2"]), ("auto", ["0", "1", "2", "3"])],
)
def test_device_chooses_among_the_visible_ones(device, expected) -> None:
    assert visible(None, FOUR, device=device) == expected


def test_cuda_n_counts_the_visible_ones_and_the_worker_sees_only_its_own() -> None:
    seen = dataclasses.replace(torch_for(FOUR), devices=torch_for(FOUR).devices[2:])
    plan = plan_devices({"CUDA_VISIBLE_DEVICES": "2,3"}, FOUR, seen, workers="auto", device="cuda:1")
    (worker,) = plan.workers
    assert worker.device == "cuda:0"
    assert worker.environment["CUDA_VISIBLE_DEVICES"] == "3"
    assert worker.environment["DEVICE"] == "cuda"  # the only one that it sees


def test_a_gpu_worker_counts_as_the_driver_does_and_grows_its_segments() -> None:
    (worker,) = plan_devices({}, driver(RTX), torch_for(driver(RTX)), workers="auto", device="auto").workers
    assert worker.environment == {
        "CUDA_VISIBLE_DEVICES": "0",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "PYTORCH_ALLOC_CONF": "expandable_segments:True",
    }
    assert (worker.label, worker.large_models) == ("cuda", True)


@pytest.mark.parametrize("name", ["PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"])
def test_an_allocator_that_is_configured_stays_as_it_is(name) -> None:
    found = driver(RTX)
    (worker,) = plan_devices({name: "x"}, found, torch_for(found), workers="auto", device="auto").workers
    assert "PYTORCH_ALLOC_CONF" not in worker.environment


P100 = ("Tesla P100", (6, 0), 16_000_000_000)
FUTURE = ("RTX 9090", (13, 0), 64_000_000_000)
SMALL = ("GT 1030", (7, 5), 2_000_000_000)


@pytest.mark.parametrize(
    ("found", "torch", "sentence"),
    [
        (driver(RTX), NO_CUDA, r"RTX 4090.*torch 2\.13\.0\+cpu is built for the CPU only.*make run"),
        (driver(RTX, version="550.54.14"), BLIND, r"needs NVIDIA driver 580.*this machine has 550\.54\.14.*make run"),
        (driver(RTX, version="470.82"), BLIND, r"needs NVIDIA driver 580.*470\.82.*Update the driver"),
        (
            driver(P100),
            torch_for(driver(P100)),
            r"Tesla P100.*compute capability 6\.0.*older than.*7\.5",
        ),
        (
            driver(FUTURE),
            torch_for(driver(FUTURE)),
            r"RTX 9090.*compute capability 13\.0.*newer than.*12\.0.*newer build",
        ),
        (
            DriverReport(problem="Driver/library version mismatch"),
            BLIND,
            r"driver does not respond \(Driver/library version mismatch\).*[Rr]estart this machine",
        ),
        (driver(RTX), BLIND, r"torch 2\.13\.0\+cu130 finds no GPU.*RTX 4090.*cyberimage doctor"),
        (
            driver(RTX),
            dataclasses.replace(BLIND, problem="it did not answer within 60 s"),
            r"torch.*did not answer within 60 s",
        ),
        (DriverReport(amd=True), NO_CUDA, r"AMD GPU.*ROCm"),
        (DriverReport(apple=True), NO_CUDA, r"Apple.*MPS"),
        (driver(RTX), TorchReport(problem="No module named 'torch'"), r"torch is not installed.*make run"),
    ],
)
def test_what_does_not_fit_is_said_and_only_small_models_draw_on_the_cpu(found, torch, sentence) -> None:
    plan = plan_devices({}, found, torch, workers="auto", device="auto")
    (note,) = plan.notes
    assert re.search(sentence, note), note
    (worker,) = plan.workers
    assert (worker.device, worker.label, worker.large_models) == ("cpu", "cpu", False)
    assert worker.reason == note
    refused = plan_devices({}, found, torch, workers="auto", device="cuda")
    assert refused.error.startswith("DEVICE=cuda:")
    assert re.search(sentence, refused.error), refused.error


def test_the_cpu_is_silent_where_there_is_nothing_else_or_it_is_asked_for() -> None:
    plan = plan_devices({}, NOTHING, NO_CUDA, workers="auto", device="auto")
    assert (plan.notes, plan.workers[0].environment) == ((), {})
    assert plan.workers[0].large_models is False
    asked = plan_devices({}, FOUR, torch_for(FOUR), workers="auto", device="cpu")
    assert asked.notes == ()
    assert asked.workers[0].large_models is True
    assert asked.workers[0].environment == {"CUDA_VISIBLE_DEVICES": "-1"}


@pytest.mark.parametrize("text", ["", "-1"])
def test_hidden_cards_are_no_fault(text) -> None:
    plan = plan_devices({"CUDA_VISIBLE_DEVICES": text}, FOUR, BLIND, workers="auto", device="auto")
    assert (plan.notes, plan.workers[0].reason) == ((), "")


def test_unsuitable_cards_are_left_out_and_the_others_keep_their_numbers() -> None:
    found = driver(P100, RTX, FUTURE)
    plan = plan_devices({}, found, torch_for(found), workers="auto", device="auto")
    assert [each.environment["CUDA_VISIBLE_DEVICES"] for each in plan.workers] == ["1"]
    assert len(plan.notes) == 2
    assert "GPU 0 (Tesla P100)" in plan.notes[0]
    assert "GPU 2 (RTX 9090)" in plan.notes[1]


def test_cards_of_different_sizes_are_pointed_out() -> None:
    found = driver(RTX, SMALL)
    plan = plan_devices({}, found, torch_for(found), workers="auto", device="auto")
    assert len(plan.workers) == 2
    (note,) = plan.notes
    assert "RTX 4090 with 24 GB" in note
    assert "GT 1030 with 2 GB" in note
    assert "CUDA_VISIBLE_DEVICES" in note


def test_more_workers_than_cards_is_pointed_out() -> None:
    found = driver(RTX)
    (note,) = plan_devices({}, found, torch_for(found), workers=2, device="auto").notes
    assert "WORKERS=2" in note
    assert "share" in note


@pytest.mark.parametrize(
    ("text", "sentence"), [("0,7", "has no GPU 7"), ("GPU-9", "has no GPU GPU-9"), ("1,1", "names 1 twice")]
)
def test_a_visible_device_that_does_not_exist_is_pointed_out(text, sentence) -> None:
    seen = torch_for(FOUR, 1) if text.startswith("0") else dataclasses.replace(torch_for(FOUR, 0), kind="cpu")
    notes = plan_devices({"CUDA_VISIBLE_DEVICES": text}, FOUR, seen, workers="auto", device="auto").notes
    assert any(sentence in note for note in notes), notes


def test_cards_are_matched_with_torchs_devices_by_uuid() -> None:
    """A container may hide a card from CUDA that NVML still lists."""
    seen = dataclasses.replace(torch_for(FOUR), devices=(torch_for(FOUR).devices[1], torch_for(FOUR).devices[3]))
    plan = plan_devices({}, FOUR, seen, workers="auto", device="auto")
    assert [each.environment["CUDA_VISIBLE_DEVICES"] for each in plan.workers] == ["1", "3"]
    assert [each.uuid for each in plan.workers] == ["GPU-1", "GPU-3"]
    assert "GPU 0, GPU 2" in plan.notes[0]


ROCM = TorchReport("2.13.0+rocm6.4", hip="6.4", kind="cuda", devices=(TorchDevice("MI300X"),) * 2)
XPU = TorchReport("2.13.0+xpu", xpu="20250", kind="xpu", devices=(TorchDevice("Arc B580"),) * 2)


@pytest.mark.parametrize(
    ("report", "labels", "variable"),
    [
        (
            TorchReport("2.13.0+rocm6.4", hip="6.4", kind="cuda", devices=(TorchDevice("MI300X"),) * 2),
            "rocm",
            "CUDA_VISIBLE_DEVICES",
        ),
        (
            TorchReport("2.13.0+xpu", xpu="20250", kind="xpu", devices=(TorchDevice("Arc B580"),) * 2),
            "xpu",
            "ZE_AFFINITY_MASK",
        ),
    ],
)
def test_gpus_of_other_vendors_are_torchs_word(report, labels, variable) -> None:
    plan = plan_devices({}, DriverReport(amd=bool(report.hip)), report, workers="auto", device="auto")
    assert [each.label for each in plan.workers] == [labels] * 2
    assert [each.device for each in plan.workers] == [f"{report.kind}:0"] * 2
    assert [each.environment[variable] for each in plan.workers] == ["0", "1"]
    assert "PYTORCH_ALLOC_CONF" not in plan.workers[0].environment
    assert plan.notes == ()


def test_rocms_own_list_of_visible_devices_is_divided() -> None:
    plan = plan_devices({"HIP_VISIBLE_DEVICES": "4,6"}, DriverReport(), ROCM, workers="auto", device="auto")
    assert [dict(each.environment) for each in plan.workers] == [
        {"HIP_VISIBLE_DEVICES": "4"},
        {"HIP_VISIBLE_DEVICES": "6"},
    ]


def test_apples_gpu_is_one_device() -> None:
    report = TorchReport("2.13.0", kind="mps", devices=(TorchDevice("Apple M4"),))
    plan = plan_devices({}, DriverReport(apple=True), report, workers="auto", device="mps")
    assert [(each.device, each.label, dict(each.environment)) for each in plan.workers] == [("mps", "mps", {})]


def test_gpus_without_nvml_are_those_of_torch() -> None:
    """Jetson boards have CUDA and no NVML."""
    report = TorchReport("2.13.0", cuda="13.0", kind="cuda", devices=(TorchDevice("Orin", "", (8, 7)),))
    (worker,) = plan_devices({}, NOTHING, report, workers="auto", device="auto").workers
    assert (worker.device, worker.name) == ("cuda:0", "Orin")


@pytest.mark.parametrize(
    ("device", "sentence"),
    [
        ("cuda:4", r"DEVICE=cuda:4: .*are 4 GPUs here \(0 to 3\)"),
        ("mps", r"DEVICE=mps: torch 2\.13\.0\+cu130 has cuda"),
        ("xpu", r"DEVICE=xpu: torch 2\.13\.0\+cu130 has cuda"),
    ],
)
def test_a_device_that_is_asked_for_and_not_there_is_an_error(device, sentence) -> None:
    error = plan_devices({}, FOUR, torch_for(FOUR), workers="auto", device=device).error
    assert re.search(sentence, error), error

"""Which GPUs the engine servers of this machine take from the workers."""

from __future__ import annotations

from app.core.device_plan import DevicePlan, WorkerPlan
from app.core.engine_devices import with_engine_servers
from app.core.engine_servers import EngineServer


def gpus(*numbers: int) -> DevicePlan:
    order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return DevicePlan(
        tuple(WorkerPlan("cuda:0", "cuda", environment={"CUDA_VISIBLE_DEVICES": str(n)} | order) for n in numbers)
    )


def server(number: int = 1, command: str | None = "sglang serve") -> EngineServer:
    return EngineServer(kind="sglang", url="http://127.0.0.1:30000/v1", command=command, gpus=number)


def left(plan: DevicePlan) -> list[str]:
    return [worker.environment["CUDA_VISIBLE_DEVICES"] for worker in plan.workers]


def test_servers_take_the_last_gpus_and_the_workers_keep_the_rest() -> None:
    made = with_engine_servers(gpus(0, 1, 2, 3, 4), {"b": server(1), "a": server(2)})
    assert left(made.workers) == ["0", "1"]
    assert made.environments == {
        "a": {"CUDA_VISIBLE_DEVICES": "3,4", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
        "b": {"CUDA_VISIBLE_DEVICES": "2", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
    }


def test_a_server_without_a_command_runs_elsewhere() -> None:
    made = with_engine_servers(gpus(0, 1), {"a": server(8, command=None)})
    assert (left(made.workers), made.environments) == (["0", "1"], {})


def test_all_workers_of_a_gpu_that_is_taken_go() -> None:
    made = with_engine_servers(gpus(0, 1, 0, 1), {"a": server(1)})
    assert left(made.workers) == ["0", "0"]


def test_too_few_gpus_are_told_at_the_start() -> None:
    made = with_engine_servers(gpus(0, 1), {"a": server(4)})
    assert made.workers.error.startswith("a: its engine server takes 4 GPUs, and 2 of those")
    on_cpu = with_engine_servers(DevicePlan((WorkerPlan(),)), {"a": server()})
    assert on_cpu.workers.error.startswith("a: its engine server takes 1 GPU, and 0 of those")


def test_a_server_that_needs_no_gpu_leaves_all_workers() -> None:
    made = with_engine_servers(DevicePlan((WorkerPlan(),)), {"a": server(0)})
    assert (len(made.workers.workers), made.environments) == (1, {"a": {}})

"""Which GPUs the engine servers take that are started here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from app.core.device_plan import DevicePlan
from app.core.engine_servers import EngineServer

_LISTS = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")


@dataclass(frozen=True)
class ServerPlan:
    """What is left for the workers, and the environment of each engine server by the id of its model."""

    workers: DevicePlan
    environments: Mapping[str, Mapping[str, str]]


def with_engine_servers(plan: DevicePlan, servers: Mapping[str, EngineServer]) -> ServerPlan:
    """Give the last GPUs of the plan to the servers that have a command, in the order of their ids. A plan with fewer
    than they ask for has an `error`."""
    gpus: list[Mapping[str, str]] = []  # each by the environment that shows it alone
    for worker in plan.workers:
        if worker.device != "cpu" and worker.environment not in gpus:
            gpus.append(worker.environment)
    environments: dict[str, Mapping[str, str]] = {}
    for model_id, server in sorted(servers.items()):
        if server.command is None:
            continue
        if server.gpus > len(gpus):
            return ServerPlan(DevicePlan(error=_too_few(model_id, server, len(gpus))), {})
        first = len(gpus) - server.gpus
        environments[model_id] = _showing(gpus[first:])
        del gpus[first:]
    workers = tuple(worker for worker in plan.workers if worker.device == "cpu" or worker.environment in gpus)
    return ServerPlan(replace(plan, workers=workers), environments)


def _showing(gpus: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The environment in which just these GPUs are seen."""
    found: dict[str, str] = {}
    for environment in gpus:
        for name, value in environment.items():
            if name in _LISTS:
                found[name] = f"{found[name]},{value}" if name in found else value
            elif name == "CUDA_DEVICE_ORDER":
                found[name] = value
    return found


def _too_few(model_id: str, server: EngineServer, there: int) -> str:
    return (
        f"{model_id}: its engine server takes {server.gpus} GPU{'s' if server.gpus > 1 else ''}, and {there} of those"
        " that workers would run on are left. Set WORKERS=auto, or fewer gpus in its line."
    )

"""Run the benchmarks named on the command line, or all."""

import importlib
import sys

from bench.machine import describe_machine

ALL = (
    "overhead",
    "idle",
    "side_costs",
    "status_route",
    "facades",
    "api_process",
    "saving",
    "loras",
    "images_per_batch",
    "batches",
    "merging",
    "speed",
    "webhooks",
    "search",
)


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in ALL]
    if unknown:
        print(f"There is no benchmark {', '.join(unknown)}; there are {', '.join(ALL)}.")
        return 2
    print(describe_machine())
    for name in names or ALL:
        module = importlib.import_module(f"bench.{name}")
        print(f"\n## {name}: {(module.__doc__ or '').splitlines()[0]}\n", flush=True)
        module.main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

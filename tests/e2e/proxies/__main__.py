"""python -m tests.e2e.proxies [--requests N]: restart two API processes behind HAProxy while N requests are made."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.e2e.proxies.proxies import HAProxy
from tests.e2e.proxies.rolling_restart import Clients, restart_each
from tests.e2e.proxies.servers import Servers
from tests.processes import Processes


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.proxies", description=(__doc__ or "").split(": ")[1])
    parser.add_argument("--requests", type=int, default=10_000)
    wanted = parser.parse_args().requests
    checks: list[str] = []
    with tempfile.TemporaryDirectory(prefix="cyberimage-proxies-") as name:
        folder = Path(name)
        processes = Processes(folder)
        try:
            servers = Servers(processes, folder, DRAIN_SECONDS="8")
            proxy = HAProxy(folder / "proxy", servers.ports)
            clients = Clients(proxy.port)
            while clients.count() < wanted:
                checks += restart_each(servers, proxy, clients, wanted // 10)
                say(f"{clients.count():,} requests, restarts: {len(checks)}, failed: {clients.failed()}")
            clients.stop()
            proxy.close()
        finally:
            processes.close()
    say(f"by answer: {dict(clients.answers)}; the health check while a server stopped: {sorted(set(checks))}")
    for (method, outcome), body in clients.refusals.items():
        say(f"{method} {outcome}: {body[:500]}")
    return 1 if clients.failed() else 0


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

"""A crash test with faults of the machine, on whatever this machine allows to break."""

from __future__ import annotations

from pathlib import Path

from app.store.db.database import Database
from app.store.db.migrate import migrate
from tests.e2e.crash import machine as machine_faults
from tests.e2e.crash.chaos import PAUSE_SECONDS
from tests.e2e.crash.databases import database_with_server
from tests.e2e.crash.disks import mounted
from tests.e2e.crash.harness import CrashTest, Report
from tests.e2e.crash.machine import Fault, Machine, clock_faults, postgres_faults, sqlite_faults

NO_MOUNTS = "disks: mounting is not allowed here; failpoints in their place"
SERVER_CLOCK = "the clock of PostgreSQL's server, by which leases are counted"


def run_with_faults(
    folder: Path, kind: str, seconds: float, jobs_per_second: float = 15.0, pause: float = PAUSE_SECONDS
) -> Report:
    """Run the service on a database of `kind` for `seconds`, with one fault after the other."""
    with mounted(folder) as disk, database_with_server(kind, folder) as (url, server):
        faults: dict[str, Fault] = dict(disk.faults) if disk is not None else {}
        if server is None:
            faults |= sqlite_faults(folder / "db" / "cyberimage.db")
        else:
            database = Database(url)
            migrate(database)
            database.close()
            faults |= postgres_faults(url, server)
        faults |= clock_faults(folder / "clock")
        machine = Machine(faults, machine_faults.PAUSE_SECONDS * pause / PAUSE_SECONDS)
        machine.left_out = [*([] if disk is not None else [NO_MOUNTS]), *([] if server is None else [SERVER_CLOCK])]
        test = CrashTest(folder, url, machine=machine, jobs_per_second=jobs_per_second, pause=pause)
        return test.run(seconds)

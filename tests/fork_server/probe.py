"""Says what a process finds itself with: `python -m tests.fork_server.probe STATUS|wait`; STATUS is its exit status."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path


def main() -> None:
    os.umask(umask := os.umask(0))
    found = {
        "arguments": sys.argv[1:],
        "command": Path("/proc/self/cmdline").read_text().strip("\0").split("\0"),
        "environment": {name: os.environ[name] for name in sorted(os.environ)},
        "files": sorted(os.readlink(f"/proc/self/fd/{number}") for number in (0, 1, 2)),
        "folder": os.getcwd(),
        "more_files": [name for name in os.listdir("/proc/self/fd") if int(name) > 3],  # 3 is of this listing
        "path": sys.path[0],
        "leads_its_session": os.getsid(0) == os.getpid(),
        "umask": umask,
    }
    print(json.dumps(found), flush=True)  # noqa: T201
    if sys.argv[1] == "wait":
        signal.pause()
    sys.exit(int(sys.argv[1]))


if __name__ == "__main__":
    main()

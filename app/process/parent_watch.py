"""A child that notices when its parent is gone, however it went.

The parent keeps the writing end of a pipe; a thread in the child waits at the reading end. When the parent dies, even
by SIGKILL, the operating system closes the pipe, and the child stops itself. No polling, and no Linux-only call.
"""

from __future__ import annotations

import os
import signal
import threading
import time

ENVIRONMENT_NAME = "CYBERIMAGE_LIFELINE"
LAST_CHANCE_SECONDS = 5.0
EXIT_ORPHANED = 71


def watch_parent() -> threading.Event:
    """In a child: stop this process (SIGTERM, and for good a little later) when the parent is gone.

    Gives an event that is set just before the SIGTERM. Without a parent that handed over a lifeline it never is.
    """
    orphaned = threading.Event()
    descriptor = os.environ.pop(ENVIRONMENT_NAME, "")
    if descriptor:
        os.set_inheritable(int(descriptor), False)
        threading.Thread(target=_wait, args=(int(descriptor), orphaned), name="lifeline", daemon=True).start()
    return orphaned


def _wait(descriptor: int, orphaned: threading.Event) -> None:
    os.read(descriptor, 1)  # returns when the last writer is gone
    orphaned.set()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LAST_CHANCE_SECONDS)
    os._exit(EXIT_ORPHANED)

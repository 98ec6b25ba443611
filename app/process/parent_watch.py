"""Detects the death of the parent process, however it ended.

The parent holds the write end of a pipe; a thread in the child blocks on the read end. When the parent dies, even by
SIGKILL, the operating system closes the pipe, and the child stops. No polling, and no Linux-only call.
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
    """In a child: stop this process when the parent is gone, by SIGTERM, and by exiting a little later.

    Returns an event that is set just before the SIGTERM; never without a parent that passed the pipe.
    """
    orphaned = threading.Event()
    descriptor = os.environ.pop(ENVIRONMENT_NAME, "")
    if descriptor:
        os.set_inheritable(int(descriptor), False)
        threading.Thread(target=_wait, args=(int(descriptor), orphaned), name="parent-watch", daemon=True).start()
    return orphaned


def _wait(descriptor: int, orphaned: threading.Event) -> None:
    os.read(descriptor, 1)  # returns when the last writer is gone
    orphaned.set()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LAST_CHANCE_SECONDS)
    os._exit(EXIT_ORPHANED)

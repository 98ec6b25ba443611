"""A process that has imported what the project's processes import, and forks one for each request.

python -m tests.fork_server.server api|engines DESCRIPTOR PADDING

Each connection to the listening socket DESCRIPTOR is one process: the request comes with the descriptor for its output,
and its id is answered, and its exit status when it has ended. The server ends with its standard input.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
from collections.abc import Sequence

from tests.fork_server.program import run_program

LONGEST_REQUEST = 100_000  # bytes
COMMANDS = ("app.cli.main", "app.cli.run", "app.cli.worker", "app.cli.keys", "app.cli.worker_death")
API = (*COMMANDS, "app.server.gunicorn_app")
ENGINES = ("app.engines.attention_check", "app.engines.diffusers.engine")
# Classes of the models that most tests draw with, which libraries import on first use.
CLASSES = {
    "diffusers": ("FluxPipeline", "StableDiffusion3Pipeline", "StableDiffusionPipeline", "AutoencoderKL"),
    "transformers": (
        "CLIPTokenizer",
        "CLIPTextModel",
        "CLIPTextModelWithProjection",
        "T5EncoderModel",
        "T5TokenizerFast",
    ),
}


def main(kind: str, descriptor: str, _: str) -> None:
    for module in API if kind == "api" else (*API, *ENGINES):
        importlib.import_module(module)
    for library, names in CLASSES.items() if kind == "engines" else ():
        for name in names:
            getattr(importlib.import_module(library), name)
    gc.collect()
    gc.freeze()
    Server(socket.socket(fileno=int(descriptor))).serve()


class Server:
    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._clients: dict[int, socket.socket] = {}  # by the id of the process
        self._ended, wakes = os.pipe()
        for end in (self._ended, wakes):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)

    def serve(self) -> None:
        selector = selectors.DefaultSelector()
        for heard in (self._listener, self._ended, sys.stdin):
            selector.register(heard, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if sys.stdin in ready:
                return
            if self._ended in ready:
                os.read(self._ended, 4096)
                self._reap()
            if self._listener in ready:
                self._accept()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        message, (output,), _, _ = socket.recv_fds(client, LONGEST_REQUEST, 1)
        request = json.loads(message)
        pid = os.fork()
        if pid == 0:
            os.umask(request["umask"])
            run_program(request["command"], request["environment"], output=output)
        os.close(output)
        self._clients[pid] = client
        self._tell(client, pid)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                client = self._clients.pop(found[0])
                self._tell(client, os.waitstatus_to_exitcode(found[1]))
                client.close()

    def _tell(self, client: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):  # nobody waits for it any more
            client.send(str(number).encode())


if __name__ == "__main__":
    arguments: Sequence[str] = sys.argv[1:]
    main(*arguments)

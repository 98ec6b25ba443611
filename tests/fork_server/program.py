"""A forked process becomes one that looks started: its descriptors, signals, environment, command line and exit."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import logging
import os
import runpy
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from types import ModuleType
from typing import NoReturn

from app.config import ROOT

_OURS = ("app", "cyberimage", "tests", "tools")
_CHANGE_NOTHING = ("tests.browser.painter",)  # of the tests' programs, which change modules before others import them
_HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2)
_ARGUMENTS = slice(45, 47)  # of /proc/self/stat after the name: where the command line begins and ends in memory
_kept: list[ModuleType | logging.Handler] = []  # freed ones would close descriptors that others have by then


def run_program(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    output: int | None = None,
    keep: Collection[int] = (),
    at_first: Callable[[], None] | None = None,
) -> NoReturn:
    """Do what `python <command>` does in a session of its own, and exit. Output goes to the descriptor `output`, else
    where the parent's goes; of the parent's other descriptors only those in `keep` stay open."""
    status = 1
    try:
        os.setsid()
        _forget_the_parent(output, keep)
        if at_first is not None:
            at_first()
        os.environ.clear()
        os.environ.update(environment)
        _show(command)
        status = _run(command)
    except BaseException:  # noqa: BLE001 - it must not return into the parent's code
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _forget_the_parent(output: int | None, keep: Collection[int]) -> None:
    signal.set_wakeup_fd(-1)
    for number in _HEARD:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    logger = logging.getLogger("cyberimage")
    _kept.extend(logger.handlers)
    logging.shutdown()
    logger.handlers.clear()
    if output is not None:
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in keep:
            with contextlib.suppress(OSError):  # the one of this listing
                os.close(int(name))


def _show(command: Sequence[str]) -> None:
    """As the command line of this process. The server's is long, so that there is room."""
    with open("/proc/self/stat") as file:
        begin, end = map(int, file.read().rpartition(")")[2].split()[_ARGUMENTS])
    line = "\0".join((sys.executable, *command)).encode()[: end - begin - 1]
    ctypes.memmove(begin, line.ljust(end - begin, b"\0"), end - begin)


def _run(command: Sequence[str]) -> int:
    """The exit status, when threads that are no daemons have ended too."""
    try:
        _execute(command)
        status = 0
    except SystemExit as asked:
        status = asked.code if isinstance(asked.code, int) else int(asked.code is not None)
        if isinstance(asked.code, str):
            sys.stderr.write(f"{asked.code}\n")
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    return status


def _execute(command: Sequence[str]) -> None:
    name, *arguments = command[1:] if command[0] == "-m" else command
    if name.startswith("tests.") and name not in _CHANGE_NOTHING:
        _forget_modules()
    _fork_children_of_supervisors()
    sys.argv = [name, *arguments]
    if command[0] == "-m":
        if name in sys.modules:
            _kept.append(sys.modules.pop(name))  # as it is not there when a program of this name begins
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(str(ROOT / name), run_name="__main__")


def _forget_modules() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in _OURS]:
        _kept.append(sys.modules.pop(name))


def _fork_children_of_supervisors() -> None:
    from app.cli import supervisor
    from tests.fork_server.child import subprocess_module

    supervisor.subprocess = subprocess_module()  # type: ignore[assignment]

"""Runs clients that other people wrote against a server of its own and prints a table: client, version, call, result.

    make clients                      those of tools/clients/requirements.txt and package.json
    make clients MORE=sillytavern     and SillyTavern's endpoints (430 MB of packages)
    make clients MORE=open_webui      and Open WebUI (7 GB of packages), in an environment of its own

The clients are installed into `.clients/`, apart from what CyberImage runs on. The server takes keys, as one for others
would; its model is the built-in one. Exit status 1 if a call failed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PLACE = ROOT / ".clients"
NODE = {"sillytavern": ("sillytavern@1.19.0", "express@5")}
OWN_VENV = {"open_webui": ("open-webui==0.12.4",)}
MORE = (*NODE, *OWN_VENV)
START_SECONDS = 180
CALL_SECONDS = 900

Outcome = dict[str, str | bool]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("more", nargs="*", choices=[*MORE, []], help="further clients, which are large")
    parser.add_argument("--only", default="", help="only scripts whose name has this in it")
    options = parser.parse_args()
    install(options.more)
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as environment:
        found = [outcome for script in scripts(options.more, options.only) for outcome in run(script, environment)]
    print("| client | version | call | result |\n|---|---|---|---|")
    for one in found:
        mark = "" if one["good"] else "**failed** "
        print(f"| {one['client']} | {one['version']} | {one['call']} | {mark}{shown(str(one['result']))} |")
    return 0 if found and all(one["good"] for one in found) else 1


def shown(result: str) -> str:
    """Without what would end a cell of the table."""
    return re.sub(r"\s+", " ", result).replace("|", "\\|")


def install(more: list[str]) -> None:
    """Into .clients/, once for each state of the lists."""
    install_python("venv", "-r", str(HERE / "requirements.txt"))
    for name in OWN_VENV.keys() & set(more):
        install_python(name, *OWN_VENV[name])
    if shutil.which("npm") is None:
        print("npm is not installed: the clients for Node are left out.", file=sys.stderr)
        return
    install_node("node")
    for name in NODE.keys() & set(more):
        install_node(name, *NODE[name])


def install_python(name: str, *wanted: str) -> None:
    """Into a virtual environment of this name."""
    if not (PLACE / name).exists():
        venv.create(PLACE / name, with_pip=True)
    pip = (str(PLACE / name / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    subprocess.run([*pip, *wanted], check=True)


def install_node(name: str, *wanted: str) -> None:
    """Into a folder of this name, with what package.json lists."""
    (PLACE / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "package.json", PLACE / name / "package.json")
    npm = ("npm", "install", "--no-audit", "--no-fund", "--silent", "--ignore-scripts")
    subprocess.run([*npm, *wanted], cwd=PLACE / name, check=True)


def scripts(more: list[str], only: str) -> Iterator[Path]:
    for script in sorted((HERE / "calls").iterdir()):
        is_wanted = script.stem != "reporting" and (script.stem not in MORE or script.stem in more)
        has_node = script.suffix == ".py" or shutil.which("npm") is not None
        if is_wanted and has_node and only in script.stem and script.suffix in (".py", ".mjs"):
            yield script


def run(script: Path, environment: dict[str, str]) -> Iterator[Outcome]:
    """What the calls of a script gave. A script that ends early is a failed call of its own."""
    if script.suffix == ".py":
        own = script.stem if script.stem in OWN_VENV else "venv"
        command, folder = [str(PLACE / own / "bin/python"), str(script)], HERE
    else:  # Node looks for packages beside the script
        folder = PLACE / (script.stem if script.stem in NODE else "node")
        for each in (HERE / "calls").glob("*.mjs"):
            shutil.copy(each, folder / each.name)
        command = ["node", script.name]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=CALL_SECONDS, check=False
    )
    for line in done.stdout.splitlines():
        if line.startswith('{"client"'):
            yield json.loads(line)
    if done.returncode:
        words = done.stderr.strip().splitlines()[-1:] or ["it ended early"]
        yield {"client": script.stem, "version": "", "call": "the whole", "result": words[0], "good": False}


@contextmanager
def served(folder: Path) -> Iterator[dict[str, str]]:
    """A server with keys; gives the environment of its clients."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    own = {
        "PORT": str(port),
        "WORKERS": "1",
        "AUTH_MODE": "keys",
        "CUDA_VISIBLE_DEVICES": "-1",
        "OMP_NUM_THREADS": "1",  # two are slower for a small model, on a machine that does other things too
        "DATABASE_URL": f"sqlite:///{folder}/clients.db",
        **{name: str(folder / name) for name in ("IMAGES_DIR", "VIDEOS_DIR", "LOG_DIR", "MODEL_CACHE_DIR")},
    }
    environment = {"PYTHONPATH": str(ROOT), **{k: os.environ[k] for k in ("PATH", "HOME") if k in os.environ}}
    python = [sys.executable, str(ROOT / "run.py")]
    with (folder / "said").open("wb") as said:
        server = subprocess.Popen(python, cwd=ROOT, env=environment | own, stdout=said, stderr=subprocess.STDOUT)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}/readyz", server)
        yield environment | {
            "CYBERIMAGE_URL": f"http://127.0.0.1:{port}",
            "CYBERIMAGE_TOKEN": new_key(environment | own),
            "CYBERIMAGE_COMMAND": f"{sys.executable} -m app.cli",
        }
    finally:
        server.terminate()
        server.wait(60)


def wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + START_SECONDS
    while time.monotonic() < ends and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=10):
                return
        except OSError:
            time.sleep(0.5)
    raise SystemExit("The server did not start.")


def new_key(environment: dict[str, str]) -> str:
    """The token of a new user."""
    command = [sys.executable, "-m", "app.cli", "keys", "create", "clients"]
    made = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    found = re.search(r"ci_\S+", made.stdout)
    if found is None:
        raise SystemExit(f"No key was made: {made.stdout}{made.stderr}")
    return found[0]


if __name__ == "__main__":
    sys.exit(main())

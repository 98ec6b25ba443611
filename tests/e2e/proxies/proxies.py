"""Starts nginx, HAProxy, Caddy and Traefik as deploy/proxies configures them, but on loopback and without TLS."""

from __future__ import annotations

import contextlib
import csv
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import psutil

from app.config import ROOT
from tests.nginx import command
from tests.ports import free_port
from tests.processes import family_of
from tests.waiting import wait_until

SAMPLES = ROOT / "deploy" / "proxies"


class Proxy:
    """`servers`: ports of the two API processes. `idle`: seconds after which it closes idle connections to them."""

    program: str

    def __init__(self, folder: Path, servers: tuple[int, int], *, idle: int = 60) -> None:
        folder.mkdir()
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        with (folder / "said.txt").open("wb") as said:
            arguments = self._prepare(servers, idle)
            environment = {**os.environ, "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
            self._process = subprocess.Popen(arguments, stdout=said, stderr=said, env=environment)
        wait_until(self._answers, f"{self.program} did not start: {self.said()}")

    @classmethod
    def found(cls) -> str | None:
        """Among the commands of the environment (some come as Python packages), and those of the system."""
        folders = (str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")
        return shutil.which(cls.program, path=os.pathsep.join(folders))

    def said(self) -> str:
        return (self.folder / "said.txt").read_text(errors="replace")[-3000:]

    def close(self) -> None:
        """With the children that it may have."""
        for process in family_of(self._process.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(30)

    def _prepare(self, servers: tuple[int, int], idle: int) -> list[str]:
        """Write the configuration and return the command."""
        raise NotImplementedError

    def _sample(self, name: str, servers: tuple[int, int], **replaced: str) -> str:
        """The sample's text; each pattern that is replaced must be there."""
        text = (SAMPLES / name).read_text()
        for pattern, new in {"5050": str(servers[0]), "5051": str(servers[1]), **replaced}.items():
            text, count = re.subn(pattern, lambda _, new=new: new, text, flags=re.MULTILINE)  # type: ignore[misc]
            assert count, f"{name} has no {pattern}"
        return text

    def _answers(self) -> bool:
        """Whether it passes requests on: Traefik listens before it has read its routes, and answers 404 meanwhile."""
        assert self._process.poll() is None, self.said()
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/health").status_code == 200
        return False


class Nginx(Proxy):
    program = "nginx"

    def _prepare(self, servers: tuple[int, int], idle: int) -> list[str]:
        changes = {
            "listen 443 ssl;": f"listen 127.0.0.1:{self.port};",
            "^ *ssl_.*$": "",
            "keepalive_timeout 60s;": f"keepalive_timeout {idle}s;",
        }
        return command(self.folder, self._sample("nginx.conf", servers, **changes))


class HAProxy(Proxy):
    program = "haproxy"

    def _prepare(self, servers: tuple[int, int], idle: int) -> list[str]:
        changes = {
            "bind :443 ssl crt .*$": f"bind 127.0.0.1:{self.port}",
            "/run/haproxy/admin.sock": str(self.folder / "admin.sock"),
            "pool-purge-delay 50s": f"pool-purge-delay {idle}s",
        }
        file = self.folder / "haproxy.cfg"
        file.write_text(self._sample("haproxy.cfg", servers, **changes))
        return [str(self.found()), "-db", "-f", str(file)]

    def servers(self) -> dict[str, dict[str, str]]:
        """By name, what its statistics say of each server: `status` UP or DOWN, `check_status`, `check_code`, …"""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.folder / "admin.sock"))
            connection.sendall(b"show stat\n")
            with connection.makefile() as answer:
                lines = answer.read().removeprefix("# ").splitlines()
        return {row["svname"]: row for row in csv.DictReader(lines) if row["svname"].startswith("api")}


class Caddy(Proxy):
    program = "caddy"

    def _prepare(self, servers: tuple[int, int], idle: int) -> list[str]:
        changes = {"^images.example.org": f"http://127.0.0.1:{self.port}", "keepalive 60s": f"keepalive {idle}s"}
        file = self.folder / "Caddyfile"
        file.write_text("{\n\tadmin off\n}\n" + self._sample("Caddyfile", servers, **changes))
        return [str(self.found()), "run", "--adapter", "caddyfile", "--config", str(file)]


class Traefik(Proxy):
    program = "traefik"

    def _prepare(self, servers: tuple[int, int], idle: int) -> list[str]:
        changes = {
            r"Host\(`images.example.org`\)": "PathPrefix(`/`)",
            "^ *tls: {}$": "",
            "idleConnTimeout: 60s": f"idleConnTimeout: {idle}s",
        }
        file = self.folder / "dynamic.yml"  # not a name that it looks for itself
        file.write_text(self._sample("traefik.yml", servers, **changes))
        static = [
            f"--entryPoints.websecure.address=127.0.0.1:{self.port}",
            f"--providers.file.filename={file}",
            "--global.checkNewVersion=false",
            "--global.sendAnonymousUsage=false",
        ]
        return [str(self.found()), *static]


ALL = (Nginx, HAProxy, Caddy, Traefik)

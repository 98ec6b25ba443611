"""Memory of the API while many clients send large pictures at once: its peak, and what was answered.

    python -m bench.pictures [--clients 50] [--route /api/generate]

Three kinds in turn: files just under INPUT_MAX_BYTES, small files of as many pixels as are allowed, and files of 20 MB,
which are refused. A client that is told to come back does so.
"""

from __future__ import annotations

import argparse
import base64
import io
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from bench.service import running

WANTED_MB = 1250
WAIT_SECONDS = 5  # of calls that wait for a picture, and get none
TRIES = 40
MODEL = (
    'large;/none;Large;local;false;{"tasks": ["txt2img", "img2img", "inpaint"],'
    ' "defaults": {"width": 512, "height": 512}}'
)


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.pictures", description=__doc__)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--route", default="/api/generate")
    asked = parser.parse_args(arguments)
    environment = {"MODEL_LARGE": MODEL, "DEFAULT_MODEL_ID": "large", "WORKERS": "0", "DISK_FLOOR_BYTES": "0"}
    for name, picture in (
        ("16 MB", noise(16_000_000)),
        ("40 megapixels", plain(40_000_000)),
        ("20 MB", noise(2 * 10**7)),
    ):
        with running("-m", "app.server.gunicorn_app", **environment) as service:
            before = resident_mb(service.process.pid)
            began = time.perf_counter()
            answers = send(service.url + asked.route, picture, asked.clients)
            seconds, peak = time.perf_counter() - began, resident_mb(service.process.pid)
        told = ", ".join(f"{count} × {code}" for code, count in sorted(answers.items()))
        print(f"{name:<14} {before:5.0f} → {peak:6.0f} MB (wanted ≤ {WANTED_MB}), {seconds:5.1f} s: {told}", flush=True)


def noise(size: int) -> bytes:
    """An incompressible image of about `size` bytes."""
    side = int((size / 3) ** 0.5)
    return _png(Image.fromarray(np.random.default_rng(1).integers(0, 256, (side, side, 3), np.uint8)))


def plain(pixels: int) -> bytes:
    """A small file of `pixels` pixels, partly transparent, which is the most expensive kind."""
    side = int(pixels**0.5)
    return _png(Image.new("RGBA", (side, side), (200, 30, 30, 128)))


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def send(url: str, picture: bytes, clients: int) -> Counter[int]:
    """Responses by status code to `clients` simultaneous requests; 503 is counted and retried."""
    body: dict[str, object] = {"prompt": "a boat", "image": base64.b64encode(picture).decode()}
    answers: Counter[int] = Counter()
    if "/v1/" in url:
        body["timeout"] = WAIT_SECONDS
    together = threading.Barrier(clients)

    def one() -> None:
        with httpx.Client(timeout=300) as client:
            together.wait()
            for _ in range(TRIES):
                try:
                    answer = client.post(url, json=body)
                except httpx.HTTPError:
                    answers[0] += 1
                    continue
                answers[answer.status_code] += 1
                if answer.status_code != 503:
                    return
                time.sleep(float(answer.headers.get("Retry-After", 1)))

    threads = [threading.Thread(target=one) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def resident_mb(parent: int) -> float:
    """Peak resident memory of the server process, a child of `parent`."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    peaks = [_peak(int(pid)) for pid in (parent, *children)]
    return max(peaks)


def _peak(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main(sys.argv[1:])

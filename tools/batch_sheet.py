"""Draws the sheet of docs/BATCHES.md: samplers by guidance, by a running server with the built-in model.

python -m tools.batch_sheet docs/images/batch-sheet.webp [http://127.0.0.1:5050]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import httpx

BODY = {
    "name": "samplers by guidance",
    "prompt": "a red house by the sea at sunset",
    "axes": [
        {"field": "settings.scheduler", "values": ["euler", "heun", "dpmpp_2m", "unipc"]},
        {"field": "settings.guidance_scale", "values": [1, 2, 3, 4, 5]},
    ],
    "settings": {"seed": 7, "width": 256, "height": 256},
}
CELL = 176


def main(file: str, url: str = "http://127.0.0.1:5050") -> int:
    with httpx.Client(base_url=url, timeout=60) as client:
        made = client.post("/api/batches", json=BODY)
        if made.status_code != 202:
            print(made.text, file=sys.stderr)
            return 1
        address = made.json()["status_url"]
        while (status := client.get(f"{address}?limit=0").json())["status"] != "ENDED":
            time.sleep(1)
        Path(file).write_bytes(client.get(f"{address}/grid?format=webp&cell={CELL}").content)
    print(f"{file}: {status['counts']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

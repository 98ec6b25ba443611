"""`cyberimage status`: the queue, workers, models and disk of a running server."""

from __future__ import annotations

from typing import Any

import click

from app.cli.client import connected, server_options
from app.cli.common import EXIT_FAILED, json_option, print_json


@click.command()
@server_options
@json_option
def command(url: str, token: str | None, as_json: bool) -> int:
    """Show how a running server is doing. Exit status: 0 ready, 1 not ready, 69 no server answers."""
    with connected(url, token) as client:
        status = client.request("GET", "/status")
    if as_json:
        print_json(status)
    else:
        print("\n".join(_lines(status)))
    return 0 if status["ready"] else EXIT_FAILED


def _lines(status: dict[str, Any]) -> list[str]:
    queue = ", ".join(f"{count:,} {name.lower()}" for name, count in status["queue"].items() if count) or "empty"
    lines = [
        f"CyberImage {status['versions'].get('cyberimage', '')}, up {_duration(status['uptime_seconds'])}",
        f"  ready    {'yes' if status['ready'] else 'no'}",
        *(f"           {name}: {state}" for name, state in status["checks"].items() if state != "ok"),
        f"  queue    {queue}",
        *_disk_lines(status["disk"]),
    ]
    for worker in status["workers"]:
        models = ", ".join(model["model_id"] for model in worker["models"]) or "no model loaded"
        lines.append(f"  worker   {worker['id']} on {worker['device']}: {worker['state']}, {models}")
    return lines


def _disk_lines(disk: dict[str, Any]) -> list[str]:
    """None where the media store has no bound."""
    free = disk["free_bytes"]
    return [] if free is None else [f"  disk     {free / 1e9:,.1f} GB free{_percent_of(disk)}"]


def _percent_of(disk: dict[str, Any]) -> str:
    """Empty where it cannot be read, and of an older server."""
    return "" if disk.get("percent") is None else f", {disk['percent']:.0f} % used"


def _duration(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes // 1440} d {minutes // 60 % 24} h" if minutes >= 1440 else f"{minutes // 60} h {minutes % 60} min"

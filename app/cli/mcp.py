"""`cyberimage mcp`: a running server as a Model Context Protocol server on stdio, for programs that start one."""

from __future__ import annotations

import asyncio
import sys

import click

from app.cli.mcp_bridge import Bridge
from cyberimage.protocol import DEFAULT_URL


@click.command()
@click.option("--server", "--url", "url", envvar="CYBERIMAGE_URL", default=DEFAULT_URL, help="It ($CYBERIMAGE_URL).")
@click.option("--token", envvar="CYBERIMAGE_TOKEN", help="API key or hub token ($CYBERIMAGE_TOKEN).")
def command(url: str, token: str | None) -> int:
    """Offer a running server's tools to an assistant, by the Model Context Protocol on stdin and stdout.

    \b
    Programs such as Claude Desktop, Cursor and VS Code start it themselves; docs/CLIENTS.md has what to enter.
    """
    bridge = Bridge(url, token, sys.stdout.buffer)
    asyncio.run(bridge.run(sys.stdin.buffer))
    return 0

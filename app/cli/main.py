"""The `cyberimage` command: one subcommand per file, imported only when it is called."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from app.cli.common import invoke
from app.process.platform_check import require_unix
from app.version import __version__

COMMANDS = {
    "run": "app.cli.run",
    "worker": "app.cli.worker",
    "check": "app.cli.check",
    "doctor": "app.cli.doctor",
    "status": "app.cli.status",
    "generate": "app.cli.generate",
    "batch": "app.cli.batch",
    "mcp": "app.cli.mcp",
    "models": "app.cli.models",
    "loras": "app.cli.loras",
    "keys": "app.cli.keys",
    "cleanup": "app.cli.cleanup",
    "media": "app.cli.media",
    "migrate": "app.cli.migrate",
    "backup": "app.cli.backup",
    "restore": "app.cli.restore",
}


class LazyGroup(click.Group):
    """Imports a subcommand when it is needed: `cyberimage keys list` loads no worker."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name]).command
        return command


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog='Shell completion: eval "$(_CYBERIMAGE_COMPLETE=bash_source cyberimage)", or zsh_source, fish_source.',
)
@click.version_option(__version__, message="%(version)s")
def cli() -> None:
    """Self-hosted image generation: run the server, generate images, look after the installation.

    \b
    cyberimage run                            start the API and its workers
    cyberimage generate "a red fox" -o fox.png
    cyberimage status                         the queue, the workers, the disk
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status."""
    require_unix()
    return invoke(cli, arguments, "cyberimage")


def run_old_name(module: str) -> int:
    """`python -m app.keys` and the like, from before there was one command: run it, with a warning."""
    print(f"`python -m app.{module}` is now `cyberimage {module}`; the old name will go.", file=sys.stderr)
    return main([module, *sys.argv[1:]])

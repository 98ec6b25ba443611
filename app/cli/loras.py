"""`cyberimage loras`: the LoRA files that requests may name."""

from __future__ import annotations

import click

from app.api.schemas.loras import LoraBody
from app.cli.common import json_option, print_json
from app.cli.installation import run_command
from app.services.context import AppContext
from app.services.models.loras import listing


@click.group()
def command() -> None:
    """Show the LoRAs of this installation."""


@command.command("list")
@json_option
def list_loras(as_json: bool) -> int:
    """Show each LoRA, its family and size."""

    def work(context: AppContext) -> None:
        found = [LoraBody.of(known) for known in listing(context)]
        if as_json:
            print_json([lora.as_dict() for lora in found])
            return
        print(f"{'LORA':<40} {'FAMILY':<16} {'STATE':<8}")
        for lora in found:
            print(f"{lora.id:<40} {lora.family or '-':<16} {'here' if lora.available else 'missing':<8}")

    return run_command(work)

"""`cyberimage doctor`: what this machine has for running models, and what to do about what is missing."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from app.cli.common import EXIT_CONFIGURATION, EXIT_FAILED, json_option, print_json
from app.cli.devices import device_environment
from app.errors import ConfigurationError
from app.services.configuration import read_configuration
from app.services.ops.diagnosis import Diagnosis, diagnose


@click.command()
@json_option
def command(as_json: bool) -> int:
    """Look at driver, GPUs, torch, attention kernels, memory and disk; exit with 1 when something is to be done."""
    try:
        settings = read_configuration().settings
    except ConfigurationError as error:
        print("The configuration is wrong:", *error.problems, sep="\n  ", file=sys.stderr)
        return EXIT_CONFIGURATION
    found = diagnose(settings, device_environment(settings))
    if as_json:
        print_json(found.as_json())
    else:
        print(*_lines(found), sep="\n")
    return EXIT_FAILED if found.problems else 0


def _lines(found: Diagnosis) -> Iterator[str]:
    torch, driver = found.torch, found.driver
    yield f"NVIDIA driver  {driver.version or driver.problem or 'none'}"
    for card in driver.cards:
        capability = ".".join(map(str, card.capability)) if card.capability else "not known"
        memory = f"{card.memory_bytes / 1e9:.0f} GB"
        yield f"GPU {card.index}          {card.name}, {memory}, compute capability {capability}, {card.uuid}"
    build = f"CUDA {torch.cuda}" if torch.cuda else f"ROCm {torch.hip}" if torch.hip else "CPU"
    compiled = f", compiled for {' '.join(torch.architectures)}" if torch.architectures else ""
    yield f"torch          {f'{torch.version}, built for {build}{compiled}' if torch.version else 'not installed'}"
    for device in torch.devices:
        yield f"  sees         {device.name} ({torch.label}) {device.uuid}".rstrip()
    for kind, problem in torch.attention.items():
        yield f"  attention    {kind}: {problem or 'works'}"
    yield f"Starts         {found.plan.described}"
    limit = f", the container may use {found.ram_limit_bytes / 1e9:.1f} GB" if found.ram_limit_bytes else ""
    yield f"RAM            {found.ram_bytes / 1e9:.1f} GB, {found.available_bytes / 1e9:.1f} GB available{limit}"
    yield f"Disk           {found.disk_free_bytes / 1e9:.1f} GB free in MODEL_CACHE_DIR"
    yield f"C compiler     {found.compiler or 'none (compiling models needs gcc)'}"
    yield ""
    yield from (f"- {problem}" for problem in found.problems)
    if not found.problems:
        yield "Nothing is to be done."

"""`cyberimage generate`: a prompt to an image file, by a running server."""

from __future__ import annotations

import base64
import os
import sys
from pathlib import Path
from typing import Any, get_args

import click

from app.cli.client import connected, server_options
from app.cli.common import EXIT_FAILED, json_option, print_json
from app.cli.progress import ProgressDisplay
from app.core.schedulers.names import Sigmas, TimestepSpacing
from cyberimage import Client, Image, Job, JobFailed


def _loras(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> list[dict[str, Any]]:
    """`ID` or `ID:SCALE`."""
    found: list[dict[str, Any]] = []
    for value in values:
        id, separator, scale = value.rpartition(":")
        try:
            found.append({"id": id, "scale": float(scale)} if separator else {"id": value})
        except ValueError:
            found.append({"id": value})  # a colon of its own
    return found


@click.command()
@click.argument("prompt")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write; further images: NAME-2.png, …")
@click.option("-m", "--model", help="Model id, as `cyberimage models list` shows it; else the server's default.")
@click.option("--negative-prompt", "--negative", help="What is not to be in the image.")
@click.option("--width", type=int, help="Pixels.")
@click.option("--height", type=int, help="Pixels.")
@click.option("--steps", "num_inference_steps", type=int, help="Denoising steps.")
@click.option("--guidance-scale", "--cfg", type=float, help="How closely the prompt is followed.")
@click.option("--seed", type=int, help="The same seed and settings give the same image.")
@click.option("-n", "--num-images", type=int, help="Number of images.")
@click.option("--image", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Image to start from.")
@click.option("--mask", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="White is repainted.")
@click.option("--strength", type=float, help="With --image: how far to leave it, 0 to 1.")
@click.option("--scheduler", "--sampler", help="A name of GET /api/schedulers, such as `euler` or `DPM++ 2M Karras`.")
@click.option("--shift", type=float, help="Of flow models: above 1 more steps go to the noisy part.")
@click.option("--timestep-spacing", type=click.Choice(get_args(TimestepSpacing)), help="How the steps are spread.")
@click.option("--sigmas", type=click.Choice(get_args(Sigmas)), help="Spacing of the noise levels.")
@click.option("--lora", "loras", multiple=True, callback=_loras, metavar="ID[:SCALE]", help="May be repeated.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@server_options
@json_option
def command(
    prompt: str, output: Path | None, force: bool, url: str, token: str | None, as_json: bool, **options: Any
) -> int:
    """Generate an image of PROMPT and save it.

    \b
    cyberimage generate "a red fox in the snow" -o fox.png
    cyberimage generate "the same in winter" --image fox.png --strength 0.6

    Progress goes to stderr, the names of the files to stdout. Ctrl+C cancels the job.
    """
    if output is not None and output.exists() and not force:
        raise click.UsageError(f"{output} exists already. Choose another name, or overwrite it with --force.")
    with connected(url, token) as client:
        try:
            job = _generate(client, prompt, **options)
        except JobFailed as error:
            click.echo(str(error), err=True)
            return EXIT_FAILED
        files = [_save(client, image, output, number) for number, image in enumerate(job.images)]
    if as_json:
        print_json({"job_id": job.id, "files": [str(file) for file in files], "images": job.raw["images"]})
    else:
        print(*files, sep="\n")
    return 0


def _generate(
    client: Client,
    prompt: str,
    *,
    model: str | None,
    negative_prompt: str | None,
    image: Path | None,
    mask: Path | None,
    loras: list[dict[str, Any]],
    **settings: Any,
) -> Job:
    """Submit, show the progress, and return the finished job. What was not given is left out: the model's own defaults
    apply."""
    chosen = {name: value for name, value in settings.items() if value is not None}
    chosen |= {"loras": loras} if loras else {}
    job = client.generate_image(
        prompt, model, image=image, mask=mask, negative_prompt=negative_prompt or None, settings=chosen
    )
    for warning in job.warnings:
        click.echo(f"Note: {warning}", err=True)
    try:
        _show_progress(client, job)
    except KeyboardInterrupt:
        client.cancel(job)
        click.echo("The job was cancelled.", err=True)
        raise click.Abort from None
    return client.wait(job)


def _show_progress(client: Client, job: Job) -> None:
    with ProgressDisplay(sys.stderr, os.environ) as display:
        for event in client.stream(job):
            if event.name == "preview":
                display.preview(base64.b64decode(event.data["image"].partition(",")[2]))
            elif event.name in ("status", "progress"):
                display.update(event.data)


def _save(client: Client, image: Image, output: Path | None, number: int) -> Path:
    suffix = ".mp4" if image.mime_type == "video/mp4" else ".png"
    file = output or Path(f"cyberimage-{image.id[:8]}{suffix}")
    if output is not None and number:
        file = output.with_name(f"{output.stem}-{number + 1}{output.suffix}")
    try:
        file.write_bytes(client.get_image(image))
    except OSError as error:
        raise click.ClickException(
            f"{file} could not be written: {error.strerror}. The image is kept at {image.url}."
        ) from None
    return file

"""`cyberimage generate`: a prompt to an image file, by a running server."""

from __future__ import annotations

import base64
import os
import sys
from pathlib import Path
from typing import Any

import click

from app.cli.client import Client, server_options
from app.cli.common import EXIT_FAILED, json_option, print_json
from app.cli.progress import ProgressDisplay

ENDED = ("COMPLETED", "FAILED", "CANCELLED")


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
    client = Client(url, token)
    accepted = client.post("/api/generate", _body(prompt, **options))
    for warning in accepted["warnings"]:
        click.echo(f"Note: {warning}", err=True)
    try:
        job = _follow(client, accepted)
    except KeyboardInterrupt:
        client.post(f"/api/jobs/{accepted['job_id']}/cancel")
        click.echo("The job was cancelled.", err=True)
        raise click.Abort from None
    if job["status"] != "COMPLETED":
        error = job["error"] or {"message": f"The job was {job['status'].lower()}.", "code": job["status"].lower()}
        click.echo(f"{error['message']} ({error['code']}; job {job['job_id']})", err=True)
        return EXIT_FAILED
    files = [_save(client, image, output, number) for number, image in enumerate(job["images"])]
    if as_json:
        print_json({"job_id": job["job_id"], "files": [str(file) for file in files], "images": job["images"]})
    else:
        print(*files, sep="\n")
    return 0


def _body(
    prompt: str,
    *,
    model: str | None,
    negative_prompt: str | None,
    image: Path | None,
    mask: Path | None,
    loras: list[dict[str, Any]],
    **settings: Any,
) -> dict[str, Any]:
    """The body of POST /api/generate. What was not given is left out: the model's own defaults apply."""
    chosen = {name: value for name, value in settings.items() if value is not None}
    body: dict[str, Any] = {"prompt": prompt, "settings": chosen | ({"loras": loras} if loras else {})}
    body |= {"model_id": model} if model else {}
    body |= {"negative_prompt": negative_prompt} if negative_prompt else {}
    for name, file in (("image", image), ("mask", mask)):
        if file is not None:
            body[name] = base64.b64encode(file.read_bytes()).decode()
    return body


def _follow(client: Client, accepted: dict[str, Any]) -> dict[str, Any]:
    """The job when it has ended. Its progress is shown meanwhile; a stream that ends early is opened again."""
    status_path = accepted["status_url"]
    with ProgressDisplay(sys.stderr, os.environ) as display:
        while True:
            for name, data in client.events(accepted["events_url"]):
                if name == "preview":
                    display.preview(base64.b64decode(data["image"].partition(",")[2]))
                elif name in ("status", "progress"):
                    display.update(data)
            job = client.get(status_path)
            if job["status"] in ENDED:
                return job


def _save(client: Client, image: dict[str, Any], output: Path | None, number: int) -> Path:
    suffix = ".mp4" if image["mime_type"] == "video/mp4" else ".png"
    file = output or Path(f"cyberimage-{image['image_id'][:8]}{suffix}")
    if output is not None and number:
        file = output.with_name(f"{output.stem}-{number + 1}{output.suffix}")
    try:
        file.write_bytes(client.download(image["url"]))
    except OSError as error:
        raise click.ClickException(
            f"{file} could not be written: {error.strerror}. The image is kept at {image['url']}."
        ) from None
    return file

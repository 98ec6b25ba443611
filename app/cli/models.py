"""`cyberimage models`: which models of the catalogue are here; download and delete them."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import click

from app.cli.common import EXIT_FAILED, json_option, print_json
from app.cli.installation import run_command
from app.cli.tune import tune
from app.config import ROOT
from app.core.catalog import ModelSpec
from app.core.fit import Fit
from app.core.job import Phase
from app.core.upscaling import is_resampling
from app.engines.base import EngineSettings, Pixels
from app.errors import InvalidRequest
from app.services.context import AppContext
from app.services.models import companions, model_files
from app.services.ops import stats

_RATE_SECONDS = 10.0  # that the rate is an average over
_LINE_SECONDS = 10.0  # between two lines when there is no terminal
_FITS_WIDTH = 20  # characters


@click.group()
def command() -> None:
    """Show, download, tune and delete the models of the catalogue, with ControlNets, adapters, detectors and
    upscalers. The service may run meanwhile."""


@command.command("list")
@json_option
def list_models(as_json: bool) -> int:
    """Show each model: whether it is here, and the memory plan under which it fits this machine. Then what is used
    beside models, with the models that it fits."""

    def work(context: AppContext) -> None:
        states, others = stats.models(context), companions.listing(context)
        if as_json:
            models = [_as_json(context, state) for state in states]
            print_json(models + [_companion_as_json(context, each) for each in others])
            return
        print(f"{'MODEL':<18} {'KIND':<10} {'STATE':<8} {'ON DISK':>8}  {'FITS':<20} {'NEEDS':<8} SOURCE")
        for state in states:
            spec, size = state.spec, _gigabytes(state.files.bytes) if state.files.bytes else "-"
            print(
                f"{spec.id:<18} {spec.group:<10} {_state(state.files):<8} {size:>8}  {_fits(state.fit):<20}"
                f" {_needs(context, spec):<8} {spec.source}: {spec.repo}"
            )
        for each in others:
            size = _gigabytes(each.bytes) if each.bytes else "-"
            presence = "here" if each.available else "partly" if each.bytes else "-"
            print(
                f"{each.spec.id:<18} {each.spec.options.kind:<10} {presence:<8} {size:>8}  {_beside(each):<20}"
                f" {_needs(context, each.spec):<8} {each.spec.source}: {each.spec.repo}"
            )

    return run_command(work)


@command.command()
@click.argument("model_id")
def fetch(model_id: str) -> int:
    """Download MODEL_ID now, or go on where a download broke off."""
    try:
        return run_command(lambda context: _fetch(context, model_id))
    except KeyboardInterrupt:
        print("\nStopped. What came is kept; run the same command again to go on.", file=sys.stderr)
        raise click.Abort from None


@command.command()
@json_option
def check(as_json: bool) -> int:
    """Ask the hub whether the repositories of all models exist. Exit status 1 if one does not."""
    unusable: list[str] = []

    def work(context: AppContext) -> None:
        os.environ.update(context.settings.library_environment())  # before huggingface_hub is imported
        from huggingface_hub import HfApi

        from app.cli.hub_check import companion_states, state_of

        api = HfApi()
        wanted: dict[str, set[str]] = {
            repo: set() for spec in context.catalog for repo in model_files.hub_repos(context, spec)
        }
        states = [state_of(api, repo) for repo in sorted(wanted)]
        for spec in context.catalog.everything:
            if spec.options.kind is not None:
                states += companion_states(api, spec)
        unusable.extend(state.repo for state in states if not state.is_usable)
        if as_json:
            print_json([vars(state) for state in states])
            return
        for state in states:
            print(f"{state.repo:<48} {state.state} {state.detail}".rstrip())

    return run_command(work) or (EXIT_FAILED if unusable else 0)


@command.command()
@click.argument("model_id")
def remove(model_id: str) -> int:
    """Delete what was downloaded of MODEL_ID."""

    def work(context: AppContext) -> None:
        spec = companions.find(context, model_id)
        freed = model_files.remove(context, spec)
        print(f"{_gigabytes(freed)} of {spec.repo} are deleted." if freed else f"Nothing of {spec.repo} is here.")
        for other in context.catalog.everything:
            if (other.repo, other.source) == (spec.repo, spec.source) and other.id != spec.id:
                print(f"{other.id} used the same files.")

    return run_command(work)


command.add_command(tune)


def _as_json(context: AppContext, state: stats.ModelState) -> dict[str, Any]:
    spec, files = state.spec, state.files
    needs = _needs(context, spec)
    return {
        "id": spec.id,
        "name": spec.name,
        "kind": "model",
        "source": spec.source,
        "repo": spec.repo,
        "media": spec.media,
        "group": spec.group,
        "available": files.available,
        "bytes": files.bytes,
        "needs": None if needs == "-" else needs,
        "fits": vars(state.fit),
    }


def _companion_as_json(context: AppContext, each: companions.Companion) -> dict[str, Any]:
    spec, needs = each.spec, _needs(context, each.spec)
    return {
        "id": spec.id,
        "name": spec.name,
        "kind": spec.options.kind,
        "source": spec.source,
        "repo": spec.repo,
        "family": each.family,
        "beside": list(each.beside),
        "available": each.available,
        "bytes": each.bytes,
        "needs": None if needs == "-" else needs,
    }


def _beside(each: companions.Companion) -> str:
    """The models that it fits; the family that it is for while there is none of it."""
    named = ", ".join(each.beside) or (f"for {each.family}" if each.family else "all")
    if each.spec.options.kind == "controlnet" and each.family is None and not each.beside:
        named = "?"
    return named if len(named) <= _FITS_WIDTH else f"{named[: _FITS_WIDTH - 3]}..."


def _fits(fit: Fit) -> str:
    """The memory plan in short, or `no`; `?` where it is not known."""
    if fit.answer == "yes":
        return "-" if fit.plan is None else fit.plan.replace(" with text encoder in ", " + ").replace("VAE in ", "")
    return "no" if fit.answer == "no" else "?"


def _state(files: model_files.ModelFiles) -> str:
    if files.bytes is None:
        return "remote" if files.available else "no key"
    return "here" if files.available else "partly" if files.bytes else "-"


def _needs(context: AppContext, spec: ModelSpec) -> str:
    """`HF_TOKEN` when the model is gated and there is none; `licence` when there is: of it, the hub decides."""
    if not spec.requires_auth or spec.source != "huggingface":
        return "-"
    return "licence" if context.settings.hf_token.get_secret_value() else "HF_TOKEN"


def _fetch(context: AppContext, model_id: str) -> None:
    spec = companions.find(context, model_id)
    if is_resampling(spec):
        raise InvalidRequest(f"{spec.id} needs no weights; there is nothing to fetch.")
    if spec.lane == "remote":
        raise InvalidRequest(f"{spec.id} runs at a provider; there is nothing to fetch.")
    settings = context.settings
    os.environ.update(settings.library_environment())  # before anything imports torch or huggingface_hub
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")  # what goes wrong is said in our words
    logging.getLogger("xformers").setLevel(logging.ERROR)
    print(f"Looking what {spec.id} ({spec.repo}) needs.", flush=True)
    from app.engines.diffusers.load.auxiliaries import locate_auxiliary, revision_of
    from app.engines.diffusers.load.hub import bound_hub_answers
    from app.engines.diffusers.load.preview_vae import fetch_preview_vae
    from app.engines.diffusers.load.sources import locate  # imports torch: seconds
    from app.engines.diffusers.load.weights import fingerprint
    from app.engines.diffusers.upscale.files import locate_upscaler

    bound_hub_answers()

    engine = EngineSettings(
        root=ROOT, model_cache_dir=settings.model_cache_dir, disk_floor_bytes=settings.disk_floor_bytes
    )
    line = ProgressLine(spec.id, is_terminal=sys.stdout.isatty())
    try:
        if spec.is_auxiliary:
            revision = revision_of(locate_auxiliary(spec, engine, line))
        elif spec.is_upscaler:
            file = locate_upscaler(spec, engine, line)
            revision = fingerprint(file.parent, [file])
        else:
            revision = locate(spec, engine, line).revision
            fetch_preview_vae(spec, engine, line)
    finally:
        line.end()
    others = {each.spec.id: each.bytes for each in companions.listing(context)}
    size = others[spec.id] if spec.options.kind is not None else model_files.files_of(context, spec).bytes or 0
    print(f"{spec.id} is here: {_gigabytes(size)}, revision {revision}.")


class ProgressLine:
    """The engine's `Control`: one line that is written over, or in a log a line now and then."""

    def __init__(self, model_id: str, *, is_terminal: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._model_id = model_id
        self._clock = clock
        self._is_terminal = is_terminal
        self._seen: deque[tuple[float, int]] = deque()  # (when, bytes)
        self._written_at = float("-inf")
        self._width = 0

    def report(self, phase: Phase, step: int = 0, total_steps: int = 0) -> None:
        """Only the bytes are shown."""

    def preview(self, pixels: Pixels, step: int) -> None:
        """There is none."""

    def cancelled(self) -> bool:
        return False  # Ctrl+C does it

    def downloaded(self, done: int, total: int) -> None:
        now = self._clock()
        self._seen.append((now, done))
        while now - self._seen[0][0] > _RATE_SECONDS:
            self._seen.popleft()
        if self._is_terminal:
            text = self._text(done, total)
            print("\r" + text.ljust(self._width), end="", flush=True)
            self._width = len(text)
        elif now - self._written_at >= _LINE_SECONDS or done == total:
            self._written_at = now
            print(self._text(done, total), flush=True)

    def end(self) -> None:
        if self._width:
            print()

    def _text(self, done: int, total: int) -> str:
        (since, before), (now, _) = self._seen[0], self._seen[-1]
        rate = (done - before) / (now - since) if now > since else 0.0
        about = f", {rate / 1e6:.1f} MB/s, {_duration((total - done) / rate)} left" if rate > 0 and done < total else ""
        return f"{self._model_id}: {_gigabytes(done)} of {_gigabytes(total)}{about}"


def _gigabytes(size: int) -> str:
    """`1.2 GB`, or `12.3 MB` of what is small."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

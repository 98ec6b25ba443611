"""`cyberimage models tune`: find the options under which a model draws fastest on this machine."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from PIL import Image

from app.cli.common import json_option, print_json
from app.cli.devices import worker_device
from app.cli.engine_settings import engine_settings
from app.cli.installation import run_command
from app.core.catalog import ModelSpec
from app.core.tuned_profiles import GOALS, Goal, Measurement, TunedProfile, choose
from app.errors import InvalidRequest, UnsupportedTask
from app.files.tuned_profiles import profile_path, read_profile, write_profile
from app.services.context import AppContext

if TYPE_CHECKING:
    from app.engines.tuning.tuner import Tuner

_PROMPTS = (
    "a sailing boat on a lake in front of mountains",
    "a red circle on a blue background",
    "a portrait of an old fisherman, soft window light",
    "a street market in the rain at night, neon signs",
)
_STATE = ".measured.json"  # beside the profile, until it is written
_MOST_SHOWN = 4  # pictures in the grid: a row each


def _size(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    found = re.fullmatch(r"(\d{2,4})x(\d{2,4})", value)
    if found is None:
        raise click.BadParameter("use WIDTHxHEIGHT in pixels, such as 1024x1024")
    return int(found[1]), int(found[2])


@click.command()
@click.argument("model_id")
@click.option("--goal", type=click.Choice(GOALS), default=GOALS[0], show_default=True, help="What is best.")
@click.option(
    "--minutes", type=click.FloatRange(0.1, 1440), default=20.0, show_default=True, help="No new attempt after them."
)
@click.option("--prompt", "prompts", multiple=True, help="Draw these instead of the usual four. May be repeated.")
@click.option("--seeds", type=click.IntRange(1, 20), default=2, show_default=True, help="Pictures of each prompt.")
@click.option("--steps", type=click.IntRange(1, 1000), help="Denoising steps, instead of the model's own number.")
@click.option("--size", callback=_size, metavar="WIDTHxHEIGHT", help="Pixels, instead of the model's own size.")
@click.option("--again", is_flag=True, help="Forget what an earlier run measured.")
@json_option
def tune(
    model_id: str,
    goal: Goal,
    minutes: float,
    prompts: tuple[str, ...],
    seeds: int,
    steps: int | None,
    size: tuple[int, int] | None,
    again: bool,
    as_json: bool,
) -> int:
    """Measure MODEL_ID under the options that this machine, its family and the installed packages allow, and keep the
    best as its profile.

    Stop the service meanwhile, or it takes part of the device. A run that is interrupted or out of time goes on where
    it was when the same command is given again. The service uses the profile from its next start on.
    """

    def work(context: AppContext) -> None:
        spec = context.catalog.get(model_id)
        if spec.lane == "remote":
            raise InvalidRequest(f"{spec.id} runs at a provider; there is nothing to tune.")
        if spec.options.tasks is not None and not {"txt2img", "txt2video"} & set(spec.options.tasks):
            raise UnsupportedTask(f"{spec.id} does not draw from words alone, which is what is measured.")
        say = print if not as_json else (lambda *_, **__: None)
        profile, left = _tuned(context, spec, goal, minutes, (prompts, seeds, steps, size), again, say)
        path = profile_path(context.settings.tuned_profiles_folder, spec.id)
        if as_json:
            print_json({**profile.model_dump(mode="json", exclude_unset=True), "file": str(path), "left_out": left})
        else:
            _conclude(profile, path, left)

    try:
        return run_command(work)
    except KeyboardInterrupt:
        print("\nStopped. What was measured is kept; run the same command again to go on.", file=sys.stderr)
        raise click.Abort from None


def _tuned(
    context: AppContext,
    spec: ModelSpec,
    goal: Goal,
    minutes: float,
    drawn: tuple[Sequence[str], int, int | None, tuple[int, int] | None],
    again: bool,
    say: Callable[..., None],
) -> tuple[TunedProfile, Sequence[str]]:
    """The profile, written to its file, and what there was no time for."""
    settings = context.settings
    os.environ.update(settings.library_environment())  # before anything imports torch
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    device = worker_device(settings)
    os.environ.update(device.plan.environment)
    from app.engines.registry import engine_factories
    from app.engines.tuning.tuner import Deadline, Subject, Tuner

    usual = dataclasses.replace(
        engine_settings(settings, device, context.catalog),
        compile="none",
        step_cache=None,
        fuse_qkv=False,
        vae_channels_last=False,
        previews=False,
        safety_checker="",
    )
    prompts, seeds, steps, size = drawn
    subject = Subject(prompts or _PROMPTS, range(1, seeds + 1), steps, size)
    engine: Any = engine_factories(usual)["local"]()
    tuner = Tuner(engine, spec, subject, goal, Deadline(60 * minutes))
    say(f"Drawing with {spec.id} as it is.", flush=True)
    revision = tuner.revision()
    path = profile_path(settings.tuned_profiles_folder, spec.id)
    state = path.with_suffix(_STATE)

    def profile_of(measured: Sequence[Measurement]) -> TunedProfile:
        found = tuple(measured)
        return TunedProfile(
            version=1,
            model_id=spec.id,
            repo=spec.repo,
            revision=revision,
            device=_device_of(engine),
            software=_software(),
            subject=f"{subject.label}: {' | '.join(subject.prompts)}"[:500],
            goal=goal,
            options=choose(found, goal).options,
            measured_at=datetime.now(UTC).replace(microsecond=0),
            measurements=found,
        )

    kept = None if again else read_profile(state)
    tuner.known = _still_valid(kept, profile_of([Measurement(options=_plain())])) if kept else ()
    done = list(tuner.known)

    def keep(measurement: Measurement) -> None:
        done.append(measurement)
        say(_row(measurement), flush=True)
        write_profile(state, profile_of([Measurement(options=_plain()), *done]))

    tuner.measured = keep
    profile = profile_of(tuner.run())
    write_profile(path, profile)
    if not tuner.skipped:
        state.unlink(missing_ok=True)
    _write_grid(tuner, profile, path.with_suffix(".png"))
    return profile, tuner.skipped


def _plain() -> Any:
    from app.core.tuned_profiles import TunedOptions

    return TunedOptions()


def _still_valid(kept: TunedProfile, now: TunedProfile) -> Sequence[Measurement]:
    """The measurements of an earlier run, if it was about the same: model, device, software and what was drawn."""
    same = ("repo", "revision", "device", "software", "subject")
    return kept.measurements[1:] if all(getattr(kept, name) == getattr(now, name) for name in same) else ()


def _device_of(engine: Any) -> str:
    from app.engines.diffusers.memory.memory import device_name

    return device_name(engine.device)


def _software() -> dict[str, str]:
    import diffusers
    import torch

    return {"torch": torch.__version__, "diffusers": diffusers.__version__}


def _write_grid(tuner: Tuner, profile: TunedProfile, path: Path) -> None:
    """A row for each picture: of the plain model, under the profile, and the difference eight times as strong."""
    if not profile.options.model_fields_set:
        path.unlink(missing_ok=True)
        return
    plain, made = (tuner.pictures_under(options)[:_MOST_SHOWN] for options in (_plain(), profile.options))
    rows = []
    for one, other in zip(plain, made, strict=True):
        strong = np.clip(np.abs(one.astype(int) - other) * 8, 0, 255).astype(np.uint8)
        rows.append(np.concatenate([one, other, strong], axis=1))
    Image.fromarray(np.concatenate(rows)).save(path)


def _row(measured: Measurement) -> str:
    if measured.problem or measured.ratio is None or measured.seconds is None:
        return f"{measured.label:<58} not possible: {measured.problem}"
    seen = measured.change
    changed = "" if seen is None else f"SSIM {seen.least_ssim:.3f}" + (", visible" if seen.is_visible else "")
    memory = "" if measured.peak_bytes is None else f"{measured.peak_bytes / 1e9:6.2f} GB"
    return f"{measured.label:<58} {measured.seconds:8.3f} s  × {measured.ratio:.2f} {memory}  {changed}"


def _conclude(profile: TunedProfile, path: Path, left: Sequence[str]) -> None:
    best = choose(profile.measurements, profile.goal)
    if best is profile.measurements[0]:
        print(f"Nothing is better than the model as it is ({profile.goal.replace('-', ' ')}).")
    else:
        print(f"Best ({profile.goal.replace('-', ' ')}): {_row(best)}")
        print(f"The pictures side by side: {path.with_suffix('.png')}")
    if left:
        print(f"Out of time for: {'; '.join(left)}. The same command goes on with them.")
    print(f"Kept in {path}. The service uses it from its next start on.")

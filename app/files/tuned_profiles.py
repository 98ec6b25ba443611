"""The files of tuned profiles: one for each model in their folder, JSON, beside a picture to look at."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from pydantic import ValidationError

from app.core.tuned_profiles import TunedProfile

log = logging.getLogger("cyberimage.models")
_MOST_BYTES = 4_000_000


def profile_path(folder: Path, model_id: str) -> Path:
    return folder / f"{model_id.replace('/', '--')}.json"


def read_profile(path: Path) -> TunedProfile | None:
    """The profile in a file; None if there is none, or, with a warning, if it cannot be read."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("it is too large")
        return TunedProfile.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        told = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        log.warning("The profile %s is not used: %s. Tune the model again, or delete the file.", path, told)
        return None


def write_profile(path: Path, profile: TunedProfile) -> None:
    """Replace the file of a profile at once, so that no reader sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(profile.model_dump_json(indent=1, exclude_unset=True) + "\n", encoding="utf-8")
    draft.replace(path)

"""Reruns: which picture is generated again, and the versions it was made with."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict


class RerunOf(BaseModel):
    """`versions` are those of the manifest: libraries, weights, device. `notes` are warnings known at submission."""

    model_config = ConfigDict(frozen=True)

    image_id: str
    versions: dict[str, str]
    notes: tuple[str, ...] = ()


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """A warning for each version that is in both and differs."""
    changed = (name for name in sorted(then.keys() & now.keys()) if then[name] != now[name])
    return [f"{name} was {then[name]} and is now {now[name]}: the picture may differ." for name in changed]

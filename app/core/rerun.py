"""Making a picture again: which one, and with what it was made then."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict


class RerunOf(BaseModel):
    """`versions` are those of the manifest: libraries, weights, device. `notes` is what can be told beforehand."""

    model_config = ConfigDict(frozen=True)

    image_id: str
    versions: dict[str, str]
    notes: tuple[str, ...] = ()


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """A warning for each thing that is known of both times and was another one."""
    changed = (name for name in sorted(then.keys() & now.keys()) if then[name] != now[name])
    return [f"{name} was {then[name]} and is {now[name]} now: the picture may differ." for name in changed]

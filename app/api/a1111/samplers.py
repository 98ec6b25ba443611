"""The names of samplers and noise schedules that AUTOMATIC1111 has and diffusers can do."""

from __future__ import annotations

SAMPLERS: tuple[str, ...] = (
    *("Euler", "Euler a", "Heun", "LMS", "DDIM", "UniPC", "LCM", "DPM2", "DPM2 a"),
    *("DPM++ 2M", "DPM++ 2M SDE", "DPM++ 3M SDE", "DPM++ SDE"),
)
SCHEDULES: tuple[tuple[str, str], ...] = (  # name and label
    *(("automatic", "Automatic"), ("karras", "Karras"), ("exponential", "Exponential")),
    *(("sgm_uniform", "SGM Uniform"), ("simple", "Simple"), ("beta", "Beta")),
)
_LABELS = {spelling.casefold(): label for name, label in SCHEDULES for spelling in (name, label)}
_PLAIN = ("", "automatic", "none", "use same scheduler")


def chosen(sampler: str | None, schedule: str | None) -> str | None:
    """Both as one name, such as `DPM++ 2M Karras`; None where the model's own is meant."""
    name = (sampler or "").strip()
    plain = (schedule or "").strip()
    label = "" if plain.casefold() in _PLAIN else _LABELS.get(plain.casefold(), plain)
    if name.casefold() in _PLAIN:
        return None
    return name if not label or name.casefold().endswith(f" {label.casefold()}") else f"{name} {label}"

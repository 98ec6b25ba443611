"""What a request's prompts say beside words: LoRA tags, weights, and whether the model reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from app.core.catalog import ModelSpec
from app.core.prompt_markup import changes_by_step, has_markup, lora_tags, may_be_long
from app.core.prompts import check_prompt, markup_warnings
from app.errors import FieldError

FIELDS = ("clip_skip", "prompt_2", "prompt_weighting")
MOST_SCALE = 2.0  # of a LoRA


class PromptSettings(Protocol):
    """The fields of a request's settings."""

    @property
    def clip_skip(self) -> int | None: ...
    @property
    def prompt_2(self) -> str | None: ...
    @property
    def prompt_weighting(self) -> Literal["auto", "off"] | None: ...


@dataclass(frozen=True)
class LoraOfPrompt:
    name: str
    scale: float


@dataclass(frozen=True)
class ReadPrompts:
    """`prompt` without LoRA tags; `weighting` as in GenerationRequest."""

    prompt: str
    prompt_2: str | None
    loras: Sequence[LoraOfPrompt]
    weighting: Literal["auto", "off"] | None


def read_prompts(
    prompt: str,
    negative: str | None,
    wanted: PromptSettings,
    spec: ModelSpec,
    max_chars: int,
    warnings: list[str],
    problems: list[FieldError],
) -> ReadPrompts:
    """Adds what cannot be used to `problems`, and what is plain text for this model to `warnings`."""
    if spec.lane != "local":  # a provider's model may read such markup itself
        for name in FIELDS:
            if getattr(wanted, name) not in (None, "off"):
                problems.append(FieldError(f"settings.{name}", "is for models that run here, not at a provider"))
        return ReadPrompts(prompt, None, (), None)
    second = check_prompt(wanted.prompt_2 or "", "settings.prompt_2", max_chars, required=False) or None
    if wanted.prompt_weighting == "off":
        return ReadPrompts(prompt, second, (), "off")
    without, loras = _loras(prompt, warnings, problems)
    texts = {"prompt": without, "negative_prompt": negative or "", "settings.prompt_2": second or ""}
    if spec.options.prompt_weights is False:
        for field, text in texts.items():
            warnings += markup_warnings(text, field)
        return ReadPrompts(without, second, loras, None)
    for field, text in texts.items():
        warnings += [each for each in markup_warnings(text, field) if "the tag" in each]
        if changes := changes_by_step(text):
            warnings.append(f"{field} contains {changes:.40}, which changes by step elsewhere; here it is a weight.")
    needed = any(has_markup(text) or may_be_long(text) for text in texts.values())
    return ReadPrompts(without, second, loras, "auto" if needed else None)


def _loras(prompt: str, warnings: list[str], problems: list[FieldError]) -> tuple[str, Sequence[LoraOfPrompt]]:
    """The prompt without its LoRA tags, and these."""
    without, tags = lora_tags(prompt)
    found = []
    for tag in tags:
        if tag.scale is None or not 0 <= tag.scale <= MOST_SCALE:
            message = f"has the tag {tag.written:.60}: its scale must be 0 to {MOST_SCALE:g}"
            problems.append(FieldError("prompt", message))
            continue
        found.append(LoraOfPrompt(tag.name, tag.scale))
        warnings.append(f"{tag.written} was read as the LoRA {tag.name} with scale {tag.scale:g}.")
    if tags and not without:
        problems.append(FieldError("prompt", "names LoRAs only; describe the picture"))
    return without, found

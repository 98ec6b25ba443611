"""What trainers write into a LoRA's metadata: the base model, the family, and the words that it is called by."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Mapping

_BASES = ("ss_base_model_version", "modelspec.architecture", "ss_sd_model_name", "base_model")
_PHRASES = ("modelspec.trigger_phrase", "trigger_phrase", "trigger_words", "trigger_word", "ss_trigger_words")
_TAGS = "ss_tag_frequency"  # JSON: by folder, how often each tag is in the captions
_MOST_WORDS, _MOST_CHARS = 10, 100
_FAMILIES = (  # parts of a base's name without its punctuation; the first match counts
    ("flux2", "flux2"),
    ("chroma", "chroma"),
    ("flux", "flux"),
    ("kolors", "kolors"),
    ("qwenimage", "qwen"),
    ("zimage", "zimage"),
    ("lumina2", "lumina2"),
    ("luminaimage2", "lumina2"),
    ("hunyuanvideo", "hunyuan"),
    ("hunyuan", "hunyuan"),
    ("pixart", "pixart"),
    ("hidream", "hidream"),
    ("sana", "sana"),
    ("ltx2", "ltx2"),
    ("ltx", "ltx"),
    ("wan2", "wan"),
    ("stablediffusion3", "sd3"),
    ("sd3", "sd3"),
    ("stablediffusionxl", "sdxl"),
    ("sdxl", "sdxl"),
    ("stablediffusionv2", "sd21"),
    ("sdv2", "sd21"),
    ("stablediffusionv1", "sd15"),
    ("sdv1", "sd15"),
)
_SAME_NAMES = {  # families whose LoRAs may look like one of the first
    "flux": ("flux2", "chroma", "hunyuan"),
    "sdxl": ("kolors",),
    "unet": ("sd15", "sd21", "sdxl", "kolors"),
    None: tuple(family for _, family in _FAMILIES),
}


def base_model_of(metadata: Mapping[str, str]) -> str | None:
    """The base model as the trainer wrote it, at most 100 characters; None when it is not stated."""
    found = next((str(metadata[name]) for name in _BASES if metadata.get(name)), None)
    return None if found is None else found.strip('"')[:_MOST_CHARS]


def stated_family(metadata: Mapping[str, str], by_shapes: str | None) -> str | None:
    """The family of a LoRA: `by_shapes`, or the one that its metadata states where that is not certain."""
    for name in _BASES:
        plain = "".join(letter for letter in str(metadata.get(name, "")).lower() if letter.isalnum())
        found = next((family for mark, family in _FAMILIES if mark in plain), None)
        if found in _SAME_NAMES.get(by_shapes, ()):
            return found
    return by_shapes


def trigger_words_of(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The words to write into a prompt: those that the file states, else the most frequent tags of its captions."""
    stated = [word for name in _PHRASES for word in _split(metadata.get(name))]
    words = stated or [tag for tag, _ in _tags(metadata).most_common(_MOST_WORDS)]
    return tuple(dict.fromkeys(word[:_MOST_CHARS] for word in words))[:_MOST_WORDS]


def _split(value: object) -> list[str]:
    with contextlib.suppress(ValueError):
        value = json.loads(str(value)) if str(value).startswith(("[", '"')) else value
    parts = value if isinstance(value, list) else str(value or "").split(",")
    return [word for part in parts if (word := str(part).strip())]


def _tags(metadata: Mapping[str, str]) -> Counter[str]:
    try:
        folders = json.loads(metadata.get(_TAGS, "{}"))
    except (ValueError, TypeError, RecursionError):
        return Counter()
    count: Counter[str] = Counter()
    for tags in folders.values() if isinstance(folders, dict) else ():
        for tag, times in tags.items() if isinstance(tags, dict) else ():
            if isinstance(times, int) and (word := str(tag).strip()):
                count[word] += times
    return count

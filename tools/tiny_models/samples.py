"""The table of all tiny checkpoints, by the name of their family."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tools.tiny_models import (
    bilingual_families,
    dialog_families,
    dit_families,
    flow_families,
    flux2_families,
    glm_image_family,
    hunyuan_families,
    kandinsky5_families,
    ltx2_family,
    omnigen_family,
    prior_families,
    qwen_families,
    t5_video_families,
    unet_families,
    video_families,
)
from tools.tiny_models.sample import Sample

_BASIC = (flow_families, unet_families, video_families)
_FILES = (
    *_BASIC,
    qwen_families,
    flux2_families,
    glm_image_family,
    ltx2_family,
    omnigen_family,
    hunyuan_families,
    dit_families,
    dialog_families,
    bilingual_families,
    prior_families,
    kandinsky5_families,
    t5_video_families,
)
SAMPLES: Mapping[str, Sample] = MappingProxyType(
    {name: sample for families in _FILES for name, sample in families.SAMPLES.items()}
)
# Those that most tests of the engine draw with; the others are built when they are first asked for.
BASIC = tuple(name for families in _BASIC for name in families.BASIC)

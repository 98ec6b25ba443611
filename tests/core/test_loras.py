"""The family of a LoRA, from its tensors' names by any trainer; None where it is ambiguous."""

from __future__ import annotations

import pytest

from app.core.loras import family_of, fits, is_lora, rank_of


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
        (lora("transformer.transformer_blocks.0.attn1.to_q", columns=2240), "sana"),
        (lora("transformer.transformer_blocks.0.attn1.to_q"), None),  # CogVideoX and Mochi write the same
        (lora("transformer.transformer_blocks.0.ff.conv_inverted", columns=1152), "sana"),
        (lora("transformer.transformer_blocks.0.attn1.to_q", columns=2048), "ltx"),
        (lora("diffusion_model.transformer_blocks.0.attn1.to_q", columns=4096), "ltx"),
        (lora("diffusion_model.transformer_blocks.0.audio_attn1.to_q", columns=2048), "ltx2"),
        (lora("x.transformer_blocks.0.attn1.to_q", "x.transformer_blocks.0.ff.net.2", columns=1152), "pixart"),
        (lora("transformer.transformer_blocks.0.img_mlp.net.2"), "qwen"),
        (lora("lora_unet_transformer_blocks_0_txt_mod_1"), "qwen"),
        (lora("transformer.transformer_blocks.40.attn.add_q_proj", columns=3072), "qwen"),
        (lora("diffusion_model.layers.0.attention.to_q", columns=3840), "zimage"),
        (lora("lora_unet_layers_0_attention_qkv", columns=3840), "zimage"),
        (lora("diffusion_model.layers.0.attention.qkv", columns=2304), "lumina2"),
        (lora("transformer.layers.0.attn.to_q", columns=2304), "lumina2"),
        (lora("diffusion_model.double_blocks.0.img_attn.qkv", columns=6144), "flux2"),
        (lora("transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj"), "flux2"),
        (lora("diffusion_model.distilled_guidance_layer.layers.0.in_layer"), "chroma"),
        (lora("lora_unet_double_blocks_0_img_mlp_fc1"), "hunyuan"),
        (lora("diffusion_model.blocks.0.self_attn.q", columns=5120), "wan"),
        (lora("lora_unet_blocks_0_cross_attn_k", columns=5120), "wan"),
        (lora("transformer.blocks.0.attn1.to_q", columns=1536), "wan"),
        (lora("diffusion_model.blocks.0.self_attn.q_proj", columns=2048), None),  # Cosmos
        (lora("transformer.double_stream_blocks.0.block.attn1.to_q"), "hidream"),
        (lora("transformer.joint_transformer_blocks.0.attn.to_q"), "auraflow"),
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


def test_other_adapters_are_loras_too() -> None:
    for name in ("lora_unet_x.hada_w1_a", "lycoris_x.lokr_w1", "diffusion_model.x.lokr_w2_b"):
        assert is_lora({name: [4, 4]})
    assert rank_of({"x.lokr_w2_b": [8, 32], "x.lokr_w1": [4, 4]}) == 8


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
    assert not fits("flux", "QwenImagePipeline")
    assert fits("flux", "ChromaPipeline")  # it has layers of the same names
    assert fits("flux", "BriaPipeline")  # nothing is known of it

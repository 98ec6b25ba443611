"""Denoisers in one file in the layout of the original code, which diffusers converts: read as the same model.

Of most families the layout is made here from a tiny model, by undoing what the conversion does. FLUX.1's conversion has
the width of the real model written in, so that no tiny one exists.
"""

from __future__ import annotations

import re

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

from app.engines.diffusers.load.architecture import architecture_of, architecture_of_part, differ
from app.engines.diffusers.load.checkpoint import Checkpoint
from app.engines.diffusers.load.part_files import read_part

Z_IMAGE = {
    "all_patch_size": (2,),
    "all_f_patch_size": (1,),
    "in_channels": 4,
    "dim": 32,
    "n_layers": 2,
    "n_refiner_layers": 1,
    "n_heads": 2,
    "n_kv_heads": 2,
    "cap_feat_dim": 16,
    "axes_dims": [4, 6, 6],
    "axes_lens": [32, 32, 32],
}
QWEN = {
    "in_channels": 16,
    "out_channels": 4,
    "num_layers": 1,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 16,
    "axes_dims_rope": (4, 6, 6),
}
FLUX_2 = {
    "in_channels": 16,
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 32,
    "timestep_guidance_channels": 32,
    "axes_dims_rope": (4, 4, 4, 4),
}
WAN = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "in_channels": 16,
    "out_channels": 16,
    "text_dim": 32,
    "freq_dim": 256,
    "ffn_dim": 32,
    "num_layers": 2,
    "rope_max_seq_len": 32,
}


def renamed(state, rules):
    made = {}
    for name, tensor in state.items():
        for old, new in rules:
            name = re.sub(old, new, name)
        made[name] = tensor
    return made


def joined(state, parts, whole):
    """`state` with the tensors whose names end in `parts` stacked under `whole`."""
    made = {name: tensor for name, tensor in state.items() if not any(part in name for part in parts)}
    for name in state:
        if parts[0] in name:
            pieces = [state[name.replace(parts[0], part)] for part in parts]
            made[name.replace(parts[0], whole)] = torch.cat(pieces)
    return made


def z_image_layout(state):
    state = joined(state, (".attention.to_q.", ".attention.to_k.", ".attention.to_v."), ".attention.qkv.")
    rules = [(r"all_final_layer\.2-1\.", "final_layer."), (r"all_x_embedder\.2-1\.", "x_embedder.")]
    rules += [(r"attention\.to_out\.0\.", "attention.out."), (r"attention\.norm_([qk])\.", r"attention.\1_norm.")]
    return renamed(state, rules)


def wan_layout(state):
    rules = [
        (r"^condition_embedder\.time_embedder\.linear_1", "time_embedding.0"),
        (r"^condition_embedder\.time_embedder\.linear_2", "time_embedding.2"),
        (r"^condition_embedder\.text_embedder\.linear_1", "text_embedding.0"),
        (r"^condition_embedder\.text_embedder\.linear_2", "text_embedding.2"),
        (r"^condition_embedder\.time_proj", "time_projection.1"),
        (r"\bnorm2\b", "norm__placeholder"),
        (r"\bnorm3\b", "norm2"),
        (r"norm__placeholder", "norm3"),
        (r"^scale_shift_table", "head.modulation"),
        (r"^proj_out", "head.head"),
        (r"scale_shift_table", "modulation"),
        (r"ffn\.net\.0\.proj", "ffn.0"),
        (r"ffn\.net\.2", "ffn.2"),
        (r"attn1\.", "self_attn."),
        (r"attn2\.", "cross_attn."),
        (r"attn\.to_([qkv])\b", r"attn.\1"),
        (r"attn\.to_out\.0", "attn.o"),
    ]
    return renamed(state, rules)


FAMILIES = {
    "Z-Image": (diffusers.ZImageTransformer2DModel, Z_IMAGE, z_image_layout),
    "Qwen-Image": (diffusers.QwenImageTransformer2DModel, QWEN, dict),
    "Wan": (diffusers.WanTransformer3DModel, WAN, wan_layout),
    "FLUX.2": (diffusers.Flux2Transformer2DModel, FLUX_2, dict),
}


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_denoiser_is_read_as_the_model_that_it_was(tmp_path, family, prefix):
    part_class, config, layout = FAMILIES[family]
    torch.manual_seed(1)
    model = part_class(**config)
    model.save_pretrained(tmp_path / "base/transformer")
    file = tmp_path / "one.safetensors"
    original = {prefix + name: tensor.contiguous() for name, tensor in layout(model.state_dict()).items()}
    save_file(original, file, {"format": "pt"})
    checkpoint = Checkpoint(
        path=tmp_path / "base",
        config=tmp_path / "base",
        pipeline_class="",
        parts=("transformer",),
        weights={},
        revision="",
        files={"transformer": [file]},
        separate={"transformer": file},
    )
    read = read_part("transformer", part_class, checkpoint, torch.float32)
    expected = load_file(tmp_path / "base/transformer/diffusion_pytorch_model.safetensors")
    found = read.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_architecture_is_told_by_either_layout(family):
    part_class, config, layout = FAMILIES[family]
    with torch.device("meta"):
        state = part_class(**config).state_dict()
    for names in (state, layout(state) if family == "Wan" else state):
        found = architecture_of({name: list(tensor.shape) for name, tensor in names.items()})
        assert (found.name, found.part_class) == (family, part_class.__name__)


@pytest.mark.parametrize(
    ("names", "family"),
    [
        (["double_blocks.0.img_attn.qkv.weight", "img_in.weight"], "FLUX.1"),
        (["double_blocks.0.img_attn.qkv.weight", "double_stream_modulation_img.lin.weight"], "FLUX.2"),
        (["double_blocks.0.img_attn.qkv.weight", "distilled_guidance_layer.in_proj.bias"], "Chroma"),
        (["joint_blocks.0.x_block.attn.qkv.weight"], "Stable Diffusion 3"),
        (["patchify_proj.weight", "adaln_single.linear.weight"], "LTX-Video"),
        (["pos_embed.proj.weight", "adaln_single.linear.weight", "caption_projection.linear_1.weight"], "PixArt"),
        (["cap_embedder.0.weight", "layers.0.adaLN_modulation.1.weight"], "Lumina 2"),
        (["txt_in.individual_token_refiner.blocks.0.norm1.weight", "double_blocks.0.x"], "HunyuanVideo"),
    ],
)
def test_the_architecture_of_original_names(names, family):
    assert architecture_of({name: [4, 4] for name in names}).name == family


@pytest.mark.parametrize(
    ("width", "family"),
    [(768, "Stable Diffusion 1.5"), (1024, "Stable Diffusion 2"), (2048, "Stable Diffusion XL"), (7, "with a UNet")],
)
@pytest.mark.parametrize("block", ["input_blocks.4.1", "down_blocks.1.attentions.0"])
def test_unets_are_told_apart_by_the_width_of_the_texts(width, family, block):
    found = architecture_of({f"{block}.transformer_blocks.0.attn2.to_k.weight": [640, width]})
    assert family in found.name
    other = architecture_of_part("UNet2DConditionModel", 2048)
    assert differ(found, other) == (width in (768, 1024))
    assert architecture_of({"what.weight": [4, 4]}) is None
    assert not differ(None, other)

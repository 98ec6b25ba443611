"""Tiny ControlNets, IP-Adapters and Redux, which fit the tiny checkpoints of the same families."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from safetensors.torch import save_file
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    GLPNConfig,
    GLPNForDepthEstimation,
    GLPNImageProcessor,
    SiglipImageProcessor,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from tools.tiny_models.flow_families import flux_control

_SEED = 20250102
_SIDE = 16  # pixels that the image encoders look at
_WIDTH = 8


def build_controlnet(family: str, base: Path, folder: Path, *, seed: int = _SEED) -> Path:
    """A ControlNet of `family` (a key of CONTROLNETS) for the checkpoint `base`, in `folder`."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = CONTROLNETS[family](base)
        with torch.no_grad():
            for weight in net.parameters():  # its outputs begin at zero, without effect
                if not weight.any():
                    weight.normal_(std=0.2)
    net.save_pretrained(folder, safe_serialization=True)
    return folder


def build_flux_control(folder: Path, *, seed: int = _SEED) -> Path:
    """FLUX.1 Canny or Depth: the control picture's latents are concatenated to those that are drawn."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        pipeline = flux_control()
        with torch.no_grad():
            for weight in pipeline.transformer.parameters():
                if weight.ndim >= 2 and not weight.any():
                    weight.normal_(std=0.1)
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def _unet(base: Path) -> Any:
    return diffusers.UNet2DConditionModel.from_pretrained(base, subfolder="unet")


def _transformer(base: Path, kind: str) -> Any:
    return getattr(diffusers, kind).from_pretrained(base, subfolder="transformer")


def _unet_net(base: Path) -> Any:
    return diffusers.ControlNetModel.from_unet(_unet(base), conditioning_embedding_out_channels=(4, 8, 8, 8))


def _union_net(base: Path) -> Any:
    config = _unet(base).config
    kept = inspect.signature(diffusers.ControlNetUnionModel.__init__).parameters
    return diffusers.ControlNetUnionModel(
        **{name: value for name, value in config.items() if name in kept and name != "in_channels"},
        conditioning_embedding_out_channels=(4, 8, 8, 8),
        num_control_type=6,
        num_trans_channel=16,
        num_trans_head=2,
        num_trans_layer=1,
        num_proj_channel=16,
    )


def _sd3_net(base: Path) -> Any:
    return diffusers.SD3ControlNetModel.from_transformer(
        _transformer(base, "SD3Transformer2DModel"), num_layers=1, num_extra_conditioning_channels=0
    )


def _flux_net(base: Path) -> Any:
    transformer = _transformer(base, "FluxTransformer2DModel")
    return _like(diffusers.FluxControlNetModel, transformer, num_layers=1, num_single_layers=1)


def _flux_union(base: Path) -> Any:
    transformer = _transformer(base, "FluxTransformer2DModel")
    return _like(diffusers.FluxControlNetModel, transformer, num_layers=1, num_single_layers=0, num_mode=5)


def _qwen_net(base: Path) -> Any:
    transformer = _transformer(base, "QwenImageTransformer2DModel")
    return _like(diffusers.QwenImageControlNetModel, transformer, num_layers=1)


def _z_image_net(base: Path) -> Any:
    transformer = _transformer(base, "ZImageTransformer2DModel")
    config = transformer.config
    return diffusers.ZImageControlNetModel(
        control_layers_places=[0],
        control_refiner_layers_places=None,
        control_in_dim=config.in_channels,
        dim=config.dim,
        n_refiner_layers=config.n_refiner_layers,
        n_heads=config.n_heads,
        n_kv_heads=config.n_kv_heads,
        norm_eps=config.norm_eps,
        qk_norm=config.qk_norm,
    )


def _sana_net(base: Path) -> Any:
    transformer = _transformer(base, "SanaTransformer2DModel")
    return _like(diffusers.SanaControlNetModel, transformer, num_layers=1)


def _like(kind: Any, transformer: Any, **changes: Any) -> Any:
    """A net with the configuration of `transformer`, as far as it has the same."""
    takes = inspect.signature(kind.__init__).parameters
    known = {name: value for name, value in transformer.config.items() if name in takes}
    return kind(**{**known, **changes})


CONTROLNETS: Mapping[str, Callable[[Path], Any]] = {
    "sd15": _unet_net,
    "sdxl": _unet_net,
    "sdxl-union": _union_net,
    "sd35": _sd3_net,
    "flux": _flux_net,
    "flux-union": _flux_union,
    "qwen-image": _qwen_net,
    "z-image": _z_image_net,
    "sana": _sana_net,
}


def build_ip_adapter(family: str, base: Path, folder: Path, *, seed: int = _SEED) -> Path:
    """An IP-Adapter for the checkpoint `base` of sd15, sdxl, flux or sd35: its file and its image encoder."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = siglip_encoder() if family == "sd35" else clip_encoder()
        tensors = _ADAPTERS[family](base)
    encoder.save_pretrained(folder / "image_encoder", safe_serialization=True)
    if family == "sd35":
        siglip_processor().save_pretrained(folder / "image_encoder")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "adapter.safetensors")
    return folder


def clip_encoder() -> CLIPVisionModelWithProjection:
    config = CLIPVisionConfig(
        hidden_size=_WIDTH,
        projection_dim=_WIDTH,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=_SIDE,
        patch_size=8,
    )
    return CLIPVisionModelWithProjection(config).eval()


def siglip_encoder() -> SiglipVisionModel:
    config = SiglipVisionConfig(
        hidden_size=_WIDTH,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=_SIDE,
        patch_size=8,
    )
    return SiglipVisionModel(config).eval()


def clip_processor() -> CLIPImageProcessor:
    return CLIPImageProcessor(size=_SIDE, crop_size=_SIDE)


def siglip_processor() -> SiglipImageProcessor:
    return SiglipImageProcessor(size={"height": _SIDE, "width": _SIDE})


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape) * 0.3


def _unet_adapter(base: Path) -> dict[str, torch.Tensor]:
    unet = _unet(base)
    text = unet.config.cross_attention_dim
    tensors = {
        "image_proj.proj.weight": _random(4 * text, _WIDTH),
        "image_proj.proj.bias": _random(4 * text),
        "image_proj.norm.weight": torch.ones(text),
        "image_proj.norm.bias": torch.zeros(text),
    }
    layers = [name for name in unet.attn_processors if "attn2" in name]
    for index, name in enumerate(layers):
        module = unet.get_submodule(name.removesuffix(".processor"))
        for kind in ("k", "v"):
            tensors[f"ip_adapter.{2 * index + 1}.to_{kind}_ip.weight"] = _random(*module.to_k.weight.shape)
    return tensors


def _flux_adapter(base: Path) -> dict[str, torch.Tensor]:
    transformer = _transformer(base, "FluxTransformer2DModel")
    text, inner = transformer.config.joint_attention_dim, transformer.inner_dim
    tensors = {
        "ip_adapter_proj_model.proj.weight": _random(4 * text, _WIDTH),
        "ip_adapter_proj_model.proj.bias": _random(4 * text),
        "ip_adapter_proj_model.norm.weight": torch.ones(text),
        "ip_adapter_proj_model.norm.bias": torch.zeros(text),
    }
    for index in range(transformer.config.num_layers):
        for kind in ("k", "v"):
            name = f"double_blocks.{index}.processor.ip_adapter_double_stream_{kind}_proj"
            tensors |= {f"{name}.weight": _random(inner, text), f"{name}.bias": _random(inner)}
    return tensors


def _sd3_adapter(base: Path) -> dict[str, torch.Tensor]:
    from diffusers.models.attention_processor import SD3IPAdapterJointAttnProcessor2_0
    from diffusers.models.embeddings import IPAdapterTimeImageProjection

    transformer = _transformer(base, "SD3Transformer2DModel")
    inner = transformer.config.attention_head_dim * transformer.config.num_attention_heads
    projection = IPAdapterTimeImageProjection(
        embed_dim=_WIDTH, output_dim=inner, hidden_dim=64, depth=4, heads=1, num_queries=2, timestep_in_dim=32
    )
    tensors = {f"image_proj.{name}": tensor for name, tensor in projection.state_dict().items()}
    for index in range(len(transformer.attn_processors)):
        processor = SD3IPAdapterJointAttnProcessor2_0(
            hidden_size=inner,
            ip_hidden_states_dim=inner,
            head_dim=transformer.config.attention_head_dim,
            timesteps_emb_dim=64,
        )
        tensors |= {f"ip_adapter.{index}.{name}": tensor for name, tensor in processor.state_dict().items()}
    return tensors


_ADAPTERS: Mapping[str, Callable[[Path], dict[str, torch.Tensor]]] = {
    "sd15": _unet_adapter,
    "sdxl": _unet_adapter,
    "flux": _flux_adapter,
    "sd35": _sd3_adapter,
}


def build_redux(base: Path, folder: Path, *, seed: int = _SEED) -> Path:
    """FLUX Redux for the checkpoint `base`: an image encoder, and what makes its output part of the prompt."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = siglip_encoder()
        text = _transformer(base, "FluxTransformer2DModel").config.joint_attention_dim
        embedder = diffusers.ReduxImageEncoder(redux_dim=_WIDTH, txt_in_features=text)
    encoder.save_pretrained(folder / "image_encoder", safe_serialization=True)
    embedder.save_pretrained(folder / "image_embedder", safe_serialization=True)
    siglip_processor().save_pretrained(folder / "feature_extractor")
    return folder


def build_depth_detector(folder: Path, *, seed: int = _SEED) -> Path:
    """A depth detector of transformers, and its image processor."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        once, sizes = [1, 1, 1, 1], [8, 8, 8, 8]
        config = GLPNConfig(depths=once, hidden_sizes=sizes, num_attention_heads=once, decoder_hidden_size=8)
        model = GLPNForDepthEstimation(config).eval()
    model.save_pretrained(folder, safe_serialization=True)
    GLPNImageProcessor(size_divisor=32).save_pretrained(folder)
    return folder

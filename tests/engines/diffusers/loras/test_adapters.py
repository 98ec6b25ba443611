"""Every layout and kind of LoRA changes the layers that it should: as plain diffusers does where it reads the file, as
computed by hand where it does not. Compared layer by layer on tiny models: equal outputs are equal pictures."""

from __future__ import annotations

import copy

import diffusers
import pytest
import torch
from diffusers.loaders import (
    FluxLoraLoaderMixin,
    LTXVideoLoraLoaderMixin,
    QwenImageLoraLoaderMixin,
    WanLoraLoaderMixin,
    ZImageLoraLoaderMixin,
)
from diffusers.loaders.lora_pipeline import Flux2LoraLoaderMixin
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file
from torch.nn import functional

from app.core.loras import LoraFile
from app.engines.diffusers.loras.cache import LoraCache, LoraRequest
from app.errors import LoraIncompatible
from tests.engines.diffusers.load.test_original_layouts import FLUX_2, QWEN, WAN, Z_IMAGE

SCALE, RANK = 0.7, 2
NUMBERS = torch.Generator().manual_seed(11)


def random(*shape):
    return torch.randn(*shape, generator=NUMBERS) * 0.3


def holder(mixin, **parts):
    """A pipeline of denoisers only, with the class attributes of a real one."""
    made = type("Holder", (mixin,), {"_lora_loadable_modules": list(parts)})()
    for name, part in parts.items():
        setattr(made, name, part.eval())
    return made


@pytest.fixture(scope="module")
def pipelines(tiny):
    torch.manual_seed(3)
    wan, wan_2 = (diffusers.WanTransformer3DModel(**WAN) for _ in range(2))
    sd15 = diffusers.StableDiffusionPipeline.from_pretrained(tiny / "sd15", safety_checker=None)
    sd15.__class__._lora_loadable_modules = ["unet", "text_encoder"]
    return {
        "sd15": sd15,
        "flux": holder(
            FluxLoraLoaderMixin,
            transformer=diffusers.FluxTransformer2DModel.from_pretrained(tiny / "flux/transformer"),
        ),
        "flux2": holder(Flux2LoraLoaderMixin, transformer=diffusers.Flux2Transformer2DModel(**FLUX_2)),
        "qwen": holder(QwenImageLoraLoaderMixin, transformer=diffusers.QwenImageTransformer2DModel(**QWEN)),
        "zimage": holder(ZImageLoraLoaderMixin, transformer=diffusers.ZImageTransformer2DModel(**Z_IMAGE)),
        "ltx": holder(
            LTXVideoLoraLoaderMixin,
            transformer=diffusers.LTXVideoTransformer3DModel.from_pretrained(tiny / "ltx/transformer"),
        ),
        "wan": holder(WanLoraLoaderMixin, transformer=wan),
        "wan22": holder(WanLoraLoaderMixin, transformer=wan, transformer_2=wan_2),
    }


@pytest.fixture
def apply(tmp_path):
    """Apply a file of tensors to a pipeline within a block."""

    def cached(pipeline, tensors, name="style", metadata=None):
        file = tmp_path / f"{name}.safetensors"
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, file, metadata)
        lora = LoraRequest(file, LoraFile(name, None, 1, 1), SCALE)
        return LoraCache(pipeline, "model", most=8, most_bytes=2**30).applied([lora])

    return cached


def given(layer, path):
    """An input for a layer, always the same."""
    numbers = torch.Generator().manual_seed(len(path))
    if isinstance(layer, torch.nn.Linear):
        return torch.randn(2, 5, layer.in_features, generator=numbers)
    return torch.randn(1, layer.in_channels, 6, 6, generator=numbers)


def outputs(part, paths):
    layers = {path: part.get_submodule(path) for path in paths}
    with torch.no_grad():
        return {path: layer(given(getattr(layer, "base_layer", layer), path)) for path, layer in layers.items()}


def all_layers(part):
    kinds = (torch.nn.Linear, torch.nn.Conv2d)
    return [path for path, layer in part.named_modules() if isinstance(layer, kinds)]


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for path, output in wanted.items():
        assert torch.allclose(found[path], output, atol=1e-5, rtol=1e-5), path


def pair(module, rows, columns, old=False, alpha=None):
    """A LoRA's two matrices for a module."""
    down, up = ("lora_down", "lora_up") if old else ("lora_A", "lora_B")
    made = {f"{module}.{down}.weight": random(RANK, columns), f"{module}.{up}.weight": random(rows, RANK)}
    return made | ({f"{module}.alpha": torch.tensor(alpha)} if alpha is not None else {})


def shapes(part, *paths):
    return {path: tuple(part.get_submodule(path).weight.shape[:2]) for path in paths}


def flux2_file(part):
    (rows, columns), single = part.get_submodule("transformer_blocks.0.attn.to_q").weight.shape, None
    single = part.get_submodule("single_transformer_blocks.0.attn.to_qkv_mlp_proj").weight.shape
    return pair("diffusion_model.double_blocks.0.img_attn.qkv", 3 * rows, columns) | pair(
        "diffusion_model.single_blocks.0.linear1", *single
    )


WAN_LAYERS = {f"self_attn.{name}": f"attn1.to_{name}" for name in "qkv"} | {"self_attn.o": "attn1.to_out.0"}
WAN_LAYERS |= {name.replace("self", "cross"): path.replace("1", "2") for name, path in WAN_LAYERS.items()}
WAN_LAYERS |= {"ffn.0": "ffn.net.0.proj", "ffn.2": "ffn.net.2"}


def wan_file(part, prefix="diffusion_model.", separator=".", **options):
    made = {}
    for name, path in WAN_LAYERS.items():
        for block in range(2):
            rows, columns = part.get_submodule(f"blocks.{block}.{path}").weight.shape
            module = prefix + f"blocks.{block}.{name}".replace(".", separator)
            made |= pair(module, rows, columns, **options)
    return made


def lightx2v_file(part):
    made = wan_file(part, old=True)
    for name in [name for name in made if name.endswith("lora_up.weight")]:
        made[name.replace("lora_up.weight", "diff_b")] = random(made[name].shape[0])
    return made | {f"diffusion_model.blocks.{block}.norm3.diff": torch.zeros(24) for block in range(2)}


def of_layers(prefix, *paths, **options):
    """A file whose modules have the paths of the layers."""

    def file(part):
        named = shapes(part, *paths)
        flat = prefix.endswith("_")
        return {
            name: tensor
            for path, shape in named.items()
            for name, tensor in pair(
                prefix + (path.replace(".", "_") if flat else path), *shape, **({"old": flat} | options)
            ).items()
        }

    return file


LAYOUTS = {  # that diffusers reads
    "flux, ai-toolkit": ("flux", of_layers("transformer.", "transformer_blocks.0.attn.to_q", "x_embedder")),
    "flux2, ai-toolkit, fused": ("flux2", flux2_file),
    "qwen, kohya": ("qwen", of_layers("lora_unet_", "transformer_blocks.0.attn.to_q", "img_in", alpha=1.0)),
    "qwen, comfy": ("qwen", of_layers("diffusion_model.", "transformer_blocks.0.attn.add_q_proj")),
    "qwen, lightx2v": ("qwen", of_layers("", "transformer_blocks.0.attn.to_k", old=True, alpha=1.0)),
    "zimage, ai-toolkit": (
        "zimage",
        of_layers("diffusion_model.", "layers.0.attention.to_q", "layers.1.feed_forward.w1"),
    ),
    "ltx, comfy": ("ltx", of_layers("diffusion_model.", "transformer_blocks.0.attn1.to_q")),
    "wan, comfy": ("wan", wan_file),
    "wan, musubi": ("wan", lambda part: wan_file(part, "lora_unet_", "_", old=True, alpha=1.0)),
    "wan, lightx2v with biases": ("wan", lightx2v_file),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_that_diffusers_reads_changes_all_layers_as_there(pipelines, apply, layout):
    family, file = LAYOUTS[layout]
    pipeline = pipelines[family]
    part = pipeline.transformer
    tensors, paths = file(part), all_layers(part)
    before = outputs(part, paths)
    reference = copy.deepcopy(part)
    found = pipeline.lora_state_dict(dict(tensors))
    reference.load_lora_adapter(found, prefix="transformer", adapter_name="a")
    reference.set_adapters(["a"], [SCALE])
    assert any(isinstance(layer, LoraLayer) for layer in reference.modules())
    with apply(pipeline, tensors):
        changed = outputs(part, paths)
    assert_same(changed, outputs(reference, paths))
    assert any(not torch.equal(changed[path], before[path]) for path in paths)
    after = outputs(part, paths)
    assert all(torch.equal(after[path], before[path]) for path in paths)


def by_hand(part, path, change=0, bias=None, whole=None):
    """What a layer computes with changed weights."""
    layer = part.get_submodule(path)
    weight = layer.weight + SCALE * change if whole is None else whole
    own = layer.bias if bias is None else (0 if layer.bias is None else layer.bias) + SCALE * bias
    with torch.no_grad():
        if isinstance(layer, torch.nn.Linear):
            return functional.linear(given(layer, path), weight, own)
        return functional.conv2d(given(layer, path), weight, own, layer.stride, layer.padding)


LINEAR, CONV = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k", "down_blocks.0.resnets.0.conv1"


def assert_by_hand(pipeline, part_name, apply, path, tensors, wanted, **how):
    part = getattr(pipeline, part_name)
    before = outputs(part, [path])
    with apply(pipeline, tensors):
        found = outputs(part, [path])
    with torch.no_grad():
        assert_same(found, {path: by_hand(part, path, wanted, **how)})
    assert not torch.equal(found[path], before[path])
    assert torch.equal(outputs(part, [path])[path], before[path])


@pytest.mark.parametrize("path", [LINEAR, CONV])
def test_a_loha_by_hand(pipelines, apply, path):
    weight = pipelines["sd15"].unet.get_submodule(path).weight
    rows, columns = weight.flatten(1).shape
    a, b, c, d = random(rows, RANK), random(RANK, columns), random(rows, RANK), random(RANK, columns)
    module = "lora_unet_" + path.replace(".", "_")
    tensors = {f"{module}.hada_w1_a": a, f"{module}.hada_w1_b": b, f"{module}.hada_w2_a": c}
    tensors |= {f"{module}.hada_w2_b": d, f"{module}.alpha": torch.tensor(3.0)}
    wanted = ((a @ b) * (c @ d) * 3.0 / RANK).reshape(weight.shape)
    assert_by_hand(pipelines["sd15"], "unet", apply, path, tensors, wanted)


@pytest.mark.parametrize("kind", ["full", "small", "both small", "core"])
@pytest.mark.parametrize("path", [LINEAR, CONV])
def test_a_lokr_by_hand(pipelines, apply, path, kind):
    weight = pipelines["sd15"].unet.get_submodule(path).weight
    rows, columns = weight.shape[:2]
    kernel = weight.shape[2:]
    left, right = (4, 2), (rows // 4, columns // 2)
    module = "lycoris_" + path.replace(".", "_")
    tensors = {f"{module}.alpha": torch.tensor(3.0)}
    share = 1.0 if kind == "full" else 3.0 / RANK
    if kind == "both small":
        tensors |= {f"{module}.lokr_w1_a": random(left[0], RANK), f"{module}.lokr_w1_b": random(RANK, left[1])}
        w1 = tensors[f"{module}.lokr_w1_a"] @ tensors[f"{module}.lokr_w1_b"]
    else:
        w1 = tensors[f"{module}.lokr_w1"] = random(*left)
    if kind == "full":
        w2 = tensors[f"{module}.lokr_w2"] = random(*right, *kernel)
    elif kind == "core" and kernel:
        core, a, b = random(RANK, RANK, *kernel), random(RANK, right[0]), random(RANK, right[1])
        tensors |= {f"{module}.lokr_t2": core, f"{module}.lokr_w2_a": a, f"{module}.lokr_w2_b": b}
        w2 = torch.einsum("ijkl,ip,jr->prkl", core, a, b).contiguous()
    else:
        a, b = random(right[0], RANK), random(RANK, right[1] * kernel.numel())
        tensors |= {f"{module}.lokr_w2_a": a, f"{module}.lokr_w2_b": b}
        w2 = (a @ b).reshape(*right, *kernel)
    wanted = torch.kron(w1.reshape(*left, *[1] * len(kernel)), w2) * share
    assert_by_hand(pipelines["sd15"], "unet", apply, path, tensors, wanted)


def test_a_locon_with_a_core_by_hand(pipelines, apply):
    weight = pipelines["sd15"].unet.get_submodule(CONV).weight
    rows, columns = weight.shape[:2]
    down, mid, up = random(RANK, columns, 1, 1), random(RANK, RANK, 3, 3), random(rows, RANK, 1, 1)
    module = "lora_unet_" + CONV.replace(".", "_")
    tensors = {f"{module}.lora_down.weight": down, f"{module}.lora_mid.weight": mid, f"{module}.lora_up.weight": up}
    tensors[f"{module}.alpha"] = torch.tensor(1.0)
    wanted = torch.einsum("or,rmkl,mi->oikl", up.flatten(1), mid, down.flatten(1)) / RANK
    assert_by_hand(pipelines["sd15"], "unet", apply, CONV, tensors, wanted)


@pytest.mark.parametrize("path", [LINEAR, CONV])
def test_a_dora_of_kohya_by_hand(pipelines, apply, path):
    weight = pipelines["sd15"].unet.get_submodule(path).weight
    rows, columns = weight.shape[:2]
    kernel = weight.shape[2:]
    down, up = random(RANK, columns, *kernel), random(rows, RANK, *[1] * len(kernel))
    length = torch.rand(rows, *[1] * (weight.ndim - 1), generator=NUMBERS) + 0.5
    module = "lora_unet_" + path.replace(".", "_")
    tensors = {f"{module}.lora_down.weight": down, f"{module}.lora_up.weight": up, f"{module}.dora_scale": length}
    tensors[f"{module}.alpha"] = torch.tensor(1.0)
    change = (up.flatten(1) @ down.flatten(1)).reshape(weight.shape) / RANK
    moved = weight + SCALE * change
    whole = length * moved / moved.flatten(1).norm(dim=1).reshape(length.shape)
    assert_by_hand(pipelines["sd15"], "unet", apply, path, tensors, 0, whole=whole.detach())


def test_a_dora_of_peft_as_diffusers_has_it(pipelines, apply):
    part = pipelines["flux"].transformer
    path = "transformer_blocks.0.attn.to_q"
    rows, columns = part.get_submodule(path).weight.shape
    tensors = pair(f"transformer.{path}", rows, columns)
    tensors[f"transformer.{path}.lora_magnitude_vector"] = torch.rand(rows, generator=NUMBERS) + 0.5
    reference = copy.deepcopy(part)
    reference.load_lora_adapter(dict(tensors), prefix="transformer", adapter_name="a")
    reference.set_adapters(["a"], [SCALE])
    with apply(pipelines["flux"], tensors):
        found = outputs(part, [path])
    assert_same(found, outputs(reference, [path]))


def refused(apply, pipeline, tensors, match):
    with pytest.raises(LoraIncompatible, match=match), apply(pipeline, tensors):
        pass


def test_a_dora_of_columns_is_refused(pipelines, apply):
    part = pipelines["flux"].transformer
    rows, columns = part.get_submodule("x_embedder").weight.shape
    tensors = pair("transformer.x_embedder", rows, columns) | {"transformer.x_embedder.dora_scale": random(1, columns)}
    refused(apply, pipelines["flux"], tensors, "a magnitude for each input instead of each output")


@pytest.mark.parametrize("kind", ["lokr", "loha", "lora"])
def test_a_fused_layer_is_split_as_diffusers_splits_it(pipelines, apply, kind):
    part = pipelines["flux2"].transformer
    paths = [f"transformer_blocks.0.attn.to_{name}" for name in "qkv"]
    rows, columns = part.get_submodule(paths[0]).weight.shape
    module = "diffusion_model.double_blocks.0.img_attn.qkv"
    if kind == "lokr":
        w1, w2 = random(3, 2), random(rows, columns // 2)
        tensors, change = {f"{module}.lokr_w1": w1, f"{module}.lokr_w2": w2}, torch.kron(w1, w2)
    elif kind == "loha":
        a, b, c, d = random(3 * rows, RANK), random(RANK, columns), random(3 * rows, RANK), random(RANK, columns)
        tensors = {f"{module}.hada_w1_a": a, f"{module}.hada_w1_b": b}
        tensors |= {f"{module}.hada_w2_a": c, f"{module}.hada_w2_b": d}
        change = (a @ b) * (c @ d)
    else:
        tensors = pair(module, 3 * rows, columns)
        change = tensors[f"{module}.lora_B.weight"] @ tensors[f"{module}.lora_A.weight"]
    with apply(pipelines["flux2"], tensors):
        found = outputs(part, paths)
    with torch.no_grad():
        assert_same(
            found, {path: by_hand(part, path, piece) for path, piece in zip(paths, change.chunk(3), strict=True)}
        )


@pytest.mark.parametrize("prefix", ["lora_te_text_model_", "lora_te1_text_model_"])
def test_a_loha_of_the_text_encoder_by_hand(pipelines, apply, prefix):
    path = "encoder.layers.0.self_attn.q_proj"
    encoder = pipelines["sd15"].text_encoder
    path = path if any(name == path for name, _ in encoder.named_modules()) else f"text_model.{path}"
    rows, columns = encoder.get_submodule(path).weight.shape
    a, b, c, d = random(rows, RANK), random(RANK, columns), random(rows, RANK), random(RANK, columns)
    module = prefix + "encoder_layers_0_self_attn_q_proj"
    tensors = {f"{module}.hada_w1_a": a, f"{module}.hada_w1_b": b, f"{module}.hada_w2_a": c, f"{module}.hada_w2_b": d}
    assert_by_hand(pipelines["sd15"], "text_encoder", apply, path, tensors, (a @ b) * (c @ d))


def flat(path):
    return "lora_unet_" + path.replace(".", "_")


NAMES = {  # of layers in files that diffusers does not read
    "sd15, comfy in diffusers' names": ("sd15", "unet", LINEAR, f"diffusion_model.{LINEAR}"),
    "flux, kohya in diffusers' names": ("flux", "transformer", "x_embedder", "lora_unet_x_embedder"),
    "flux, comfy in diffusers' names": ("flux", "transformer", "x_embedder", "diffusion_model.x_embedder"),
    "ltx, kohya": ("ltx", "transformer", "transformer_blocks.0.attn1.to_q", flat("transformer_blocks.0.attn1.to_q")),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_that_diffusers_does_not_convert(pipelines, apply, name):
    family, part_name, path, module = NAMES[name]
    rows, columns = getattr(pipelines[family], part_name).get_submodule(path).weight.shape
    tensors = pair(module, rows, columns, old=True, alpha=1.0)
    wanted = tensors[f"{module}.lora_up.weight"] @ tensors[f"{module}.lora_down.weight"] / RANK
    assert_by_hand(pipelines[family], part_name, apply, path, tensors, wanted)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("wan_high_noise", ["transformer"]),
        ("Wan22-LowNoise-v2", ["transformer_2"]),
        ("Wan2.2_T2V_lightning_low", ["transformer_2"]),
        ("flowers", ["transformer", "transformer_2"]),
    ],
)
def test_the_name_says_which_of_two_transformers_it_is_for(pipelines, apply, name, parts):
    pipeline, path = pipelines["wan22"], "blocks.0.attn1.to_q"
    tensors = wan_file(pipeline.transformer)
    before = {part: outputs(getattr(pipeline, part), [path])[path] for part in ("transformer", "transformer_2")}
    with apply(pipeline, tensors, name):
        found = {part: outputs(getattr(pipeline, part), [path])[path] for part in before}
    assert [part for part in before if not torch.equal(found[part], before[part])] == parts
    module = "diffusion_model.blocks.0.self_attn.q"
    change = tensors[f"{module}.lora_B.weight"] @ tensors[f"{module}.lora_A.weight"]
    for part in parts:
        assert torch.allclose(found[part], by_hand(getattr(pipeline, part), path, change), atol=1e-5)


def test_a_file_that_names_the_second_transformer_changes_that(pipelines, apply):
    pipeline, path = pipelines["wan22"], "blocks.0.attn1.to_q"
    tensors = pair(f"transformer_2.{path}", *pipeline.transformer_2.get_submodule(path).weight.shape)
    first = outputs(pipeline.transformer, [path])[path]
    second = outputs(pipeline.transformer_2, [path])[path]
    with apply(pipeline, tensors):
        assert torch.equal(outputs(pipeline.transformer, [path])[path], first)
        assert not torch.equal(outputs(pipeline.transformer_2, [path])[path], second)


def test_a_module_without_a_layer_and_a_wrong_size_are_named(pipelines, apply):
    def lokr(module, *factors):
        return {f"{module}.{factor}": random(2, 2) for factor in factors}

    sd15, module = pipelines["sd15"], flat(LINEAR)
    refused(apply, sd15, lokr("lora_unet_no", "lokr_w1", "lokr_w2"), "unet has no layer no")
    refused(apply, sd15, lokr(module, "lokr_w1", "lokr_w2"), r"unet has .* outputs in .*to_k, and it is for 4 and 4")
    refused(apply, sd15, lokr(module, "lokr_w1"), r"it lacks lokr_w2")


def test_several_kinds_on_one_layer_add_up(pipelines, apply, tmp_path):
    part = pipelines["sd15"].unet
    rows, columns = part.get_submodule(LINEAR).weight.shape
    module = "lora_unet_" + LINEAR.replace(".", "_")
    plain = pair(module, rows, columns, old=True, alpha=float(RANK))
    w1, w2 = random(2, 2), random(rows // 2, columns // 2)
    change = torch.kron(w1, w2) + plain[f"{module}.lora_up.weight"] @ plain[f"{module}.lora_down.weight"]
    with (
        apply(pipelines["sd15"], plain, "one"),
        apply(pipelines["sd15"], {f"{module}.lokr_w1": w1, f"{module}.lokr_w2": w2}, "two"),
    ):
        found = outputs(part, [LINEAR])
    assert_same(found, {LINEAR: by_hand(part, LINEAR, change)})

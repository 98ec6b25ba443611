"""Files with a denoiser only, on a base that has the other parts; files in float8; a VAE from elsewhere."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from app.engines.diffusers.load.load_plan import LoadPlan
from app.engines.diffusers.load.sources import locate
from app.engines.diffusers.memory.part_shapes import part_shapes
from app.errors import ModelUnavailable
from tests.engines.diffusers.generate.control import Recorder
from tools.tiny_models.ldm_layout import unet_name
from tools.tiny_models.lora import make_lora

UNET, TRANSFORMER = "unet/diffusion_pytorch_model.safetensors", "transformer/diffusion_pytorch_model.safetensors"
LDM = "model.diffusion_model."


@pytest.fixture
def draw(engine, spec_of, ask):
    return lambda repo, **options: engine.generate(spec_of(repo, **options), ask(), Recorder()).images[0].pixels


@pytest.fixture
def write(tmp_path):
    """Write tensors to a file in the test's folder."""

    def save(name, tensors):
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, tmp_path / name, {"format": "pt"})
        return tmp_path / name

    return save


@pytest.fixture
def ldm_unet(tiny):
    """The UNet of SD 1.5 in the names of the original code, without prefix."""
    whole = load_file(tiny / "sd15-single-file.safetensors")
    return {name.removeprefix(LDM): tensor for name, tensor in whole.items() if name.startswith(LDM)}


def prefixed(tensors, prefix):
    return {prefix + name: tensor for name, tensor in tensors.items()}


def changed(tensors):
    """Weights that draw another picture, so that a test sees whose weights were used."""
    return {name: tensor * 1.25 if tensor.ndim > 1 else tensor for name, tensor in tensors.items()}


def scaled(tensors, prefix="", scale="scale_weight", rows=False):
    """The matrices of `tensors` in float8 with scales, as ComfyUI writes them."""
    made = {f"{prefix}scaled_fp8": torch.zeros(2, dtype=torch.float8_e4m3fn)}
    for name, tensor in tensors.items():
        module, _, last = name.rpartition(".")
        if last != "weight" or tensor.ndim != 2:
            made[prefix + name] = tensor
            continue
        size = tensor.abs().amax(dim=1, keepdim=True) if rows else tensor.abs().max()
        made[prefix + name] = (tensor / (size / 448)).to(torch.float8_e4m3fn)
        made[f"{prefix}{module}.{scale}"] = (size / 448).float()
        made[f"{prefix}{module}.{'scale_input' if scale == 'scale_weight' else 'input_scale'}"] = torch.ones(1)
    return made


def widened(tensors, rows=False):
    """What `scaled` keeps of `tensors`."""
    kept = scaled(tensors, rows=rows)
    scale = {name.rpartition(".")[0]: kept[name] for name in kept if name.endswith(".scale_weight")}
    return {
        name: kept[name].float() * scale[module]
        if (module := name.rpartition(".")[0]) in scale and "weight" in name
        else tensor
        for name, tensor in tensors.items()
    }


def same(one, other):
    """Equal but for the rounding that depends on where weights lie in memory."""
    return np.abs(one.astype(int) - other).max() <= 1


def far_apart(one, other):
    return np.abs(one.astype(int) - other).mean() > 0.3


@pytest.mark.parametrize("prefix", [LDM, "", "diffusion_model."])
def test_a_unet_in_original_names_is_drawn_with_on_its_base(draw, tiny, write, ldm_unet, prefix):
    file = write("unet.safetensors", prefixed(changed(ldm_unet), prefix))
    made = draw(file, base="sd15")
    assert far_apart(made, draw("sd15"))
    assert same(made, draw(write("own.safetensors", ldm_unet_file(changed(ldm_unet), tiny)), base="sd15"))


def ldm_unet_file(unet, tiny):
    whole = load_file(tiny / "sd15-single-file.safetensors")
    return whole | prefixed(unet, LDM)


@pytest.mark.parametrize(("family", "weights"), [("sd15", UNET), ("flux", TRANSFORMER), ("sd35", TRANSFORMER)])
@pytest.mark.parametrize("prefix", ["", LDM])
def test_a_denoiser_in_diffusers_names_is_drawn_with_on_its_base(draw, tiny, write, copy_of, family, weights, prefix):
    fine_tuned = changed(load_file(tiny / family / weights))
    folder = copy_of(family)
    save_file(fine_tuned, folder / weights, {"format": "pt"})
    made = draw(write("tuned.safetensors", prefixed(fine_tuned, prefix)), base=family)
    assert same(made, draw(folder))
    assert far_apart(made, draw(family))


def test_the_base_needs_no_weights_of_its_own_denoiser(draw, tiny, write, copy_of):
    base = copy_of("flux")
    file = write("flux.safetensors", load_file(tiny / "flux" / TRANSFORMER))
    (base / TRANSFORMER).unlink()
    assert same(draw(file, base=str(base)), draw("flux"))


def test_a_folder_beside_the_file_is_its_base(draw, tiny, write, tmp_path):
    file = write("mine.safetensors", load_file(tiny / "flux" / TRANSFORMER))
    shutil.copytree(tiny / "flux", tmp_path / "mine")
    assert same(draw(file), draw("flux"))


def test_file_and_base_are_the_revision(spec_of, settings, tiny, write):
    def revision(tensors):
        file = write("one.safetensors", tensors)
        return locate(spec_of(file, base="flux"), settings, Recorder()).revision

    weights = load_file(tiny / "flux" / TRANSFORMER)
    own, base = revision(weights).split(" + base ")
    assert (own[:15], base[:15]) == ("sampled-sha256:", "sampled-sha256:")
    assert revision(changed(weights)).split(" + base ")[1] == base
    assert revision(changed(weights)).split(" + base ")[0] != own


@pytest.mark.parametrize("family", ["flux", "sd15", "sd35", "sana", "ltx", "wan"])
def test_a_denoiser_alone_is_named_with_what_it_lacks_and_an_example(engine, spec_of, tiny, write, family):
    weights = UNET if family == "sd15" else TRANSFORMER
    file = write("alone.safetensors", load_file(tiny / family / weights))
    name = {"flux": "FLUX.1", "sd15": "Stable Diffusion", "sd35": "Stable Diffusion 3", "sana": "Sana"}
    name |= {"ltx": "LTX-Video", "wan": "Wan"}
    with pytest.raises(ModelUnavailable) as refused:
        engine.load(spec_of(file), Recorder())
    message = str(refused.value)
    assert f"holds the denoiser of {name[family]}" in message
    assert "without the VAE and the text encoders" in message
    assert json.loads(message[message.index("{") : message.rindex("}") + 1]).keys() == {"base"}


def test_a_gguf_file_and_an_unknown_file_without_a_base_are_errors(engine, spec_of, write, tmp_path):
    (tmp_path / "flux.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelUnavailable, match=r'holds a denoiser only.*\{"base": "owner/repo"\}'):
        engine.load(spec_of(tmp_path / "flux.gguf"), Recorder())
    with pytest.raises(ModelUnavailable, match=r"holds the denoiser without the VAE and the text encoders"):
        engine.load(spec_of(write("odd.safetensors", {"what.weight": torch.zeros(2, 2)})), Recorder())


def test_a_file_of_another_family_than_its_base_names_both(engine, spec_of, tiny, write):
    file = write("flux.safetensors", load_file(tiny / "flux" / TRANSFORMER))
    with pytest.raises(ModelUnavailable, match=r"is a denoiser of FLUX\.1, and its base sd35 is Stable Diffusion 3"):
        engine.load(spec_of(file, base="sd35"), Recorder())
    with pytest.raises(ModelUnavailable, match=r"its base sd15 is Stable Diffusion with a UNet"):
        engine.load(spec_of(file, base="sd15"), Recorder())


def test_a_file_of_another_size_than_its_base_names_the_tensor(engine, spec_of, tiny, write):
    tensors = load_file(tiny / "flux" / TRANSFORMER)
    tensors["x_embedder.weight"] = torch.zeros(32, 32)
    with pytest.raises(ModelUnavailable, match=r"odd\.safetensors does not fit the transformer .*x_embedder"):
        engine.load(spec_of(write("odd.safetensors", tensors), base="flux"), Recorder())
    del tensors["x_embedder.weight"]
    with pytest.raises(ModelUnavailable, match=r"less\.safetensors does not fit .*it lacks x_embedder\.weight"):
        engine.load(spec_of(write("less.safetensors", tensors), base="flux"), Recorder())


def test_a_missing_base_a_vae_and_a_lora_are_said_as_they_are(engine, spec_of, tiny, write, tmp_path):
    flux = write("flux.safetensors", load_file(tiny / "flux" / TRANSFORMER))
    with pytest.raises(ModelUnavailable, match=r"The base 'nowhere' of .* is not a repository, and no folder is at"):
        engine.load(spec_of(flux, base="nowhere"), Recorder())
    vae = write("vae.safetensors", load_file(tiny / "flux/vae/diffusion_pytorch_model.safetensors"))
    with pytest.raises(ModelUnavailable, match=r"has no denoiser\. A VAE alone is used by the option vae"):
        engine.load(spec_of(vae, base="flux"), Recorder())
    lora = make_lora(tiny / "flux", tmp_path / "lora.safetensors")
    with pytest.raises(ModelUnavailable, match=r"is a LoRA, not a model\. Put it into LORAS_DIR"):
        engine.load(spec_of(lora, base="flux"), Recorder())
    with pytest.raises(ModelUnavailable, match=r"is a folder with all parts of a model\. Remove the option base"):
        engine.load(spec_of("flux", base="flux"), Recorder())


def float8(tensors):
    return {name: tensor.to(torch.float8_e4m3fn) if tensor.ndim > 1 else tensor for name, tensor in tensors.items()}


def rounded(tensors):
    return {name: tensor.float() for name, tensor in float8(tensors).items()}


@pytest.mark.parametrize(
    ("family", "part"),
    [("flux", "transformer"), ("flux", "text_encoder_2"), ("sd15", "unet"), ("sd15", "text_encoder"), ("sdxl", "vae")],
)
def test_a_part_in_float8_is_widened(draw, copy_of, tmp_path, family, part):
    folder = copy_of(family)
    file = next((folder / part).glob("*.safetensors"))
    tensors = load_file(file)
    save_file(rounded(tensors), file, {"format": "pt"})
    plain = draw(folder)
    save_file(float8(tensors), file, {"format": "pt"})
    assert same(draw(folder, revision="float8"), plain)


@pytest.mark.parametrize("part", ["transformer", "text_encoder_2", "text_encoder"])
def test_a_part_in_float8_with_scales_is_multiplied_out(draw, copy_of, part):
    folder = copy_of("flux")
    file = next((folder / part).glob("*.safetensors"))
    tensors = load_file(file)
    save_file(widened(tensors), file, {"format": "pt"})
    plain = draw(folder)
    save_file(scaled(tensors), file, {"format": "pt"})
    assert same(draw(folder, revision="scaled"), plain)


def test_a_complete_file_in_float8_with_and_without_scales(draw, tiny, write, tmp_path):
    whole = load_file(tiny / "sd15-single-file.safetensors")
    shutil.copytree(tiny / "sd15-single-file", tmp_path / "whole")
    plain = draw(write("whole.safetensors", rounded(whole)))
    assert same(draw(write("whole.safetensors", float8(whole)), revision="float8"), plain)
    plain = draw(write("whole.safetensors", widened(whole)), revision="widened")
    assert same(draw(write("whole.safetensors", scaled(whole)), revision="scaled"), plain)


@pytest.mark.parametrize("scale", ["scale_weight", "weight_scale"])
@pytest.mark.parametrize("rows", [False, True])
def test_a_scaled_denoiser_on_its_base(draw, tiny, write, scale, rows):
    weights = load_file(tiny / "flux" / TRANSFORMER)
    made = draw(write("scaled.safetensors", scaled(weights, LDM, scale, rows)), base="flux")
    exact = draw(write("wide.safetensors", widened(weights, rows)), base="flux")
    assert same(made, exact)


def test_formats_of_four_bits_are_refused_by_name(engine, spec_of, tiny, write):
    weights = load_file(tiny / "flux" / TRANSFORMER)
    kind = torch.tensor(list(json.dumps({"format": "nvfp4"}).encode()), dtype=torch.uint8)
    file = write("small.safetensors", weights | {"proj_out.comfy_quant": kind})
    with pytest.raises(ModelUnavailable, match=r"stores weights in nvfp4, which cannot be read"):
        engine.load(spec_of(file, base="flux"), Recorder())


@pytest.fixture
def other_vae(tiny):
    return changed(load_file(tiny / "sd15/vae/diffusion_pytorch_model.safetensors"))


@pytest.mark.parametrize("place", ["folder", "pipeline", "file"])
@pytest.mark.parametrize("repo", ["sd15", "sd15-single-file.safetensors", "unet.safetensors"])
def test_a_vae_from_elsewhere(draw, tiny, write, copy_of, tmp_path, other_vae, ldm_unet, repo, place):
    folder = copy_of("sd15")
    save_file(other_vae, folder / "vae/diffusion_pytorch_model.safetensors", {"format": "pt"})
    vae = {"folder": folder / "vae", "pipeline": folder, "file": write("vae.safetensors", other_vae)}[place]
    base = {"base": "sd15"} if repo == "unet.safetensors" else {}
    model = write(repo, prefixed(ldm_unet, LDM)) if base else repo
    assert same(draw(model, vae=str(vae), **base), draw(folder))


def test_a_vae_in_original_names(draw, tiny, write, other_vae):
    whole = load_file(tiny / "sd15-single-file.safetensors")
    original = {name: tensor for name, tensor in whole.items() if name.startswith("first_stage_model.")}
    changed_original = changed(original)
    made = draw("sd15", vae=str(write("vae.safetensors", changed_original)))
    bare = {name.removeprefix("first_stage_model."): tensor for name, tensor in changed_original.items()}
    assert same(draw("sd15", vae=str(write("bare.safetensors", bare))), made)
    assert same(made, draw("sd15", vae=str(write("diffusers.safetensors", other_vae))))


def test_the_vae_is_part_of_the_revision_and_of_the_estimate(spec_of, settings, tiny, write, other_vae):
    file = write("vae.safetensors", other_vae)
    plain = locate(spec_of("sd15"), settings, Recorder())
    made = locate(spec_of("sd15", vae=str(file)), settings, Recorder())
    assert made.revision.startswith("sampled-sha256:")
    assert " + vae sampled-sha256:" in made.revision
    assert made.files["vae"] == [file]
    assert made.weights == plain.weights


def test_a_vae_that_does_not_fit_or_is_none(engine, spec_of, tiny, write, tmp_path):
    with pytest.raises(
        ModelUnavailable, match=r"latent_channels is 16, and that of this StableDiffusionPipeline is 4\."
    ):
        engine.load(spec_of("sd15", vae=str(tiny / "sd35")), Recorder())
    with pytest.raises(ModelUnavailable, match=r"scaling_factor is 0\.18215, and that of this FluxPipeline is 1\.5035"):
        engine.load(spec_of("flux", vae=str(tiny / "sd15")), Recorder())
    unet = write("unet.safetensors", load_file(tiny / "sd15" / UNET))
    with pytest.raises(ModelUnavailable, match=r"unet\.safetensors has no VAE"):
        engine.load(spec_of("sd15", vae=str(unet)), Recorder())
    with pytest.raises(ModelUnavailable, match=r"The VAE 'nowhere' of .* nothing is at .*Correct its option vae"):
        engine.load(spec_of("sd15", vae="nowhere"), Recorder())
    with pytest.raises(ModelUnavailable, match=r"text_encoder has no VAE"):
        engine.load(spec_of("sd15", vae=str(tiny / "sd15/text_encoder")), Recorder())


def open_clip(state):
    """A text encoder in the names of OpenCLIP, as the files of SD 2 have it."""
    state = {name.removeprefix("text_model."): tensor for name, tensor in state.items()}
    words = {"encoder.layers.": "transformer.resblocks.", "layer_norm": "ln_", "fc1": "c_fc", "fc2": "c_proj"}
    words |= {"self_attn": "attn", "final_ln_": "ln_final", "embeddings.token_embedding": "token_embedding"}
    words |= {"embeddings.position_embedding.weight": "positional_embedding"}
    made = {}
    for name, tensor in state.items():
        if ".k_proj." in name or ".v_proj." in name:
            continue
        three = [state[name.replace("q_proj", f"{one}_proj")] for one in "qkv"]
        kept = torch.cat(three) if "q_proj" in name else tensor
        for new, old in words.items():
            name = name.replace(new, old)
        made[f"cond_stage_model.model.{name.replace('.q_proj.', '.in_proj_')}"] = kept
    return made


def test_stable_diffusion_2_in_one_file_with_its_prediction_of_velocity(draw, tiny, write, copy_of):
    folder = copy_of("sd15")
    scheduler = folder / "scheduler/scheduler_config.json"
    about = json.loads(scheduler.read_text())
    scheduler.write_text(json.dumps(about | {"prediction_type": "v_prediction"}))
    whole = load_file(tiny / "sd15-single-file.safetensors")
    rest = {name: tensor for name, tensor in whole.items() if not name.startswith("cond_stage_model")}
    encoder = open_clip(load_file(tiny / "sd15/text_encoder/model.safetensors"))
    made = draw(write("v2.safetensors", rest | encoder), base=str(folder))
    assert same(made, draw(folder))
    assert far_apart(made, draw("sd15"))


def test_the_unet_of_sdxl_in_original_names(draw, tiny, write):
    state = changed(load_file(tiny / "sdxl" / UNET))
    original = {}
    for name, tensor in state.items():
        if name.startswith("add_embedding."):
            old = name.replace("add_embedding.linear_1", "label_emb.0.0")
            old = old.replace("add_embedding.linear_2", "label_emb.0.2")
        else:
            old = unet_name(name, 1, [True, False])
        original[old] = tensor
    made = draw(write("xl.safetensors", prefixed(original, LDM)), base="sdxl")
    assert same(made, draw(write("xl-diffusers.safetensors", state), base="sdxl"))
    assert far_apart(made, draw("sdxl"))


def test_a_denoiser_with_its_vae_takes_the_text_encoders_of_the_base(draw, tiny, write, ldm_unet, copy_of):
    whole = load_file(tiny / "sd15-single-file.safetensors")
    both = {name: tensor for name, tensor in changed(whole).items() if not name.startswith("cond_stage_model")}
    made = draw(write("both.safetensors", both), base="sd15")
    base = copy_of("sd15")
    (base / UNET).unlink()
    (base / "vae/diffusion_pytorch_model.safetensors").unlink()
    assert same(draw(write("both.safetensors", both), base=str(base)), made)
    assert far_apart(made, draw("sd15"))


def test_a_gguf_file_is_the_denoiser_of_its_base(spec_of, settings, tmp_path, copy_of):
    (tmp_path / "small.GGUF").write_bytes(b"GGUF")
    base = copy_of("flux")
    (base / TRANSFORMER).unlink()
    found = locate(spec_of(tmp_path / "small.GGUF", base=str(base)), settings, Recorder())
    assert "transformer" not in found.files
    assert found.kinds["transformer"] == "diffusers.FluxTransformer2DModel"
    assert spec_of(tmp_path / "small.GGUF", base=str(base)).is_gguf


def test_the_estimate_counts_the_file_instead_of_the_bases_denoiser(spec_of, settings, tiny, write):
    def shapes(repo, **options):
        checkpoint = locate(spec_of(repo, **options), settings, Recorder())
        found = part_shapes(checkpoint, LoadPlan(torch.device("cuda:0"), torch.bfloat16))
        return {part.name: (part.numbers, part.castable, part.bytes_of("full")) for part in found}

    weights = load_file(tiny / "flux" / TRANSFORMER)
    file = write("float8.safetensors", prefixed(float8(weights), LDM))
    assert shapes(file, base="flux") == shapes("flux")
    vae = write("vae.safetensors", load_file(tiny / "sd15/vae/diffusion_pytorch_model.safetensors"))
    whole = shapes("sd15-single-file.safetensors", vae=str(vae))
    assert whole["vae"] == shapes("sd15")["vae"]


def test_layers_of_a_file_on_its_base_are_cast(engine, spec_of, draw, tiny, write):
    file = write("flux.safetensors", load_file(tiny / "flux" / TRANSFORMER))
    made = draw(file, base="flux", layerwise_casting=True)
    assert same(made, draw("flux", layerwise_casting=True))

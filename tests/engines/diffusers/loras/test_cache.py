"""LoRAs change the image by their scale, and leave the model unchanged."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline
from safetensors.torch import load_file, save_file

from app.core.loras import LoraFile
from app.engines.diffusers import loader as loader_module
from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.generate import generate
from app.engines.diffusers.load.load_plan import LoadPlan
from app.engines.diffusers.load.offload import place
from app.engines.diffusers.loras.cache import LoraCache, LoraRequest
from app.errors import Cancelled, LoraIncompatible, LoraUnavailable
from tests.engines.diffusers.generate.control import Recorder
from tools.tiny_models.lora import make_lora

FAMILIES = ("flux", "sd35", "sdxl", "sd15", "lcm", "sana")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "loras"


@pytest.fixture
def settings(settings, folder):
    return dataclasses.replace(settings, loras_dir=folder)


@pytest.fixture
def make(tiny, folder):
    """Make a LoRA for a family; returns its id."""

    def lora(family, name="style", **options):
        make_lora(tiny / family, folder / f"{name}.safetensors", **options)
        return name

    return lora


@pytest.fixture
def draw(engine, spec_of, ask):
    """The picture that a family draws with LoRAs (id=scale), and the generation."""

    def run(family="flux", loras=None, control=None, **changes):
        chosen = [{"id": name, "scale": scale} for name, scale in (loras or {}).items()]
        return engine.generate(spec_of(family), ask(loras=chosen, **changes), control or Recorder())

    return lambda *a, **k: run(*a, **k).images[0].pixels.astype(int)


def distance(one, other) -> float:
    return float(np.abs(one - other).mean())


def lora_cache(engine, spec_of, family="flux"):
    return engine._model_cache.get(spec_of(family)).loras


@pytest.mark.parametrize("family", FAMILIES)
def test_it_changes_the_picture_and_leaves_no_trace(draw, make, family):
    make(family, strength=0.5)
    before = draw(family)
    half, whole = draw(family, {"style": 0.5}), draw(family, {"style": 1.0})
    assert 0 < distance(half, before) < distance(whole, before)
    assert np.array_equal(draw(family), before)
    assert np.array_equal(draw(family, {"style": 1.0}), whole)
    assert np.array_equal(draw(family, {"style": 0}), before)


@pytest.fixture
def floats(monkeypatch):
    """The pictures that went through the engine, before rounding."""
    seen = []
    rounding = generate.to_pixels
    monkeypatch.setattr(generate, "to_pixels", lambda picture: seen.append(picture) or rounding(picture))
    return seen


def test_it_equals_plain_diffusers(tiny, draw, make, folder, floats):
    from diffusers import FluxPipeline

    make("flux", strength=2.0)
    pipe = FluxPipeline.from_pretrained(tiny / "flux")
    pipe.set_progress_bar_config(disable=True)
    pipe.load_lora_weights(folder, weight_name="style.safetensors", adapter_name="a")
    pipe.set_adapters(["a"], [0.7])
    wanted = pipe(
        "a red cat under a tree",
        num_inference_steps=3,
        width=64,
        height=64,
        generator=torch.Generator("cpu").manual_seed(7),
        output_type="np",
    ).images[0]
    draw("flux", {"style": 0.7})
    assert np.abs(floats[-1] - wanted).max() <= 1e-5


def in_kohyas_words(tiny, file, *, alpha: float) -> None:
    """The LoRA in `file` as kohya's trainer writes one, with a convolution as LoCon has it."""
    written = {}
    for name, tensor in load_file(file).items():
        path, side = name.removeprefix("unet.").removesuffix(".weight").rsplit(".", 1)
        harness = f"lora_unet_{path.replace('.', '_')}"
        written[f"{harness}.{'lora_down' if side == 'lora_A' else 'lora_up'}.weight"] = tensor
        written[f"{harness}.alpha"] = torch.tensor(alpha)
    weights = next((tiny / "sd15" / "unet").glob("*.safetensors"))
    rows, columns, height, width = load_file(weights)["down_blocks.0.resnets.0.conv1.weight"].shape
    harness = "lora_unet_down_blocks_0_resnets_0_conv1"
    numbers = torch.Generator().manual_seed(3)
    written[f"{harness}.lora_down.weight"] = torch.randn(4, columns, height, width, generator=numbers)
    written[f"{harness}.lora_up.weight"] = torch.randn(rows, 4, 1, 1, generator=numbers)
    written[f"{harness}.alpha"] = torch.tensor(alpha)
    save_file(written, file, {"format": "pt"})


def test_kohyas_names_alphas_and_convolutions(tiny, draw, make, folder, floats):
    from diffusers import StableDiffusionPipeline

    make("sd15", strength=2.0)
    in_kohyas_words(tiny, folder / "style.safetensors", alpha=2.0)
    pipe = StableDiffusionPipeline.from_pretrained(tiny / "sd15", safety_checker=None)
    pipe.set_progress_bar_config(disable=True)

    def plain():
        generator = torch.Generator("cpu").manual_seed(7)
        size = {"width": 64, "height": 64, "num_inference_steps": 3}
        return pipe("a red cat under a tree", generator=generator, output_type="np", **size).images[0]

    without = plain()
    pipe.load_lora_weights(folder, weight_name="style.safetensors", adapter_name="a")
    pipe.set_adapters(["a"], [0.7])
    wanted = plain()
    draw("sd15", {"style": 0.7})
    assert np.abs(wanted - without).max() > 0.01
    assert np.abs(floats[-1] - wanted).max() <= 1e-5
    draw("sd15")
    assert np.array_equal(floats[-1], without)


def test_one_that_changes_the_text_encoder_leaves_no_trace_there_either(draw, make):
    make("sd15", strength=3.0, text_encoder=True)
    make("sd15", "plain", strength=3.0)
    before = draw("sd15")
    assert distance(draw("sd15", {"style": 1}), draw("sd15", {"plain": 1})) > 0
    assert np.array_equal(draw("sd15"), before)


def test_several_at_once_and_in_turn(draw, make):
    make("flux", "one", seed=1, strength=2.0)
    make("flux", "two", seed=2, strength=2.0)
    before, one, two, both = draw(), draw(loras={"one": 1}), draw(loras={"two": 1}), draw(loras={"one": 1, "two": 0.5})
    pictures = [before, one, two, both]
    assert all(distance(a, b) > 0 for i, a in enumerate(pictures) for b in pictures[:i])
    for _ in range(2):
        assert np.array_equal(draw(loras={"two": 1}), two)
        assert np.array_equal(draw(loras={"one": 1}), one)
        assert np.array_equal(draw(), before)
    assert np.array_equal(draw(loras={"one": 1, "two": 0.5}), both)


def test_neither_a_lora_nor_its_scale_loads_the_base_again(draw, make, monkeypatch):
    make("flux", "one")
    make("flux", "two", seed=2)
    draw()
    monkeypatch.setattr(loader_module, "build_pipeline", lambda *_: pytest.fail("the base was loaded again"))
    for loras in ({"one": 1}, {"two": 2}, {"one": 0.1}, {}, {"two": 1, "one": 1}):
        draw(loras=loras)


def test_the_base_has_its_own_layers_and_weights_back(engine, spec_of, draw, make):
    draw()
    transformer = engine._model_cache.get(spec_of("flux")).pipeline.transformer
    names = [name for name, _ in transformer.named_modules()]
    weights = {name: tensor.clone() for name, tensor in transformer.state_dict().items()}
    make("flux", strength=3.0)
    draw(loras={"style": 2})
    assert len(lora_cache(engine, spec_of)) == 1
    assert all(not module._forward_hooks for module in transformer.modules())
    assert [name for name, _ in transformer.named_modules()] == names
    after = transformer.state_dict()
    assert set(after) == set(weights)
    assert all(torch.equal(after[name], weights[name]) for name in weights)


def test_they_work_with_pictures_too(engine, spec_of, ask, make, draw):
    make("sdxl", strength=3.0)
    picture = np.full((64, 64, 3), 90, np.uint8)

    def start(*loras):
        request = ask(task="img2img", strength=0.5, num_inference_steps=4, loras=[{"id": name} for name in loras])
        return engine.generate(spec_of("sdxl"), request, Recorder(), {"image": picture}).images[0].pixels.astype(int)

    before = start()
    assert distance(start("style"), before) > 0
    assert np.array_equal(start(), before)


def test_only_so_many_are_kept_and_the_oldest_used_go_first(settings, spec_of, ask, make):
    engine = DiffusersEngine(dataclasses.replace(settings, lora_cache_max=2))
    for number in range(3):
        make("flux", f"l{number}", seed=number)

    def draw(*loras):
        request = ask(loras=[{"id": name} for name in loras])
        return engine.generate(spec_of("flux"), request, Recorder()).images[0].pixels

    def kept():
        return [key[0].rpartition("/")[2].partition(".")[0] for key in lora_cache(engine, spec_of)._kept]

    first = draw("l0")
    for name, left in (("l1", ["l0", "l1"]), ("l0", ["l1", "l0"]), ("l2", ["l0", "l2"])):
        draw(name)
        assert kept() == left
    draw("l0", "l1", "l2")
    assert kept() == ["l0", "l1", "l2"]  # a job may want more than are kept …
    assert np.array_equal(draw("l0"), first)
    assert kept() == ["l2", "l0"]  # … and the next one cleans up


def test_only_so_many_bytes_are_kept(settings, spec_of, ask, make):
    engine = DiffusersEngine(dataclasses.replace(settings, lora_cache_bytes=1))
    for name in ("a", "b"):
        make("flux", name)
        engine.generate(spec_of("flux"), ask(loras=[{"id": name}]), Recorder())
    assert len(lora_cache(engine, spec_of)) == 1


def test_a_file_that_was_changed_is_read_again(draw, make):
    make("flux", seed=1, strength=2.0)
    first = draw(loras={"style": 1})
    make("flux", seed=2, strength=2.0, rank=5)
    assert distance(draw(loras={"style": 1}), first) > 0


def test_a_job_that_is_cancelled_leaves_no_trace(draw, make):
    make("flux", strength=3.0)
    before = draw()
    with pytest.raises(Cancelled):
        draw(loras={"style": 1}, control=Recorder(cancel_at=1))
    assert np.array_equal(draw(), before)


def test_the_manifest_names_the_lora(engine, spec_of, ask, make, folder):
    make("flux")
    made = engine.generate(spec_of("flux"), ask(loras=[{"id": "style", "scale": 0.5}]), Recorder())
    (recorded,) = made.effective["loras"]
    assert (recorded["id"], recorded["scale"]) == ("style", 0.5)
    assert recorded["revision"].startswith("sampled-sha256:")
    assert "loras" not in engine.generate(spec_of("flux"), ask(), Recorder()).effective


# --- what is refused, before anything is drawn


@pytest.mark.parametrize(
    ("made_for", "model", "message"),
    [
        ("flux", "sd35", "It was made for FLUX"),
        ("flux", "sdxl", "It was made for FLUX"),
        ("sdxl", "flux", "It was made for a Stable Diffusion model with a UNet"),
        ("sana", "flux", "transformer has no layer"),
        ("sd15", "sdxl", "unet has"),
        ("sd35", "flux", "transformer has"),
    ],
)
def test_a_lora_of_another_family_is_refused(draw, make, made_for, model, message):
    make(made_for)
    before = draw(model)
    with pytest.raises(LoraIncompatible, match=f"The LoRA style does not fit {model}.*{message}") as refused:
        draw(model, {"style": 1})
    assert (refused.value.code, refused.value.status) == ("lora_incompatible", 400)
    assert np.array_equal(draw(model), before)


def rewritten(file, change):
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, {"format": "pt"})


def wider(tensors):
    name = next(name for name in tensors if name.endswith("lora_A.weight"))
    tensors[name] = torch.zeros(4, 77)


def elsewhere(tensors):
    tensors["transformer.single_transformer_blocks.9.attn.to_q.lora_A.weight"] = torch.zeros(4, 32)
    tensors["transformer.single_transformer_blocks.9.attn.to_q.lora_B.weight"] = torch.zeros(32, 4)


def control_lora(tensors):
    """FLUX's own control LoRAs widen the input of the model, which would not be the same afterwards."""
    tensors["transformer.x_embedder.lora_A.weight"] = torch.zeros(4, 32)
    tensors["transformer.x_embedder.lora_B.weight"] = torch.zeros(32, 4)


def with_a_norm(tensors):
    tensors["transformer.transformer_blocks.0.attn.norm_q.weight"] = torch.zeros(16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (wider, "inputs in .* and the LoRA is for 77"),
        (elsewhere, r"has no layer single_transformer_blocks\.9\.attn\.to_q"),
        (control_lora, "has 16 inputs in x_embedder, and the LoRA is for 32"),
        (with_a_norm, "which is not done here"),
    ],
)
def test_one_that_does_not_fit_everywhere_is_refused(draw, make, folder, change, message):
    make("flux", strength=2.0)
    before = draw()
    rewritten(folder / "style.safetensors", change)
    with pytest.raises(LoraIncompatible, match=message):
        draw(loras={"style": 1})
    assert np.array_equal(draw(), before)


def test_files_that_are_no_loras_are_refused(draw, folder, make):
    make("flux", "good", strength=2.0)
    whole = (folder / "good.safetensors").read_bytes()
    torch.save({"lora_A": torch.zeros(4)}, folder / "pickle.safetensors")
    (folder / "cut.safetensors").write_bytes(whole[:-10])
    (folder / "empty.safetensors").write_bytes(b"")
    save_file({"weight": torch.zeros(4)}, folder / "model.safetensors")
    (folder / "other.ckpt").write_bytes(b"x")
    for name, message in (
        ("pickle", "it is a pickle, which can run code and is never loaded"),
        ("cut", "it has [0-9,]+ bytes and should have"),
        ("empty", "is not a safetensors file"),
        ("model", "is not a LoRA: none of its 1 tensors"),
        ("missing", r"There is no LoRA 'missing'\. Put its \.safetensors file into loras/"),
        ("other.ckpt", "There is no LoRA"),
        ("../loras/good/../../secret", "There is no LoRA"),
        ("/etc/passwd", "There is no LoRA"),
    ):
        with pytest.raises(LoraUnavailable, match=message):
            draw(loras={name: 1})
    draw(loras={"good": 1})


def test_links_of_the_administrator_and_capitals_are_drawn_with(draw, folder, make, tmp_path):
    make("flux", "good", strength=2.0)
    (folder / "good.safetensors").rename(tmp_path / "outside.safetensors")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "linked.safetensors").symlink_to(tmp_path / "outside.safetensors")
    (folder / "linkfile.safetensors").symlink_to(tmp_path / "outside.safetensors")
    (folder / "linkdir").symlink_to(elsewhere)
    (folder / "UPPER.SAFETENSORS").symlink_to(tmp_path / "outside.safetensors")
    (folder / "lost.safetensors").symlink_to(tmp_path / "gone.safetensors")
    before = draw()
    names = ("linkfile", "linkdir/linked", "linkdir/linked.safetensors", "UPPER", "UPPER.SAFETENSORS")
    pictures = [draw(loras={name: 1}) for name in names]
    assert distance(pictures[0], before) > 0
    assert all(np.array_equal(picture, pictures[0]) for picture in pictures)
    with pytest.raises(LoraUnavailable, match=r"lost is a broken link\. Correct it"):
        draw(loras={"lost": 1})


def test_no_name_leaves_the_folder_through_a_link(draw, folder, make, tmp_path):
    make("flux", "good")
    (tmp_path / "deep" / "elsewhere").mkdir(parents=True)
    (folder / "good.safetensors").rename(tmp_path / "deep" / "secret.safetensors")
    (folder / "linkdir").symlink_to(tmp_path / "deep" / "elsewhere")
    for name in ("linkdir/../secret", "linkdir/../../deep/secret", "../deep/secret", str(tmp_path / "deep" / "secret")):
        with pytest.raises(LoraUnavailable, match="There is no LoRA"):
            draw(loras={name: 1})


@pytest.mark.parametrize("placement", ["model", "group", "sequential"])
def test_reading_one_leaves_the_offloaded_model_alone(settings, make, placement):
    """diffusers would remove the hooks and apply them again, with page-locked copies of all weights."""
    make("flux", strength=2.0)
    pipeline = FluxPipeline.from_pretrained(settings.root / "flux", local_files_only=True)
    place(pipeline, LoadPlan(torch.device("cpu"), torch.float32, plan=placement))
    hooks = hooks_of(pipeline)
    assert hooks
    lora = LoraRequest(settings.loras_dir / "style.safetensors", LoraFile("style", "flux", 1, 1), 1.0)
    with LoraCache(pipeline, "flux", most=1, most_bytes=10**9).applied([lora]):
        assert hooks_of(pipeline) == hooks


def hooks_of(pipeline):
    """The hooks of accelerate and diffusers by identity."""
    parts = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    modules = [module for part in parts for module in part.modules()]
    found = [vars(module).get(name) for module in modules for name in ("_hf_hook", "_diffusers_hook")]
    return [id(hook) for one in found if one is not None for hook in (one, *getattr(one, "hooks", {}).values())]


def test_it_is_read_in_the_precision_that_a_float8_model_computes_in(settings, spec_of, ask, make):
    make("flux", strength=0.3)
    spec = spec_of("flux", layerwise_casting=True)
    engine = DiffusersEngine(settings)
    engine.generate(spec, ask(loras=[{"id": "style"}]), Recorder())
    (additions,) = engine._model_cache.get(spec).loras._kept.values()
    stored = load_file(settings.loras_dir / "style.safetensors")
    for (part, path), matrices in additions.items():
        assert torch.equal(matrices.down, stored[f"{part}.{path}.lora_A.weight"].float())


def test_a_lora_is_loaded_before_a_request_asks_for_it_and_freed(engine, spec_of, make):
    spec, lora = spec_of("flux"), make("flux")
    assert engine.load_lora(spec, lora, Recorder()) is False  # the model is not in memory
    engine.load(spec, Recorder())
    assert engine.load_lora(spec, lora, Recorder()) is True
    assert list(engine.resident()[0].loras) == ["style"]
    assert engine.unload_lora(spec.id, "STYLE") is True
    assert engine.unload_lora(spec.id, "style") is False
    assert list(engine.resident()[0].loras) == []

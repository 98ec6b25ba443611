"""Every stage of the training program runs, resumes exactly, and ends in a folder that plain diffusers loads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.transformers.transformer_flux import FluxAttnProcessor

from tests.torch_threads import TORCH_THREADS
from tools.demo_model import checkpoint, flow, pictures, sd3, text, train, transformer
from tools.demo_model.batches import LONGEST, Batches
from tools.demo_model.flow import Course
from tools.demo_model.optim import MuonAdamW, orthogonalize
from tools.demo_model.plan import PLANS


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(scratch, export) after the smoke plan."""
    folder = tmp_path_factory.mktemp("demo")
    torch.set_num_threads(TORCH_THREADS)
    train.run(PLANS["smoke"], list(train.STAGES), folder / "scratch", folder / "demo", "cpu", compiled=False)
    return folder / "scratch", folder / "demo"


def test_the_export_is_a_plain_small_flux_folder(trained: tuple[Path, Path]) -> None:
    from diffusers import FluxPipeline

    _, out = trained
    assert sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) < 20_000_000
    options = json.loads((out / "demo.json").read_text())
    pipeline = FluxPipeline.from_pretrained(out, torch_dtype=torch.float32)
    assert pipeline.transformer.config.guidance_embeds
    pipeline.set_progress_bar_config(disable=True)
    width, height = options["aspect_sizes"]["3:2"]
    picture = pipeline("a red circle", num_inference_steps=1, width=width, height=height, max_sequence_length=32)
    assert picture.images[0].size == (288, 192)


def test_padding_does_not_change_the_velocity(trained: tuple[Path, Path]) -> None:
    """One biased padding token in training stands for the hundreds that the pipeline passes."""
    scratch, _ = trained
    t5, clip = text.load(scratch)
    torch.manual_seed(0)
    model = transformer.build().eval()
    model.set_attn_processor(FluxAttnProcessor())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    ids = torch.zeros(1, 300, dtype=torch.long)
    ids[0, :4] = torch.tensor([5, 9, 14, 1])
    tokens = t5(input_ids=ids).last_hidden_state
    inputs = {
        "hidden_states": torch.randn(1, 16, 48),
        "pooled_projections": clip(input_ids=torch.tensor([[1, 2, 3]])).pooler_output,
        "timestep": torch.tensor([0.5]),
        "guidance": torch.ones(1),
        "img_ids": transformer.image_ids(4, 4),
        "return_dict": False,
    }
    with torch.no_grad():
        plain = model(encoder_hidden_states=tokens, txt_ids=torch.zeros(300, 3), **inputs)[0]
        model.set_attn_processor(transformer.BiasedAttention())
        bias = transformer.padding_bias(torch.tensor([4]), torch.tensor([296]), LONGEST + 1, 16)
        few = tokens[:, : LONGEST + 1]
        short = model(
            encoder_hidden_states=few,
            txt_ids=torch.zeros(LONGEST + 1, 3),
            joint_attention_kwargs={"key_bias": bias},
            **inputs,
        )[0]
    assert torch.allclose(plain, short, atol=2e-3)
    assert plain.abs().mean() > 0.05


def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(trained: tuple[Path, Path], tmp_path: Path) -> None:
    scratch, _ = trained

    def weights(path: Path, stops: list[int]) -> dict[str, torch.Tensor]:
        for steps in stops:
            torch.manual_seed(3)
            flow.train(
                transformer.build(), path, Course(steps, 2), Batches(scratch, *text.load(scratch)), flow.predict_flux
            )
        state = checkpoint.load(path)
        assert state is not None
        return state["model"] | {f"average {name}": value for name, value in state["average"].items()}

    whole, parts = weights(tmp_path / "whole.pt", [4]), weights(tmp_path / "parts.pt", [1, 3, 4])
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())


def test_training_further_from_an_export_starts_from_its_weights(trained: tuple[Path, Path], tmp_path: Path) -> None:
    _, out = trained
    train.start_from(out, tmp_path)
    model = train.starting_transformer(tmp_path)
    started = checkpoint.load(tmp_path / "start.pt")
    assert started is not None
    assert torch.equal(model.proj_out.weight, started["model"]["proj_out.weight"])
    text.load(tmp_path)
    train.outer_vae(tmp_path)


def test_the_sd3_sibling_trains_on_the_same_data_and_takes_negative_prompts(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    from diffusers import StableDiffusion3Pipeline

    scratch, out = trained
    folder = out.with_name("demo-sd3")
    train.run_sd3(PLANS["smoke"], scratch, folder, "cpu", compiled=False)
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 20_000_000
    pipeline = StableDiffusion3Pipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline(
        "a red circle", negative_prompt="a square", num_inference_steps=2, guidance_scale=3.0, width=256, height=256,
        max_sequence_length=64,
    )  # fmt: skip
    assert made.images[0].size == (256, 256)
    for exported in (out, folder):
        train.start_from(exported, tmp_path)
    serve = sd3.Sd3Batches(scratch, text.load(tmp_path)[0], sd3.train_clip(tmp_path, 0, 0))
    weights = train.starting_sd3(tmp_path, serve).state_dict()
    exported_weights = pipeline.transformer.state_dict()
    assert all(torch.equal(value, exported_weights[name]) for name, value in weights.items())


def test_muon_moves_along_an_orthogonal_matrix_and_learns() -> None:
    torch.manual_seed(0)
    singular = torch.linalg.svdvals(orthogonalize(torch.randn(24, 40)).float())
    assert 0.5 < singular.min() < singular.max() < 1.5
    weight = torch.nn.Parameter(torch.randn(8, 8))
    optimizer = MuonAdamW([weight], [], lr=0.2)
    before = float(weight.square().sum())
    for _ in range(30):
        weight.square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert float(weight.detach().square().sum()) < 0.5 * before


def test_batches_are_determined_by_their_number(trained: tuple[Path, Path]) -> None:
    scratch, _ = trained
    serve = Batches(scratch, *text.load(scratch))
    first, again = serve(3, 2), serve(3, 2)
    assert torch.equal(first.latents, again.latents)
    assert torch.equal(first.text, again.text)
    assert len({tuple(serve(step, 2).text.flatten()[:4000].tolist()) for step in range(12)}) > 3
    stored = np.load(scratch / "pictures" / "square.npy", mmap_mode="r")
    assert np.array_equal(stored[2], pictures.picture_of(pictures.BUCKETS["square"], 2))

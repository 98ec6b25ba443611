"""The tables of memory plans in docs/MODELS.md are those of the code that chooses plans."""

from __future__ import annotations

import pytest

from app.core.memory_shapes import known_models
from tools.memory_table import CARDS, MEMORIES, pages, plan_for, planned_models, room

KNOWN_BILLIONS = {
    "FLUX.1-dev": 11.9,
    "SD 3.5 Large": 8.1,
    "SDXL": 2.57,
    "Qwen-Image": 20.4,
    "Z-Image": 6.2,
    "Stable Diffusion 1.5": 0.86,
    "Sana Sprint 1.6B": 1.6,
    "FLUX.2-dev": 32.2,
    "LTX-2.3": 19.0,
}
TOO_LARGE = {"FLUX.2-dev", "LTX-2.3"}  # for 32 GB of main memory


def test_the_tables_are_up_to_date() -> None:
    for path, text in pages().items():
        assert path.read_text() == text, "run: python -m tools.memory_table"


@pytest.mark.parametrize("name", KNOWN_BILLIONS)
def test_the_shapes_have_the_numbers_that_the_models_are_known_for(name) -> None:
    denoiser = next(part for part in planned_models()[name].parts if part.is_denoiser)
    assert denoiser.numbers / 1e9 == pytest.approx(KNOWN_BILLIONS[name], rel=0.01)


def test_every_part_has_a_source() -> None:
    for model in known_models().values():
        assert len(model.sources) == len(model.parts)
        assert all(model.sources)


def test_nothing_is_planned_beyond_what_a_machine_has() -> None:
    for model in planned_models().values():
        for card in CARDS:
            for ram in MEMORIES:
                plan = plan_for(model, card, ram)
                assert plan is None or plan.fits(room(card, ram))


def test_usual_machines_run_the_usual_models() -> None:
    """8 to 24 GB beside 32 GB of main memory, without further packages."""
    for name, model in planned_models().items():
        for card in (8, 12, 16, 24):
            assert (plan_for(model, card, 32) is None) == (name in TOO_LARGE), (name, card)
            assert plan_for(model, card, 64) is not None or (name, card) == ("FLUX.2-dev", 8), (name, card)
    assert plan_for(planned_models()["FLUX.1-dev"], 16, 32).label == "float8, model"
    assert plan_for(planned_models()["FLUX.1-dev"], 12, 32, ("bitsandbytes",)).label == "4 bit, model"

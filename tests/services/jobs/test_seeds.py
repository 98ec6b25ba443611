"""A random seed is drawn when a request is submitted."""

from __future__ import annotations

from pathlib import Path

from app.config import load_settings
from app.core.request import GenerationInput, GenerationSettings
from app.core.resolve import DRAWN_SEED_MAX
from app.services.context import open_context
from app.services.jobs.submit import submit


def test_each_request_without_a_seed_gets_another(tmp_path: Path) -> None:
    settings = load_settings(
        {}, None, database_url=f"sqlite:///{tmp_path / 'db'}", images_dir=tmp_path / "images", disk_floor_bytes=0
    )
    context = open_context(settings)

    def seed_of(seed: int | None) -> int:
        asked = GenerationInput(prompt="a boat", settings=GenerationSettings(seed=seed))
        return context.jobs.get(submit(context, asked, client_id="ip:1.2.3.4").job_id).request.seed

    drawn = [seed_of(seed) for seed in (None, -1) * 5]
    assert len(set(drawn)) > 8
    assert all(0 <= seed <= DRAWN_SEED_MAX for seed in drawn)
    assert seed_of(7) == 7
    context.close()

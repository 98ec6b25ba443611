"""Counters begin at zero, so that the first fault is an increase."""

from __future__ import annotations

from app.core.catalog_lines import build_catalog
from app.services.ops.zero_counters import OUTCOMES, with_zeros
from app.store.ops.counters import Counter

LINES = {
    "MODEL_A": "painter;studio/painter;A;huggingface;false;{}",
    "MODEL_B": "far;owner/far;B;replicate;false;{}",
}
CATALOG = build_catalog(LINES, "demo")


def test_each_model_has_each_outcome() -> None:
    found = with_zeros({}, CATALOG)
    assert {"completed", "cancelled", "out_of_memory", "timeout", "worker_died", "unsupported_task"} <= set(OUTCOMES)
    for spec in CATALOG:
        assert {found[Counter("jobs_ended", spec.id, outcome)] for outcome in OUTCOMES} == {0.0}
        assert found[Counter("jobs_returned", spec.id, "worker_died")] == 0.0
    assert found[Counter("worker_deaths", "", "crashed")] == 0.0


def test_only_local_models_are_loaded_and_only_remote_ones_have_a_provider() -> None:
    found = with_zeros({}, CATALOG)
    assert Counter("model_swaps", "painter") in found
    assert Counter("model_swaps", "far") not in found
    assert {key.model_id for key in found if key.name == "remote_predictions"} == {"far"}
    assert Counter("remote_predictions", "far", "replicate/failed") in found


def test_counts_are_kept_and_a_model_that_was_only_asked_for_has_its_zeros() -> None:
    counted = {Counter("jobs_accepted", "owner/unlisted"): 2.0, Counter("jobs_ended", "demo", "timeout"): 1.0}
    found = with_zeros(counted, CATALOG)
    assert found[Counter("jobs_accepted", "owner/unlisted")] == 2.0
    assert found[Counter("jobs_ended", "demo", "timeout")] == 1.0
    assert found[Counter("jobs_ended", "owner/unlisted", "out_of_memory")] == 0.0

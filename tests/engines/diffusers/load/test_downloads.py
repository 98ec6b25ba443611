"""Downloads of models: progress is reported, interruptions lose no bytes, and free disk space is checked first."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.engines.diffusers.load.hub_process import run_cases
from tests.engines.diffusers.load.hub_server import HubServer
from tools.tiny_models.lora import make_lora

ROOT = Path(__file__).resolve().parents[4]


LIES = {  # false claims of a hub, and the resulting errors
    "etag": ("ModelDownloadFailed", "an invalid checksum"),
    "hash": ("ModelDownloadFailed", "was damaged in transfer"),
    "size": ("LoraUnavailable", "1,000,000,000,000 bytes; at most 10,000,000 are downloaded"),
    "endless": ("ModelDownloadFailed", "is larger than the hub said"),
    "listing": ("ModelDownloadFailed", "could not be reached"),
    "redirects": ("ModelDownloadFailed", "the hub could not be reached"),
}


@pytest.fixture(scope="module")
def answers(tiny, tmp_path_factory):
    """What each case of download_cases.py gave, all in one process against one hub."""
    folder = tmp_path_factory.mktemp("downloads")
    flux = dict.fromkeys(["tiny/flux", "tiny/flux-cut", "tiny/flux-stalled"], tiny / "flux")
    make_lora(tiny / "flux", folder / "lora" / "style.safetensors", rank=96)
    lying = [f"lying/{lie}" for lie in LIES]
    loras = dict.fromkeys(["tiny/lora", "tiny/lora-stalled", *lying], folder / "lora")
    with HubServer(flux | loras | dict.fromkeys(["tiny/sd15", "tiny/sd15-stalled"], tiny / "sd15")) as hub:
        # Five seconds: for the threads that were left in the silence.
        found = run_cases("tests.engines.diffusers.load.download_cases", folder, hub, HF_HUB_DOWNLOAD_TIMEOUT="5")
        return found | {"starts": list(hub.starts), "escaped": [path.name for path in folder.rglob("escaped*")]}


def test_a_download_reports_its_bytes_to_the_end(answers):
    whole = answers["whole"]
    done, totals = zip(*whole["downloads"], strict=True)
    assert set(totals) == {whole["bytes"]}  # all that is in the folder now, and nothing else
    assert list(done) == sorted(done)
    assert done[0] < done[-1] == whole["bytes"]
    assert whole["available"]
    assert answers["again"]["downloads"] == []


def test_a_broken_connection_is_taken_up_where_it_broke(answers):
    assert answers["cut"]["error"] is None
    assert answers["cut"]["bytes"] == answers["whole"]["bytes"]
    assert [start for path, start in answers["starts"] if "flux-cut" in path and start > 0]


def test_a_cancel_keeps_what_came_although_the_hub_is_silent(answers):
    cancelled = answers["cancelled"]
    assert cancelled["error"] == "Cancelled"
    assert cancelled["partial"]
    assert not cancelled["available"]  # its index is there


def test_the_next_attempt_goes_on_from_there(answers):
    resumed, partial = answers["resumed"], answers["cancelled"]["partial"]
    assert resumed["error"] is None
    assert resumed["downloads"][0][0] >= sum(partial)
    assert (resumed["bytes"], resumed["partial"]) == (answers["whole"]["bytes"], [])
    asked = Counter(path for path, start in answers["starts"] if "flux-stalled" in path and start == 0)
    assert set(asked.values()) == {1}  # no file was begun twice


def test_nothing_is_fetched_that_has_no_room(answers):
    assert answers["no_room"]["error"] == "StorageFull"
    assert "DISK_FLOOR_BYTES" in answers["no_room"]["detail"]
    assert not [path for path in answers["asked"] if path.startswith("GET /tiny/sd15/") and "safetensors" in path]


def test_a_lora_download_reports_its_bytes_and_resumes(answers):
    whole, cancelled, resumed = (answers[name] for name in ("lora", "lora_cancelled", "lora_resumed"))
    assert {total for _, total in whole["downloads"]} == {whole["bytes"]}
    assert whole["downloads"][0][0] == 0
    assert whole["downloads"][-1][0] == whole["bytes"]
    assert answers["lora_again"]["downloads"] == []
    assert cancelled["error"] == "Cancelled"
    assert resumed["downloads"][0][0] >= sum(cancelled["partial"]) > 0
    assert (resumed["error"], resumed["bytes"], resumed["partial"]) == (None, whole["bytes"], [])


def test_what_was_damaged_meanwhile_is_fetched_anew(answers):
    assert answers["damaged"]["error"] == "ModelDownloadFailed"
    assert "damaged" in answers["damaged"]["detail"]
    assert answers["mended"]["error"] is None


@pytest.mark.parametrize("lie", LIES)
def test_false_claims_of_a_hub_are_errors_and_nothing_is_kept(answers, lie):
    answer, (error, detail) = answers[f"lying_{lie}"], LIES[lie]
    assert answer["error"] == error
    assert detail in answer["detail"]
    assert (answer["partial"], answer["kept"], answers["escaped"]) == ([], [], [])
    assert "endless body was read to its end" not in answers["asked"]

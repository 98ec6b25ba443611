"""`cyberimage batch run`: a file becomes a folder; what is begun is gone on with, and nothing is made twice."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

import cyberimage
from app.cli import batch
from app.cli.main import main
from app.errors import ModelUnavailable
from cyberimage import Client
from tests.worker.fake_engine import FakeEngine, fails
from tests.worker.harness import Harness


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "POLL_SECONDS", 0.02)


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    file = tmp_path / "prompts.csv"
    file.write_text("prompt,model_id,seed\n" + "".join(f"a boat {number},fake,{number}\n" for number in range(5)))
    return file


def pictures(folder: Path) -> list[str]:
    return sorted(path.name[:6] for path in folder.glob("*.png"))


def run(file: Path, url: str, *more: str) -> int:
    return main(["batch", "run", str(file), "--out", str(file.parent / "out"), "--url", url, *more])


def test_a_file_becomes_a_folder_with_a_table(url: str, prompts: Path, harness: Harness) -> None:
    assert run(prompts, url) == 0
    out = prompts.parent / "out"
    assert pictures(out) == [f"{place:06}" for place in range(5)]
    table = json.loads((out / "manifest.json").read_text())["rows"]
    assert [row["prompt"] for row in table] == [f"a boat {number}" for number in range(5)]
    for row in table:
        (file,) = out.glob(f"{row['place']:06}-*.png")
        assert hashlib.sha256(file.read_bytes()).hexdigest() == row["sha256"]
    assert run(prompts, url) == 0
    assert sum(harness.context.jobs.counts().values()) == 5


def test_the_same_command_goes_on_and_fetches_what_is_missing(
    url: str, prompts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(prompts, url) == 0
    out = prompts.parent / "out"
    first, second, *_ = sorted(out.glob("*.png"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])  # cut short by a full disk
    fetched: list[str] = []
    get = Client.get_image
    monkeypatch.setattr(Client, "get_image", lambda self, image: fetched.append(image) or get(self, image))
    assert run(prompts, url) == 0
    assert len(fetched) == 2
    assert pictures(out) == [f"{place:06}" for place in range(5)]


def test_a_server_that_is_away_is_waited_for(url: str, prompts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every third answer is lost: that of the submission too, which is sent again with its key."""
    send, calls = Client._send, []
    monkeypatch.setattr(batch.time, "sleep", lambda _: None)

    def unreliable(self: Client, *args: Any, **options: Any) -> httpx.Response:
        calls.append(args)
        answer = send(self, *args, **options)
        if len(calls) % 3 == 1:
            raise cyberimage.Unreachable("the connection broke")
        return answer

    monkeypatch.setattr(Client, "_send", unreliable)
    assert run(prompts, url) == 0
    assert len(pictures(prompts.parent / "out")) == 5


def test_a_submission_whose_answer_was_lost_is_the_same_batch(
    url: str, prompts: Path, monkeypatch: pytest.MonkeyPatch, harness: Harness
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(batch.BatchFolder, "submitted", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run(prompts, url) == 130
    assert run(prompts, url) == 0
    assert sum(harness.context.jobs.counts().values()) == 5


def test_no_server_is_given_up_after_a_while(prompts: Path) -> None:
    assert run(prompts, "http://127.0.0.1:1", "--patience", "0") == 69


def test_a_damaged_picture_is_fetched_again(
    url: str, prompts: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    get, calls = Client.get_image, []

    def damaged(self: Client, image: str) -> bytes:
        calls.append(image)
        return get(self, image)[:-1] if len(calls) == 1 else get(self, image)

    monkeypatch.setattr(Client, "get_image", damaged)
    assert run(prompts, url) == 0
    assert "damaged" in capfd.readouterr().err
    assert len(calls) == 6


def test_failed_jobs_are_told_and_retried(
    url: str, prompts: Path, engine: FakeEngine, capfd: pytest.CaptureFixture[str]
) -> None:
    engine.behaviours["a boat 3"] = fails(ModelUnavailable("The weights are damaged."))
    assert run(prompts, url) == 1
    assert "1 jobs were not made" in capfd.readouterr().err
    del engine.behaviours["a boat 3"]
    assert run(prompts, url, "--retry-failed") == 0
    assert len(pictures(prompts.parent / "out")) == 5


def test_bad_lines_are_told_by_number(url: str, prompts: Path, capfd: pytest.CaptureFixture[str]) -> None:
    prompts.write_text("prompt,model_id,seed\na,fake,64\nb,fake,x\n")
    assert run(prompts, url) == 1
    assert "lines.3" in capfd.readouterr().err
    assert run(prompts, url, "--skip-invalid") == 0
    assert pictures(prompts.parent / "out") == ["000000"]


def test_a_folder_of_another_file_is_left_alone(url: str, prompts: Path) -> None:
    assert run(prompts, url) == 0
    prompts.write_text("prompt,model_id\nanother,fake\n")
    assert run(prompts, url) == 2
    (prompts.parent / "out" / ".cyberimage-batch.json").write_text("{")
    assert run(prompts, url) == 2
    other = prompts.with_suffix(".txt")
    other.write_text("a")
    assert run(other, url) == 2


def test_a_server_cannot_choose_where_files_are_written(tmp_path: Path) -> None:
    folder = batch.BatchFolder(tmp_path)
    image = {"image_id": "../../../x", "mime_type": "image/png", "sha256": hashlib.sha256(b"").hexdigest()}
    with pytest.raises(cyberimage.Error):
        folder.save(0, image, b"")

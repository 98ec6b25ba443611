"""`cyberimage generate` and `status` against a server that speaks the real contract, through a real worker loop."""

from __future__ import annotations

import io
import json
from pathlib import Path

import click
import httpx
import pytest
from PIL import Image

import cyberimage
from app.cli import client
from app.cli.main import main
from app.cli.progress import ProgressDisplay, line_of
from app.cli.terminal_images import inline_image, protocol_of
from tests.worker.fake_engine import FakeEngine, fails


def test_a_prompt_becomes_a_file(url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "boat.png"
    assert main(["generate", "-m", "fake", "a boat", "-o", str(out), "--seed", "4", "--url", url]) == 0
    assert capfd.readouterr().out.split() == [str(out)]
    with Image.open(out) as opened:
        assert json.loads(opened.text["cyberimage"])["prompt"] == "a boat"  # type: ignore[attr-defined]


def test_several_images_get_numbers(url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "boat.png"
    assert main(["generate", "-m", "fake", "boats", "-o", str(out), "-n", "2", "--json", "--url", url]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["files"] == [str(out), str(tmp_path / "boat-2.png")]
    assert [Path(file).stat().st_size > 0 for file in found["files"]] == [True, True]


def test_an_existing_file_is_kept(url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "boat.png"
    out.write_bytes(b"mine")
    assert main(["generate", "-m", "fake", "a boat", "-o", str(out), "--url", url]) == 2
    assert "--force" in capfd.readouterr().err
    assert out.read_bytes() == b"mine"
    assert main(["generate", "-m", "fake", "a boat", "-o", str(out), "--force", "--url", url]) == 0
    assert out.read_bytes() != b"mine"


def test_a_failure_has_its_sentence_and_code(
    url: str, engine: FakeEngine, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from app.errors import ModelUnavailable

    engine.behaviours["a boat"] = fails(ModelUnavailable("The weights are damaged."))
    assert main(["generate", "-m", "fake", "a boat", "-o", str(tmp_path / "x.png"), "--url", url]) == 1
    assert "The weights are damaged. (model_unavailable; job " in capfd.readouterr().err
    assert not (tmp_path / "x.png").exists()


def test_a_refusal_names_the_fields(url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    wrong = ["--steps", "9999", "--width", "7"]
    assert main(["generate", "-m", "fake", "a boat", *wrong, "-o", str(tmp_path / "x.png"), "--url", url]) == 1
    err = capfd.readouterr().err
    assert "settings.num_inference_steps" in err
    assert "settings.width" in err
    assert "(invalid_request)" in err


def test_status(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--url", url]) == 0
    shown = capfd.readouterr().out
    assert "ready    yes" in shown
    assert "queue    empty" in shown
    assert main(["status", "--json", "--url", url]) == 0
    assert json.loads(capfd.readouterr().out)["ready"] is True


def test_no_server_is_status_69(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--url", "http://127.0.0.1:1"]) == 69
    assert "cyberimage run" in capfd.readouterr().err


def test_a_refused_token_is_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    refused = cyberimage.Refused(httpx.Response(401, json={"detail": "Send a token.", "code": "unauthorized"}))
    with (
        pytest.raises(click.ClickException, match=r"unauthorized[\s\S]*CYBERIMAGE_TOKEN"),
        client.connected("http://x", ""),
    ):
        raise refused


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux"}, None),
        ({"TERM": "xterm-256color"}, None),
        ({}, None),
    ],
)
def test_which_terminals_show_images(environment: dict[str, str], protocol: str | None) -> None:
    assert protocol_of(environment) == protocol


def test_kittys_pieces_are_small_and_only_the_last_ends_it() -> None:
    buffer = io.BytesIO()
    Image.effect_noise((160, 160), 90).save(buffer, "WEBP", lossless=True)
    pieces = inline_image(buffer.getvalue(), "kitty").split("\x1b_G")[1:]
    assert len(pieces) > 2
    assert pieces[0].startswith("a=T,f=100,")
    assert [",m=1;" in piece or piece.startswith("m=1;") for piece in pieces] == [True] * (len(pieces) - 1) + [False]
    assert max(len(piece.partition(";")[2]) for piece in pieces) <= 4096 + 3


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_line_is_written_over_and_gone_at_the_end() -> None:
    stream = Terminal()
    with ProgressDisplay(stream, {"TERM": "xterm"}) as display:
        display.update({"status": "PENDING", "position": 2, "eta_seconds": 30.2, "progress": {"total_steps": 0}})
        display.update({"status": "PROCESSING", "phase": "generating", "step": 4, "total_steps": 16})
        display.preview(b"not shown here")
    assert stream.getvalue() == (
        "waiting, number 2 in the queue, 30 s left\r\x1b[2K[######------------------] 4/16 generating\r\x1b[2K"
    )


def test_nothing_is_written_into_a_file_or_pipe() -> None:
    stream = io.StringIO()
    with ProgressDisplay(stream, {"TERM": "xterm-kitty"}) as display:
        display.update({"status": "PENDING", "position": 2})
    assert stream.getvalue() == ""


def test_a_phase_without_steps() -> None:
    assert line_of({"status": "PROCESSING", "phase": "downloading_model", "step": 0, "total_steps": 0}) == (
        "downloading model"
    )

"""`cyberimage models`: what is here, fetching with a break in the middle, and removing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from diffusers import AutoencoderTiny

from app.cli.models import ProgressLine
from app.config import ROOT
from tests.engines.diffusers.load.hub_server import HubServer
from tests.waiting import PATIENCE, wait_until
from tools.tiny_models.auxiliaries import build_controlnet
from tools.tiny_models.build import build

LOOK = '{"kind": "ip-adapter", "family": "sd15", "file": "look.safetensors", "image_encoder": "tiny/encoder"}'
SMALL_CHUNKS = "from app.engines.diffusers.load import downloads; downloads._CHUNK_BYTES = 4096; "


@pytest.fixture(scope="module")
def sd15(tmp_path_factory) -> Path:
    return build("sd15", tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def taesd(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("taesd")
    AutoencoderTiny(**{f"{side}_block_out_channels": (8, 8, 8, 8) for side in ("encoder", "decoder")}).save_pretrained(
        folder
    )
    return folder


@pytest.fixture(scope="module")
def edges(sd15, tmp_path_factory) -> Path:
    return build_controlnet("sd15", sd15, tmp_path_factory.mktemp("edges") / "edges")


@pytest.fixture
def hub(sd15, taesd, edges):
    repos = {"tiny/sd15-stalled": sd15, "tiny/sd15": sd15, "tiny/taesd": taesd, "tiny/edges": edges}
    with HubServer({**repos, "tiny/larger": ROOT / "builtin" / "upscaler"}) as hub:
        yield hub


@pytest.fixture
def start(hub, tmp_path):
    """Starts the command in a process of its own; it is gone when the test is."""
    own = {
        "HF_ENDPOINT": hub.url,
        "HF_HUB_DOWNLOAD_TIMEOUT": "2",
        "NO_PROXY": "127.0.0.1",
        "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite",
        "IMAGES_DIR": str(tmp_path / "images"),
        "LOG_DIR": str(tmp_path / "logs"),
        "MODEL_CACHE_DIR": str(tmp_path / "models"),
        "HF_HOME": str(tmp_path / "home"),
        "MODEL_SLOW": "slow;tiny/sd15-stalled;Goes silent;huggingface;false",
        "MODEL_QUICK": "quick;tiny/sd15;Comes at once;huggingface;false",
        "MODEL_SHOWN": 'shown;tiny/sd15;Has a small decoder;huggingface;false;{"preview_vae": "tiny/taesd"}',
        "MODEL_EDGES": 'edges;tiny/edges;A net;huggingface;false;{"kind": "controlnet"}',
        "MODEL_LOOK": f"look;tiny/edges;An adapter;huggingface;false;{LOOK}",
        "MODEL_DEEP": 'deep;nowhere/depth;Depth;huggingface;false;{"kind": "detector", "detects": "depth"}',
        "MODEL_LARGE": 'larger;tiny/larger;Twice;huggingface;false;{"kind": "upscaler"}',
        "MODEL_GATED": "gated;tiny/gated;Needs a licence;huggingface;true",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "MODEL_"))}
    environment = kept | own  # HF_ too: the library is imported before the command sets it
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str, prepare: str = "") -> subprocess.Popen[str]:
        # Tests that run in the background of a shell are born deaf to Ctrl+C, and so would this be.
        hears = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        code = f"import sys; {hears}{prepare}from app.cli.main import main; sys.exit(main(['models', *sys.argv[1:]]))"
        command = [sys.executable, "-c", code, *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **pipes)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def command(start):
    def run(*arguments: str) -> tuple[int, str, str]:
        process = start(*arguments)
        out, err = process.communicate(timeout=240)
        return process.returncode, out, err

    return run


def test_the_hub_is_asked_for_the_repositories_of_the_catalogue(command, hub):
    status, out, err = command("check")
    assert status == 1, err
    states = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert states["tiny/sd15"] == "there"
    assert states["tiny/gated"] == "gated"
    assert states["black-forest-labs/FLUX.1-dev"] == "gone or private"  # this hub has no more than three
    assert len([line for line in hub.requests if "/api/models/tiny/sd15" in line and "stalled" not in line]) == 1


def test_the_hub_is_asked_for_what_is_used_beside_models_too(command):
    status, out, err = command("check", "--json")
    assert status == 1, err
    states = {(each["repo"], each["state"]): each["detail"] for each in json.loads(out)}
    assert states["tiny/edges", "there"] == ""
    assert states["tiny/larger", "there"] == ""
    assert states["tiny/edges", "incomplete"] == "it has no look.safetensors: correct the line of look"
    assert ("tiny/encoder", "gone") in states
    assert ("nowhere/depth", "gone") in states


@pytest.mark.parametrize(("name", "kind"), [("edges", "controlnet"), ("larger", "upscaler")])
def test_what_is_used_beside_models_is_fetched_listed_and_removed(command, name, kind):
    status, out, err = command("fetch", name)
    assert status == 0, err
    assert f"{name} is here: " in out
    listed = {each["id"]: each for each in json.loads(command("list", "--json")[1])}
    assert {each: (listed[each]["kind"], listed[each]["available"]) for each in OTHERS} == OTHERS
    assert (listed[name]["kind"], listed[name]["available"]) == (kind, True)
    assert listed[name]["bytes"] > 10_000
    status, out, _ = command("remove", name)
    assert (status, f"of tiny/{name} are deleted" in out) == (0, True)
    assert ("look used the same files" in out) == (name == "edges")
    out = command("list")[1]
    assert row_of(out, name)[1:4] == [kind, "-", "-"]
    assert row_of(out, "look")[:6] == ["look", "ip-adapter", "-", "-", "for", "sd15"]
    assert row_of(out, "drawings-x2")[:3] == ["drawings-x2", "upscaler", "here"]


OTHERS = {
    "demo": ("model", True),
    "look": ("ip-adapter", False),
    "deep": ("detector", False),
    "lanczos": ("upscaler", True),
}


def size_of(file: Path) -> int:
    """0 for one that was renamed this moment."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def row_of(listing: str, model: str) -> list[str]:
    return next(line.split() for line in listing.splitlines() if line.startswith(f"{model} "))


def test_a_model_is_fetched_listed_and_removed(command, hub):
    status, out, _ = command("list")
    assert status == 0
    assert row_of(out, "quick") == ["quick", "image", "-", "-", "?", "-", "huggingface:", "tiny/sd15"]
    assert row_of(out, "gated")[1:6] == ["image", "-", "-", "?", "HF_TOKEN"]
    assert row_of(out, "demo")[2] == "here"
    status, out, err = command("fetch", "quick")
    assert status == 0, err
    assert "quick: " in out
    assert "quick is here: " in out
    assert row_of(command("list")[1], "quick")[2] == "here"
    status, out, _ = command("remove", "quick")
    assert (status, "are deleted" in out) == (0, True)
    assert row_of(command("list")[1], "quick")[2] == "-"


def test_ctrl_c_keeps_what_came_and_the_next_run_goes_on(start, command, hub, tmp_path):
    process = start("fetch", "slow", prepare=SMALL_CHUNKS)
    blobs = tmp_path / "home" / "hub" / "models--tiny--sd15-stalled" / "blobs"
    wait_until(lambda: any(size_of(file) > 8192 for file in blobs.glob("*.partial")), "no bytes came")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "What came is kept" in err
    assert "Traceback" not in err
    assert row_of(command("list")[1], "slow")[2] == "partly"
    status, out, err = command("fetch", "slow")
    assert status == 0, err
    assert "slow is here" in out
    assert [start for _, start in hub.starts if start > 8192]


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (("fetch", "gated"), "Accept its licence"),
        (("fetch", "nothing"), "Known models: "),
        (("remove", "demo"), "delete"),
        (("fetch", "lanczos"), "needs no weights"),
        (("fetch", "nothing"), "Beside models there are: "),
        (("fetch", "deep"), "MODEL_ line"),
        (("remove", "drawings-x2"), "delete"),
    ],
)
def test_what_cannot_be_done_says_what_to_do(command, arguments, advice):
    status, _, err = command(*arguments)
    assert status == 1
    assert advice in err
    assert "Traceback" not in err


def test_a_terminal_sees_one_line_with_rate_and_time_left(capsys):
    now = iter([0.0, 2.0, 4.0])
    line = ProgressLine("big", is_terminal=True, clock=lambda: next(now))
    for done in (0, 1_000_000_000, 34_000_000_000):
        line.downloaded(done, 34_000_000_000)
    line.end()
    _, first, second, third = capsys.readouterr().out.split("\r")
    assert first.strip() == "big: 0.0 MB of 34.0 GB"
    assert second.strip() == "big: 1.0 GB of 34.0 GB, 500.0 MB/s, 66 s left"
    assert third.strip() == "big: 34.0 GB of 34.0 GB"


def test_the_list_says_what_fits_this_machine(command):
    status, out, err = command("list")
    assert status == 0, err
    head, *lines = out.splitlines()
    assert head.split()[:2] == ["MODEL", "KIND"]
    assert [line.split()[:3] for line in lines[:2]] == [["demo", "built-in", "here"], ["demo-sd3", "built-in", "here"]]
    listed = {model["id"]: model for model in json.loads(command("list", "--json")[1])}
    assert (listed["demo"]["fits"]["answer"], listed["demo"]["group"]) == ("yes", "built-in")
    assert listed["wan22-5b"]["group"] == "video"
    assert listed["gated"]["fits"] == {
        "answer": "unknown",
        "plan": None,
        "reason": "How large it is shows when it is downloaded.",
    }


def test_the_small_decoder_of_previews_comes_with_the_model(command, tmp_path):
    status, _, err = command("fetch", "shown")
    assert status == 0, err
    snapshots = tmp_path / "home" / "hub" / "models--tiny--taesd" / "snapshots"
    (weights,) = snapshots.glob("*/*.safetensors")
    assert weights.stat().st_size > 0
    (config,) = snapshots.glob("*/config.json")
    assert json.loads(config.read_text())["_class_name"] == "AutoencoderTiny"

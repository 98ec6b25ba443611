"""The supervisor brings back what dies, waits longer each time, and knows when to give up."""

from __future__ import annotations

import platform
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import psutil
import pytest

from app.cli.supervisor import RESTART, Child, Supervisor, children_of
from app.cli.worker import DEVICE_KIND, EXIT_CONFIGURATION, EXIT_RECYCLE, WORKER_SUFFIX
from app.config import load_settings
from app.core.deaths import Death
from app.core.device_plan import DevicePlan, WorkerPlan
from app.process.worker_id import worker_id
from tests.processes import is_gone
from tests.waiting import PATIENCE, wait_until

SLEEP = "import time; time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"


def child(code: str, **values: object) -> Child:
    return Child("child", [sys.executable, "-c", code], **values)


class Watched:
    """A supervisor on a thread. `status` is what its run returned."""

    def __init__(self, *children: Child) -> None:
        self.supervisor = Supervisor(children, grace=0.2)
        self.children = children
        self.status: int | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self.status = self.supervisor.run()

    def process(self, index: int = 0) -> psutil.Process:
        """The child's process, once it runs."""
        wait_until(lambda: self.children[index].process, "the child never started")
        process = self.children[index].process
        return psutil.Process(process.pid) if process else self.process(index)

    def gave_up(self) -> int:
        self._thread.join(PATIENCE)
        assert self.status is not None, "it did not give up"
        return self.status

    def close(self) -> None:
        self.supervisor.stop()
        self._thread.join(PATIENCE)


@pytest.fixture
def watch() -> Iterator[Callable[..., Watched]]:
    watched: list[Watched] = []

    def start(*children: Child) -> Watched:
        watched.append(Watched(*children))
        return watched[-1]

    yield start
    for each in watched:
        each.close()


def test_a_killed_child_comes_back_and_the_others_are_left_alone(watch) -> None:
    watched = watch(child(SLEEP, essential=True), child(SLEEP))
    api, worker = watched.process(0), watched.process(1)
    for victim, index in ((worker, 1), (api, 0)):  # the essential one, too, though it has only just started
        victim.kill()
        wait_until(lambda v=victim, i=index: watched.process(i).pid != v.pid, "it did not come back")
    assert watched.status is None
    watched.close()
    assert watched.status == 0


def test_each_early_death_waits_longer_and_health_forgives() -> None:
    supervisor, one = Supervisor([], grace=1), child(SLEEP)
    pauses = [supervisor._back_off(one, healthy=False) for _ in range(20)]
    assert pauses[:5] == [0.0, 0.5, 1.0, 2.0, 4.0]
    assert pauses[-1] == RESTART.longest
    assert supervisor._back_off(one, healthy=True) == 0.0
    assert supervisor._back_off(one, healthy=False) == 0.5


def test_a_child_that_dies_at_once_is_not_started_in_a_hurry(watch, tmp_path) -> None:
    starts = tmp_path / "starts"
    watched = watch(child(f"open({str(starts)!r}, 'a').write('x'); raise SystemExit(1)"))
    wait_until(lambda: watched.children[0].failures >= 3, "it never failed")
    assert watched.children[0].start_at > time.monotonic()
    assert len(starts.read_text()) == 3
    assert watched.status is None


def test_one_that_was_recycled_comes_back_at_once(watch, tmp_path) -> None:
    starts = tmp_path / "starts"
    watched = watch(child(f"open({str(starts)!r}, 'a').write('x'); raise SystemExit({EXIT_RECYCLE})"))
    wait_until(lambda: starts.exists() and len(starts.read_text()) >= 4, "it was made to wait")
    assert watched.children[0].failures <= 1


def test_it_gives_up_when_the_api_cannot_start(watch) -> None:
    watched = watch(child("raise SystemExit(7)", essential=True), child(SLEEP))
    worker = watched.process(1)
    assert watched.gave_up() == 7
    assert is_gone(worker)


def test_a_slow_machine_takes_no_failed_start_for_a_healthy_life(watch, monkeypatch) -> None:
    """Importing everything and trying for the port may take longer than the life that forgives a death."""
    monkeypatch.setattr("app.cli.supervisor.HEALTHY_AFTER_SECONDS", 0.05)
    assert watch(child("import time; time.sleep(0.5); raise SystemExit(7)", essential=True)).gave_up() == 7


def test_it_gives_up_when_a_first_start_shows_a_wrong_configuration(watch) -> None:
    watched = watch(child(SLEEP, essential=True), child(f"raise SystemExit({EXIT_CONFIGURATION})"))
    assert watched.gave_up() == EXIT_CONFIGURATION


def test_a_configuration_broken_later_takes_nobody_else_down(watch, tmp_path) -> None:
    """Somebody edits .env while it runs, and a worker is recycled: the API must go on."""
    seen = tmp_path / "seen"
    code = (
        f"import os, sys\nif os.path.exists({str(seen)!r}): sys.exit({EXIT_CONFIGURATION})\n"
        f"open({str(seen)!r}, 'w')\nsys.exit({EXIT_RECYCLE})"
    )
    watched = watch(child(SLEEP, essential=True), child(code))
    wait_until(lambda: watched.children[1].failures >= 3, "it was not tried again")
    assert watched.status is None
    assert not is_gone(watched.process(0))


def test_a_start_that_the_system_refuses_is_tried_again(watch) -> None:
    watched = watch(child(SLEEP), Child("missing", ["/nowhere/at/all"]))
    wait_until(lambda: watched.children[1].failures >= 2, "it was not tried again")
    assert not is_gone(watched.process(0))
    assert watched.status is None


def test_a_child_that_does_not_heed_sigterm_is_killed_after_the_grace(watch, monkeypatch, capfd) -> None:
    monkeypatch.setattr("app.cli.supervisor.KILL_AFTER_EXTRA_SECONDS", 0.1)
    watched = watch(child(DEAF), child(SLEEP))
    deaf = watched.process(0)
    wait_until(lambda: "deaf" in capfd.readouterr().out, "it never got ready")
    watched.close()
    assert watched.status == 0
    assert is_gone(deaf)
    assert watched.children[0].process is not None
    assert watched.children[0].process.returncode == -signal.SIGKILL
    assert watched.children[1].process is not None
    assert watched.children[1].process.returncode == -signal.SIGTERM


SAYS = """
import os, signal, sys, time
def say(what):
    os.write(1, f"{sys.argv[1]} {what}\\n".encode())  # in one piece, however busy the machine is
def heard(number, _):
    say(signal.Signals(number).name)
    if number == signal.SIGTERM:
        sys.exit(0)
for number in (signal.SIGUSR1, signal.SIGTERM):
    signal.signal(number, heard)
say("runs")
time.sleep(600)
"""


def test_the_api_ends_last_and_is_told_before_and_engine_servers_end_after_the_workers(watch, capfd) -> None:
    def named(name: str, **values: object) -> Child:
        return Child(name, [sys.executable, "-c", SAYS, name], **values)

    heard: list[str] = []

    def said() -> list[str]:
        heard.extend(capfd.readouterr().out.splitlines())
        return heard

    watched = watch(named("api", serves=True), named("engine", draws=True), named("worker"))
    wait_until(lambda: len(said()) == 3, "they never ran")
    watched.close()
    assert sorted(said()[3:5]) == ["api SIGUSR1", "worker SIGTERM"]
    assert heard[5:] == ["engine SIGTERM", "api SIGTERM"]  # what the workers have under way is drawn by the engine


def test_the_api_goes_on_for_the_drain(monkeypatch, tmp_path) -> None:
    """Though no worker has anything to finish."""
    ready = tmp_path / "ready"
    code = f"import signal; signal.signal(signal.SIGUSR1, signal.SIG_IGN); open({str(ready)!r}, 'w'); {SLEEP}"
    clock = [100.0]
    monkeypatch.setattr("app.cli.supervisor.time", SimpleNamespace(monotonic=lambda: clock[0], sleep=pass_time(clock)))
    api = child(code, serves=True)
    supervisor = Supervisor([api], grace=1, drain=30)
    supervisor._tend(api)
    wait_until(ready.exists, "it never ran")  # else the announcement ends it
    supervisor._stop_children()
    assert clock[0] >= 130
    assert api.process is not None
    assert api.process.returncode is not None


def pass_time(clock: list[float]) -> Callable[[float], None]:
    def sleep(seconds: float) -> None:
        clock[0] += seconds

    return sleep


def settings(**environment: str):
    return load_settings(environment, env_file=None)


def test_it_starts_the_workers_of_the_device_plan() -> None:
    first, second = WorkerPlan("cuda:0", environment={"CUDA_VISIBLE_DEVICES": "2"}), WorkerPlan()
    children = children_of(settings(), DevicePlan((first, second)))
    assert [each.name for each in children] == ["api", "worker 1", "worker 2"]
    assert [dict(each.environment) for each in children] == [{}, {"CUDA_VISIBLE_DEVICES": "2"}, {}]
    assert [each.runs_jobs for each in children] == [False, True, True]
    assert [each.serves for each in children] == [True, False, False]
    assert [each.name for each in children_of(settings(), DevicePlan())] == ["api"]


def test_an_engine_server_alone_has_the_worker_of_the_remote_lane() -> None:
    line = 'far;x/y;Far;engine;false;{"server": {"kind": "sglang", "url": "http://10.0.0.5:30000/v1"}}'
    assert [each.name for each in children_of(settings(MODEL_FAR=line), DevicePlan())] == ["api", "remote worker"]


def test_a_worker_is_told_the_kind_of_its_device() -> None:
    """A driver that is lost later must not make it a CPU worker."""
    plan = DevicePlan((WorkerPlan("cuda:0", label="rocm"), WorkerPlan()))
    assert [each.environment.get(DEVICE_KIND) for each in children_of(settings(), plan)] == [None, "rocm", None]


@pytest.fixture
def recorded(monkeypatch, tmp_path) -> Callable[[], list[str]]:
    """What was recorded of deaths: a line for each."""
    said = tmp_path / "deaths"

    def command(worker: str, death: Death) -> list[str]:
        return [sys.executable, "-c", f"open({str(said)!r}, 'a').write('{worker} {death.cause}\\n')"]

    monkeypatch.setattr("app.cli.supervisor.record_command", command)
    return lambda: said.read_text().splitlines() if said.exists() else []


def test_the_death_of_a_worker_is_recorded_with_its_id_and_cause(watch, recorded, tmp_path) -> None:
    ids = tmp_path / "ids"
    code = f"import os; open({str(ids)!r}, 'a').write(os.environ['{WORKER_SUFFIX}'] + ' '); {SLEEP}"
    watched = watch(child(SLEEP), child(code, runs_jobs=True))
    worker = watched.process(1)
    wait_until(lambda: ids.exists() and ids.read_text(), "it did not start")
    worker.kill()
    watched.process(0).kill()
    wait_until(recorded, "the death was not recorded")
    expected = worker_id(platform.node(), worker.pid, ids.read_text().split()[0])
    assert recorded() == [f"{expected} killed"], "and that of the API is not"


def test_a_worker_killed_for_memory(watch, recorded, monkeypatch) -> None:
    monkeypatch.setattr("app.process.oom.OomWatch.has_killed", lambda _: True)
    watched = watch(child(SLEEP, runs_jobs=True))
    watched.process().kill()
    wait_until(recorded, "the death was not recorded")
    assert recorded()[0].endswith(" out_of_memory")


def test_an_orderly_end_is_no_death(watch, recorded, tmp_path) -> None:
    starts = tmp_path / "starts"
    code = f"open({str(starts)!r}, 'a').write('x'); raise SystemExit({EXIT_RECYCLE})"
    watch(child(code, runs_jobs=True))
    wait_until(lambda: starts.exists() and len(starts.read_text()) >= 3, "it was not started again")
    assert recorded() == []

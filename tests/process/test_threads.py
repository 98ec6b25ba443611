"""A background thread that fails takes its process along; one that ends does not."""

from __future__ import annotations

import pytest

from app.process.threads import EXIT_BROKEN, BackgroundThread, ExitOnFailure
from tests.waiting import PATIENCE


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The statuses that the process was told to exit with."""
    found: list[int] = []
    monkeypatch.setattr("app.process.threads.exit_hard", found.append)
    return found


def fails() -> None:
    raise RuntimeError("broken on purpose")


def run(thread: BackgroundThread) -> None:
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_failing_thread_exits_the_process(exits: list[int], caplog: pytest.LogCaptureFixture) -> None:
    run(BackgroundThread("webhooks", fails))
    assert exits == [EXIT_BROKEN]
    assert "The webhooks thread failed" in caplog.text
    assert "broken on purpose" in caplog.text


def test_a_thread_that_ends_does_not(exits: list[int]) -> None:
    ran: list[str] = []
    run(BackgroundThread("notifier", lambda: ran.append("once")))
    assert ran == ["once"]
    assert exits == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_subclass_overrides_work(exits: list[int]) -> None:
    class Heartbeat(BackgroundThread):
        def work(self) -> None:
            fails()

    run(Heartbeat("heartbeat"))
    assert exits == [EXIT_BROKEN]


def test_a_block_that_fails_exits_and_one_that_ends_does_not(exits: list[int]) -> None:
    with ExitOnFailure("pool"):
        pass
    assert exits == []
    with pytest.raises(RuntimeError), ExitOnFailure("pool"):
        fails()
    assert exits == [EXIT_BROKEN]

"""Retries of clients without an Idempotency-Key join the job of the first try, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import load_settings
from app.core.request import GenerationInput
from app.services.context import AppContext, open_context
from app.services.jobs import repeats
from app.services.jobs.cancel import cancel
from app.services.jobs.submit import Submission, submit

ASKED = GenerationInput(prompt="a red boat")


@pytest.fixture
def context(tmp_path: Path) -> Iterator[AppContext]:
    places = {"database_url": f"sqlite:///{tmp_path / 'queue.db'}", "images_dir": tmp_path / "images"}
    opened = open_context(load_settings({}, None, **places, disk_floor_bytes=0))
    yield opened
    opened.close()


def tried(context: AppContext, *, is_repeat: bool, asked: GenerationInput = ASKED, client: str = "alice") -> Submission:
    key = repeats.key_of_try(context, asked, client_id=client, is_repeat=is_repeat)
    return submit(context, asked, client_id=client, idempotency_key=key)


def test_a_repeat_joins_the_newest_first_try(context: AppContext) -> None:
    first, meant_anew = tried(context, is_repeat=False), tried(context, is_repeat=False)
    assert first.job_id != meant_anew.job_id
    repeat = tried(context, is_repeat=True)
    assert (repeat.job_id, repeat.is_new) == (meant_anew.job_id, False)


def test_a_repeat_whose_first_try_never_came_is_a_first_try(context: AppContext) -> None:
    assert tried(context, is_repeat=True).is_new


def test_only_an_equal_request_of_the_same_client_is_joined(context: AppContext) -> None:
    first = tried(context, is_repeat=False)
    others = [
        tried(context, is_repeat=True, client="bob"),
        tried(context, is_repeat=True, asked=GenerationInput(prompt="a blue boat")),
    ]
    assert first.job_id not in [other.job_id for other in others]


def test_a_cancelled_job_is_not_joined(context: AppContext) -> None:
    first = tried(context, is_repeat=False)
    cancel(context, first.job_id)
    assert tried(context, is_repeat=True).job_id != first.job_id


def test_after_the_window_it_is_another_request(context: AppContext, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tried(context, is_repeat=False)
    monkeypatch.setattr(repeats, "WINDOW_SECONDS", -1.0)
    assert tried(context, is_repeat=True).job_id != first.job_id

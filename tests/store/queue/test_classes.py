"""A worker gets only jobs that it can run, in their order, and leaves those to others that are nearer to them."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from app.core.assignment import TO_IDLE_SECONDS, Deference, Judge
from app.core.generation_settings import LoraChoice
from app.core.job import Claim
from app.core.needs import Needs
from app.core.request import RemoteCall
from app.core.scheduling import MIN_AFFINITY_BOUND
from app.store.queue.classes import heads
from tests.store.harness import Store, a_request


def only(*models: str, loras: tuple[str, ...] = ()) -> Judge:
    return lambda needs: "none" if needs.model in models and set(needs.loras) <= set(loras) else None


def with_lora(name: str) -> dict[str, object]:
    return {"loras": (LoraChoice(id=name),)}


def claim(store: Store, judge: Judge, *loaded: str, worker: str = "w1") -> Claim | None:
    return store.claims.claim(worker, loaded, judge=judge)


def test_a_worker_gets_only_what_it_can_run(store: Store) -> None:
    large, other, urgent = store.submit("flux"), store.submit("sd15"), store.submit("sdxl", priority=1)
    able = only("sd15", "sdxl", "unknown")
    first, second = claim(store, able, "flux", "sd15"), claim(store, able, "flux", "sd15")
    assert first is not None
    assert second is not None
    assert (first.job_id, second.job_id) == (urgent.id, other.id)
    assert claim(store, able, "flux") is None
    assert claim(store, only()) is None
    assert store.claim("w2").job_id == large.id


def test_jobs_of_one_model_differ_in_their_files(store: Store) -> None:
    plain = only("flux")
    store.submit("flux", **with_lora("style"))
    alone = store.submit("flux")
    store.submit("flux", **with_lora("other"))
    found = claim(store, plain, "flux")
    assert found is not None
    assert found.job_id == alone.id
    assert claim(store, plain, "flux") is None
    found = claim(store, only("flux", loras=("other",)))
    assert found is not None
    assert [lora.id for lora in found.request.loras] == ["other"]


def test_the_order_of_the_queue_is_kept_among_those(store: Store) -> None:
    for number in range(3):
        store.submit("cold", client=f"c{number}")
        store.submit("flux", client="many", **with_lora("style"))
        store.submit("flux", client="many")
    single = store.submit("flux", client="single")
    able = only("flux", loras=("style",))
    found = [claim(store, able) for _ in range(7)]
    assert all(found)
    assert [each.job_id for each in found if each].index(single.id) == 1, "one of the client with many comes first"
    assert claim(store, able) is None


def test_what_none_can_run_stands_in_nobody_s_way(store: Store) -> None:
    for number in range(40):
        store.submit("flux", priority=1, **with_lora(f"lora {number}"))
    fine = store.submit("flux")
    found = claim(store, only("flux"))
    assert found is not None
    assert found.job_id == fine.id
    with store.database.read() as connection:
        assert len(heads(connection, "local")) == 40


def test_a_worker_that_has_run_all_kinds_again_takes_them_in_their_turn(store: Store) -> None:
    stuck = store.submit("flux")
    store.submit("sd15")
    assert claim(store, only("sd15")) is not None
    both = only("flux", "sd15")
    later = store.submit("sd15")
    first, second = claim(store, both), claim(store, both)
    assert [first and first.job_id, second and second.job_id] == [stuck.id, later.id]


def test_an_idle_poll_that_finds_nothing_to_run_takes_no_write_lock(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.submit("flux")
    assert claim(store, only("sd15")) is None
    monkeypatch.setattr(store.database, "write", lambda **_: pytest.fail("it wrote"))
    assert claim(store, only("sd15")) is None


@pytest.mark.parametrize(("found", "seconds"), [("to idle", TO_IDLE_SECONDS), ("to nearer", MIN_AFFINITY_BOUND)])
def test_a_job_is_left_to_a_nearer_worker_for_a_while(store: Store, found: Deference, seconds: float) -> None:
    job = store.submit("flux")
    assert claim(store, lambda _: found) is None
    since = store.row(job.id).overtaken_at
    assert since is not None
    assert claim(store, lambda _: found) is None
    assert store.row(job.id).overtaken_at == since, "the count goes on"
    store.edit(job.id, overtaken_at=store.now() - seconds + 1)
    assert claim(store, lambda _: found) is None
    store.edit(job.id, overtaken_at=store.now() - seconds - 0.1)
    taken = claim(store, lambda _: found)
    assert taken is not None
    assert taken.job_id == job.id


def test_meanwhile_the_worker_takes_others(store: Store) -> None:
    left, taken = store.submit("flux"), store.submit("sd15")

    def judge(needs: Needs) -> Deference | None:
        return "to nearer" if needs.model == "flux" else "none"

    found = claim(store, judge)
    assert found is not None
    assert found.job_id == taken.id
    assert store.row(left.id).overtaken_at is not None
    assert store.claim("near").job_id == left.id


def test_a_loaded_model_is_preferred_among_what_it_can_run(store: Store) -> None:
    store.submit("flux", **with_lora("style"))
    cold, warm = store.submit("sd15"), store.submit("flux")
    found = claim(store, only("sd15", "flux"), "flux")
    assert found is not None
    assert found.job_id == warm.id
    assert store.row(cold.id).overtaken_at is not None


def test_jobs_of_providers_are_told_apart_by_provider(store: Store) -> None:
    def submit(source: str) -> str:
        call = RemoteCall(source=source, model="a/b")  # type: ignore[arg-type]
        return store.jobs.enqueue(a_request("a/b", remote=call), client_id="alice", lane="remote")[0].id

    submit("replicate")
    mine = submit("openai")

    def judge(needs: Needs) -> Deference | None:
        return "none" if needs.source == "openai" else None

    found = store.claims.claim("w1", lane="remote", judge=judge)
    assert found is not None
    assert found.job_id == mine
    assert store.claims.claim("w1", lane="remote", judge=judge) is None


def test_jobs_of_a_batch_have_classes_too(store: Store) -> None:
    store.submit_batch("flux", "sd15", "flux")
    found = [claim(store, only("flux")) for _ in range(3)]
    assert [each and each.request.model_id for each in found] == ["flux", "flux", None]


def test_each_job_is_claimed_once_by_workers_that_can_run_different_ones(store: Store) -> None:
    for number in range(30):
        store.submit(("a", "b", "c")[number % 3])
    judges = [only("a"), only("a", "b"), only("b", "c"), only("a", "b", "c")]
    taken: list[Claim] = []

    def work(number: int) -> None:
        while (found := claim(store, judges[number], worker=f"w{number}")) is not None:
            taken.append(found)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken += _rest(store)
    assert len(taken) == 30
    assert len({each.job_id for each in taken}) == 30
    for each in taken:
        assert judges[int(each.worker_id[1:])](Needs(each.request.model_id)) == "none"


def _rest(store: Store) -> list[Claim]:
    """A claim may find nothing because another one has it in hand; a worker then looks again."""
    again: Callable[[], Claim | None] = lambda: claim(store, only("a", "b", "c"), worker="w3")  # noqa: E731
    return [found for found in iter(again, None) if found is not None]


def test_a_look_at_all_classes_that_found_nothing_is_followed_by_a_pause(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With thousands of classes it takes a while; the head of the queue is looked at all the same."""
    monkeypatch.setattr("app.store.queue.claims._REST", 1e9)
    monkeypatch.setattr("app.store.queue.claims._LONGEST_REST_SECONDS", 3600.0)
    monkeypatch.setattr("app.store.queue.claims._MANY", 0)
    store.submit("flux")
    assert claim(store, only("sd15")) is None
    monkeypatch.setattr("app.store.queue.claims.heads", lambda *_: pytest.fail("it looked again"))
    assert claim(store, only("sd15")) is None
    urgent = store.submit("sd15", priority=1)
    found = claim(store, only("sd15"))
    assert found is not None
    assert found.job_id == urgent.id


def test_what_classes_need_is_read_together(store: Store) -> None:
    for number in range(5):
        store.submit("flux", **with_lora(f"lora {number}"))
    asked: list[str] = []

    def judge(needs: Needs) -> Deference | None:
        asked.extend(needs.loras)
        return None

    assert claim(store, judge) is None
    assert sorted(set(asked)) == [f"lora {number}" for number in range(5)]

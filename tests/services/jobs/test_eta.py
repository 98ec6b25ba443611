"""Estimates of when jobs end: from measured durations, live workers and the queue."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from app.core.job import Job, JobStatus, Phase, Progress
from app.core.request import GenerationRequest
from app.core.worker_capabilities import Capabilities
from app.services.jobs.eta import FORECAST_JOBS, EtaEstimator
from app.store.queue.durations import LOAD

SPEEDS = {("demo", "64x64x16"): 10.0, ("demo", "128x64x16"): 40.0, ("other", "64x64x16"): 100.0, ("other", LOAD): 30.0}


def waits(model_id: str = "demo", **values: object) -> Job:
    request = {"prompt": "a", "num_inference_steps": 16, "seed": 7, "width": 64, "height": 64, "model_id": model_id}
    return Job(
        id="j",
        seq=1,
        client_id="alice",
        status=JobStatus.PENDING,
        priority=0,
        turn=0,
        request=GenerationRequest(**(request | values)),  # type: ignore[arg-type]
        created_at=0.0,
        attempt=0,
        max_attempts=3,
        revision=1,
        progress=Progress(Phase.STARTING, 0, 16),
    )


def runs(phase: Phase = Phase.GENERATING, step: int = 0, model_id: str = "demo", **values: object) -> Job:
    job = vars(waits(model_id, **values))
    return Job(**(job | {"status": JobStatus.PROCESSING, "progress": Progress(phase, step, 16)}))


def a_worker(resident: str = "", lane: str = "local", slots: int = 1, can: str | None = None) -> dict[str, object]:
    """`can` is the only model that it can run; None: it does not say."""
    about = {"id": "w", "host": "h", "state": "idle", "capabilities": can}
    return {**about, "models": [{"model_id": resident}], "lane": lane, "slots": slots}


def estimator(
    waiting: list[Job] | None = None,
    running: list[Job] | None = None,
    *,
    workers: int = 1,
    remote: list[dict[str, object]] | None = None,
    resident: str = "demo",
    speeds: dict[tuple[str, str], float] | None = None,
    merge_jobs: int = 1,
) -> EtaEstimator:
    context = SimpleNamespace(
        settings=SimpleNamespace(merge_jobs=merge_jobs),
        speeds=SimpleNamespace(all=lambda: SPEEDS if speeds is None else speeds),
        capabilities=SimpleNamespace(
            reports=lambda digests: {model: Capabilities(here=frozenset([model])) for model in digests}
        ),
        workers=SimpleNamespace(live=lambda: [a_worker(resident) for _ in range(workers)] + (remote or [])),
        jobs=SimpleNamespace(
            running=lambda: running or [],
            waiting=lambda limit, lane: [job for job in waiting or [] if job.lane == lane][:limit],
        ),
    )
    return EtaEstimator(context)  # type: ignore[arg-type]


def etas(view: EtaEstimator) -> list[float | None]:
    """Of the whole queue."""
    return [view.eta(job, harness) for harness, job in enumerate(view.line("local").waiting, start=1)]


def test_a_job_that_no_live_worker_can_run_has_no_estimate() -> None:
    view = estimator([waits()], workers=0, remote=[a_worker(can="other")])
    assert view.eta(waits(), 1) is None
    assert view.waits_for(waits()) == "a worker that has the model demo"
    assert view.waits_for(runs()) is None
    assert estimator(remote=[a_worker(can="other")]).waits_for(waits()) is None, "another may"
    assert estimator(workers=0).waits_for(waits()) is None


def test_a_running_job_needs_what_is_left_of_it() -> None:
    view = estimator()
    left = [view.eta(runs(step=step), None) for step in (0, 4, 8, 16)]
    assert left == pytest.approx([10.0, 7.6, 5.1, 0.2], abs=0.1)
    assert view.eta(runs(Phase.SAVING, 16), None) == pytest.approx(0.1)


def test_a_running_job_that_still_loads_its_model_needs_that_too() -> None:
    assert estimator().eta(runs(Phase.LOADING, model_id="other"), None) == 130.0
    assert estimator().eta(runs(Phase.GENERATING, model_id="other"), None) == 100.0


def test_jobs_in_one_call_end_together() -> None:
    """The measured duration of each is its share."""
    call = [replace(runs(step=8), id=str(number), worker_id="w1") for number in range(4)]
    elsewhere = replace(runs(), id="x", worker_id="w2")
    view = estimator(running=[*call, elsewhere], merge_jobs=8)
    assert view.eta(call[0], None) == pytest.approx(4 * 5.1, abs=0.1)
    assert view.eta(elsewhere, None) == 10.0
    asked = [replace(job, lane="remote") for job in call]
    assert estimator(running=asked, merge_jobs=8).eta(asked[0], None) == pytest.approx(5.1, abs=0.1)


def test_size_steps_and_number_of_pictures_count() -> None:
    view = estimator()
    assert view.eta(waits(width=128), 1) == 40.0
    assert view.eta(waits(num_images=3), 1) == 30.0
    assert view.eta(waits(num_inference_steps=17), 1) is None


def test_a_model_that_never_finished_anything_is_not_guessed() -> None:
    view = estimator([waits("new")], [runs(model_id="new")])
    assert etas(view) == [None]
    assert view.eta(view.running[0], None) is None


def test_without_a_live_worker_there_is_no_estimate() -> None:
    view = estimator([waits()], workers=0)
    assert etas(view) == [None]
    assert estimator(running=[runs()], workers=0).eta(runs(), None) == 10.0  # its lease still runs


def test_one_worker_takes_the_line_one_by_one() -> None:
    assert etas(estimator([waits(), waits(width=128), waits()])) == [10.0, 50.0, 60.0]


def test_a_running_job_comes_first() -> None:
    assert etas(estimator([waits(), waits()], [runs(step=8)])) == pytest.approx([15.1, 25.1], abs=0.1)


def test_an_idle_worker_starts_the_first_in_line_at_once() -> None:
    """Regardless of how long the other worker is busy."""
    assert etas(estimator([waits(), waits()], [runs(width=128)], workers=2)) == [10.0, 20.0]


def test_each_job_goes_to_the_worker_that_is_free_first() -> None:
    line = [waits(width=128), waits(), waits(), waits(), waits(), waits()]
    assert etas(estimator(line, workers=2)) == [40.0, 10.0, 20.0, 30.0, 40.0, 50.0]


def test_busy_workers_take_the_line_as_they_become_free() -> None:
    assert etas(estimator([waits()] * 5, [runs(), runs(width=128)], workers=2)) == [20.0, 30.0, 40.0, 50.0, 50.0]


def test_more_running_jobs_than_live_workers_queue_up() -> None:
    """A worker has just died; another will run its job again."""
    assert etas(estimator([waits()], [runs(), runs()], workers=1)) == [30.0]


def test_unknown_jobs_count_like_the_estimated_one() -> None:
    view = estimator([waits("new"), waits(), waits("new"), waits(width=128)], [runs(model_id="new")])
    assert view.eta(view.line("local").waiting[1], 2) == 30.0
    assert view.eta(view.line("local").waiting[3], 4) == 40.0 + 40.0 + 10.0 + 40.0 + 40.0


def test_a_cold_model_is_loaded_by_the_first_job_that_needs_it() -> None:
    line = [waits(), waits("other"), waits("other")]
    assert etas(estimator(line)) == [10.0, 140.0, 240.0]
    assert etas(estimator(line, resident="other")) == [10.0, 110.0, 210.0]
    assert etas(estimator(line, [runs(model_id="other")])) == [110.0, 210.0, 310.0]


def test_far_back_each_place_costs_what_the_job_itself_costs() -> None:
    view = estimator([waits()] * FORECAST_JOBS, workers=2)
    assert view.eta(waits(), FORECAST_JOBS + 1) == FORECAST_JOBS * 5 + 10
    assert view.eta(waits(), FORECAST_JOBS + 101) == FORECAST_JOBS * 5 + 100 * 5 + 10


def test_the_next_end_is_that_of_the_running_job_that_is_furthest() -> None:
    assert estimator(running=[runs(), runs(step=8), runs(model_id="new")]).next_end() == pytest.approx(5.1)
    assert estimator(running=[runs(model_id="new")]).next_end() is None
    assert estimator().next_end() is None


def test_each_lane_is_dealt_out_to_its_own_workers() -> None:
    local, remote = [waits(), waits()], [replace(waits(), lane="remote") for _ in range(3)]
    view = estimator(local + remote, [replace(runs(), lane="remote")], remote=[a_worker(lane="remote", slots=2)])
    assert etas(view) == [10.0, 20.0]
    assert [view.eta(job, harness) for harness, job in enumerate(remote, start=1)] == [10.0, 20.0, 20.0]
    assert estimator(remote).eta(remote[0], 1) is None


def test_threads_that_read_the_queue_at_the_same_time_see_one_queue() -> None:
    """Otherwise one of them counts places in a queue that is longer than the one whose starts were computed."""
    subject = estimator()
    line = subject.line("local")
    seen: list[object] = []

    def read(**_: object) -> list[Job]:
        if not seen:
            seen.append(None)
            seen[0] = line.waiting  # another thread, which is faster
            return [waits()]
        return [waits(), waits(), waits()]

    line._context.jobs.waiting = read
    slower = line.waiting
    assert slower is seen[0] is line.waiting
    assert subject.eta(waits(), position=4) == 40.0


def test_jobs_that_are_not_there_yet_are_shared_by_the_workers_and_load_once() -> None:
    demo, other = (waits(model_id).request for model_id in ("demo", "other"))
    assert estimator().seconds_of("local", [demo, demo]) == 20.0
    assert estimator(workers=2).seconds_of("local", [demo] * 4) == 20.0
    assert estimator(workers=4).seconds_of("local", [demo]) == 10.0  # one job is made by one worker
    assert estimator().seconds_of("local", [demo, other, other]) == 10.0 + 30.0 + 200.0
    assert estimator(resident="other").seconds_of("local", [other]) == 100.0
    assert estimator().seconds_of("local", [demo, waits("new").request]) is None
    assert estimator(workers=0).seconds_of("local", [demo]) is None

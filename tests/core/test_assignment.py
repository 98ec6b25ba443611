"""Which worker a job is for: by random fleets and jobs, and that each guarantee fails without the rule behind it."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.assignment import (
    TO_IDLE_SECONDS,
    Deference,
    LiveWorker,
    Standing,
    deference,
    named,
    patience,
    shortfall,
    standing,
)
from app.core.needs import Needs
from app.core.scheduling import Candidate, select
from app.core.worker_capabilities import Capabilities, Lack
from tests.core.fleet_simulation import BOUND, DOWNLOAD, LOAD, FleetJob, FleetSimulation, FleetWorker

MODELS, LORAS = "abc", ("x", "y")

_models = st.frozensets(st.sampled_from(MODELS))
_workers = st.builds(
    lambda here, loadable, tight, loras: FleetWorker(
        Capabilities(here=here, loadable=loadable - here, tight=tight, loras=dict.fromkeys(loras))
    ),
    _models,
    _models,
    _models,
    st.frozensets(st.sampled_from(LORAS)),
)
_needs = st.builds(Needs, st.sampled_from(MODELS), st.lists(st.sampled_from(LORAS), max_size=2, unique=True).map(tuple))
_jobs = st.builds(FleetJob, _needs, arrives=st.integers(0, 60), seconds=st.integers(1, 20), priority=st.integers(0, 1))


def able(job: FleetJob, workers: Sequence[FleetWorker]) -> bool:
    return any(worker.capabilities.can_run(job.needs) for worker in workers)


@given(st.lists(_workers, min_size=1, max_size=4), st.lists(_jobs, min_size=1, max_size=25))
def test_random_fleets(workers: list[FleetWorker], jobs: list[FleetJob]) -> None:
    most = sum(job.seconds + LOAD + DOWNLOAD + BOUND for job in jobs) + 100
    FleetSimulation(jobs, workers, longest=int(most)).run()
    for job in jobs:
        assert (job.starts is not None) == able(job, workers), "what one can run is run, and nothing else"
        if job.ran_on is not None:
            assert job.ran_on.capabilities.can_run(job.needs)


@given(st.lists(_workers, min_size=2, max_size=4), st.lists(_jobs, min_size=1, max_size=25))
def test_what_is_far_from_a_worker_is_left_to_nearer_ones_within_the_bound(
    workers: list[FleetWorker], jobs: list[FleetJob]
) -> None:
    simulation = FleetSimulation(jobs, workers, longest=10_000)
    simulation.run()
    for job in jobs:
        if job.standing in (Standing.TO_DOWNLOAD, Standing.TIGHT) and job.overtaken_for < BOUND:
            nearer = [
                standing(job.needs, other.capabilities, [])
                for other in workers
                if other is not job.ran_on and job.needs.model in other.capabilities.here
            ]
            assert not any(place is not None and place < job.standing for place in nearer)


def no_bound(found: Deference, bound: float) -> float:
    return 0.0 if found == "none" else float("inf")


def no_capabilities(needs: Needs, worker: FleetWorker, others: Sequence[LiveWorker]) -> Deference | None:
    return "none"


def with_files(*models: str, loras: Sequence[str] = (), loadable: Sequence[str] = ()) -> FleetWorker:
    return FleetWorker(Capabilities(here=frozenset(models), loadable=frozenset(loadable), loras=dict.fromkeys(loras)))


def stream_and_one(**rules: object) -> FleetJob:
    """The worker with the files of `a` is busy with `b` for ever; another would have to download `a`."""
    near, far = with_files("a", "b"), with_files(loadable=["a"])
    near.loaded = "b"
    single = FleetJob(Needs("a"), arrives=3)
    stream = [FleetJob(Needs("b"), arrives=second, seconds=2, priority=1) for second in range(400)]
    FleetSimulation([*stream, single], [near, far], longest=400, **rules).run()  # type: ignore[arg-type]
    return single


def test_a_job_that_is_left_to_a_busy_worker_is_taken_after_the_bound() -> None:
    single = stream_and_one()
    assert single.starts is not None
    assert BOUND <= single.starts - single.arrives <= BOUND + 2
    assert stream_and_one(patience=no_bound).starts is None, "without the bound it must starve"


def test_without_capabilities_a_worker_would_get_what_it_cannot_run() -> None:
    def wrong(**rules: object) -> list[FleetJob]:
        workers = [with_files("a"), with_files("b")]
        jobs = [FleetJob(Needs(model), arrives=0) for model in "aab" * 7]
        FleetSimulation(jobs, workers, longest=1000, **rules).run()  # type: ignore[arg-type]
        assert all(job.ran_on is not None for job in jobs)
        return [job for job in jobs if job.ran_on and not job.ran_on.capabilities.can_run(job.needs)]

    assert wrong() == []
    assert wrong(judge=no_capabilities) != []


def test_jobs_that_none_can_run_stand_in_nobody_s_way() -> None:
    stuck = [FleetJob(Needs("a", loras=(f"lora {number}",)), priority=1) for number in range(50)]
    fine = FleetJob(Needs("a"), arrives=1)
    FleetSimulation([*stuck, fine], [with_files("a")], longest=50).run()
    assert fine.starts == 1
    assert all(job.starts is None for job in stuck)


def test_of_two_idle_workers_the_one_with_the_model_loaded_takes_the_job() -> None:
    """Whichever looks first."""
    for order in (0, 1):
        warm, cold = with_files("a"), with_files("a")
        warm.loaded = "a"
        job = FleetJob(Needs("a"), arrives=1)
        FleetSimulation([job], [warm, cold] if order else [cold, warm]).run()
        assert job.ran_on is warm
        assert job.starts == 1


def test_a_busy_worker_with_the_model_loaded_is_not_waited_for() -> None:
    warm, cold = with_files("a"), with_files("a")
    warm.loaded = "a"
    jobs = [FleetJob(Needs("a"), arrives=1, seconds=30), FleetJob(Needs("a"), arrives=2)]
    FleetSimulation(jobs, [cold, warm]).run()
    assert jobs[0].ran_on is warm
    assert jobs[1].ran_on is cold
    assert jobs[1].starts == 2


def test_a_worker_with_the_files_is_waited_for_rather_than_downloading_them() -> None:
    near, far = with_files("a"), with_files(loadable=["a"])
    jobs = [FleetJob(Needs("a"), arrives=number, seconds=10) for number in range(3)]
    FleetSimulation(jobs, [far, near]).run()
    assert [job.ran_on is near for job in jobs] == [True] * 3


# --- the functions themselves


def can(**values: object) -> Capabilities:
    return Capabilities(**({"here": frozenset("a")} | values))  # type: ignore[arg-type]


def test_standing_in_small() -> None:
    assert standing(Needs("a"), can(), ["a"]) is Standing.LOADED
    assert standing(Needs("a"), can(), []) is Standing.ON_DISK
    assert standing(Needs("a"), can(here=frozenset(), loadable=frozenset("a")), []) is Standing.TO_DOWNLOAD
    assert standing(Needs("a", beside=("net",)), can(loadable=frozenset(["net"])), []) is Standing.TO_DOWNLOAD
    assert standing(Needs("a"), can(tight=frozenset("a")), []) is Standing.TIGHT
    assert standing(Needs("b"), can(), ["b"]) is None
    assert standing(Needs("", source="replicate"), can(sources=frozenset(["replicate"])), []) is Standing.LOADED
    assert standing(Needs("", source="replicate"), can(), []) is None


@pytest.mark.parametrize(
    ("own", "others", "expected"),
    [
        (Standing.LOADED, [(Standing.LOADED, True)], "none"),
        (Standing.ON_DISK, [(Standing.LOADED, True)], "to idle"),
        (Standing.ON_DISK, [(Standing.LOADED, False), (Standing.ON_DISK, True)], "none"),
        (Standing.TO_DOWNLOAD, [(Standing.ON_DISK, False)], "to nearer"),
        (Standing.TO_DOWNLOAD, [(Standing.TO_DOWNLOAD, True), (Standing.TIGHT, True)], "none"),
        (Standing.TIGHT, [(Standing.TO_DOWNLOAD, False)], "to nearer"),
        (Standing.TIGHT, [], "none"),
    ],
)
def test_deference_in_small(own: Standing, others: list[tuple[Standing, bool]], expected: str) -> None:
    assert deference(own, others) == expected


def test_patience_in_small() -> None:
    assert patience("none", 30.0) == 0.0
    assert patience("to idle", 30.0) == TO_IDLE_SECONDS
    assert patience("to nearer", 30.0) == 30.0


def test_select_in_small() -> None:
    first, second = Candidate("1", "a", 0, 1, 1), Candidate("2", "b", 0, 2, 2)
    found = select([second, first], lambda _: 0.0, [], lambda _: 30.0)
    assert (found.chosen, list(found.overtaken)) == (first, [])
    found = select([first, second], lambda each: None if each is first else 0.0, [], lambda _: 30.0)
    assert (found.chosen, list(found.overtaken)) == (second, []), "what a worker cannot run it does not pass over"
    found = select([first, second], lambda each: 5.0 if each is first else 0.0, [], lambda _: 30.0)
    assert (found.chosen, list(found.overtaken)) == (second, [first])
    found = select([first, second], lambda each: 0.0 if each is first else 5.0, [], lambda _: 30.0)
    assert (found.chosen, list(found.overtaken)) == (first, []), "its turn has not come"
    found = select([first, second], lambda _: 0.0, ["b"], lambda _: 30.0)
    assert (found.chosen, list(found.overtaken)) == (second, [first])
    found = select([first], lambda _: 5.0, [], lambda _: 30.0)
    assert (found.chosen, list(found.overtaken)) == (None, [first])
    late = Candidate("1", "a", 0, 1, 1, overtaken_for=5.0)
    assert select([late], lambda _: 5.0, [], lambda _: 30.0).chosen is late


def test_lora_names() -> None:
    here = can(loras={"Style": "flux", "people/ann": None})
    for name in ("Style", "style", "style.safetensors", "people/Ann.SAFETENSORS", "/srv/loras/style", "./style"):
        assert here.has_lora(name), name
    assert here.lora_family("STYLE") == "flux"
    for name in ("ann", "people/bob", "other/style", "/srv/loras/mystyle"):
        assert not here.has_lora(name), name
    assert can(hub_loras=True).has_lora("owner/repo")
    assert can(hub_loras=True).has_lora("owner/repo/file.safetensors")
    assert not can(hub_loras=True).has_lora("plain")


def test_who_comes_nearest_is_named() -> None:
    near = LiveWorker("w1", "h1", can(loras={"y": None}))
    far = LiveWorker("w2", "h2", can(here=frozenset()))
    found = shortfall(Needs("a", loras=("x",), embeddings=("e",)), [far, near])
    assert found is not None
    assert found.worker is near
    assert named(found.lacks) == "the LoRA x and the embedding e"
    assert shortfall(Needs("a"), [far, near]) is None
    assert shortfall(Needs("b"), [far, LiveWorker("old", "h3", None)]) is None, "an earlier version may have it"
    assert shortfall(Needs("b"), []) is None
    assert shortfall(Needs("b"), [far], [can(here=frozenset("b"))]) is None, "one that left may be back"
    three = [Lack("model", "m"), Lack("detector", "pose"), Lack("provider", "replicate")]
    assert named(three) == "the model m, a model that makes pose pictures and a key of the provider replicate"


def test_a_report_of_another_version_is_read() -> None:
    own = can(loras={"x": None}, pipelines={"a": "FluxPipeline"}, embeddings={"e": {"": 768}}, device="cuda")
    assert Capabilities.read(own.body) == own
    assert Capabilities.read(own.body).digest == own.digest
    newer = json.dumps(json.loads(own.body) | {"dreams": ["of", "sheep"]})
    assert Capabilities.read(newer) == own
    assert Capabilities.read("{}") == Capabilities()
    with pytest.raises(ValueError, match="object"):
        Capabilities.read("[]")

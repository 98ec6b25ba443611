"""What outputs were made from: stored with them, followed over generations, gone with them."""

from __future__ import annotations

from app.core.inputs import Extend, InputRef
from app.core.lineage import MadeFrom, made_from
from app.core.request import RemoteCall
from app.core.rerun import RerunOf
from app.store.media import lineage
from tests.store.harness import Store, a_request, an_output


def ref(image_id: str | None, role: str = "image", **more: object) -> InputRef:
    return InputRef(role=role, sha256="0" * 64, width=8, height=8, image_id=image_id, **more)


def made(store: Store, *sources: str, count: int = 1, **values: object) -> list[str]:
    """The ids of the outputs of a job that was made from `sources`."""
    pictures = tuple(ref(source) for source in sources)
    store.submit(task="img2img" if sources else "txt2img", pictures=pictures, **values)
    claim = store.claim()
    outputs = [an_output(claim.job_id, index) for index in range(count)]
    store.complete(claim, *outputs)
    return [output.id for output in outputs]


def test_generations(store: Store) -> None:
    (first,) = made(store)
    second, twin = made(store, first, count=2)
    (other,) = made(store)
    (third,) = made(store, second, other)
    assert [each.id for each in store.lineage.ancestors(third)] == [first, second, other]
    assert {each.id for each in store.lineage.children(first)} == {second, twin}
    assert store.lineage.sources([third, first]) == {
        third: [MadeFrom(each, "img2img") for each in sorted((second, other))]
    }


def test_rows_go_with_their_output(store: Store) -> None:
    (first,) = made(store)
    (second,) = made(store, first)
    (third,) = made(store, second)
    store.outputs.remove(second)
    assert store.lineage.ancestors(third) == []
    assert store.lineage.children(first) == []


def test_a_circle_ends(store: Store) -> None:
    """None can be made; a database that was edited may have one."""
    (first,) = made(store)
    (second,) = made(store, first)
    with store.database.write() as connection:
        lineage.store_sources(connection, a_request(pictures=(ref(second),), task="edit"), [an_output("job", id=first)])
    assert {each.id for each in store.lineage.ancestors(second)} == {first}


def test_no_more_is_read_than_is_shown_and_the_nearest_are(store: Store, monkeypatch) -> None:
    monkeypatch.setattr(lineage, "MOST_RELATIVES", 3)
    eldest = [made(store)[0] for _ in range(4)]
    parents = [made(store, *eldest)[0] for _ in range(2)]
    (child,) = made(store, *parents)
    found = [each.id for each in store.lineage.ancestors(child)]
    assert set(found) == {min(eldest), *parents}
    asked: list[str] = []
    with store.database.read() as connection:
        scalars = connection.scalars

        def watched(query, *arguments):
            asked.append(str(query))
            return scalars(query, *arguments)

        monkeypatch.setattr(connection, "scalars", watched)
        assert lineage._nearest(connection, child) == set(found)
    assert len(asked) == 2  # a generation each
    assert all("LIMIT" in query for query in asked)


def test_completing_twice_stores_it_once(store: Store) -> None:
    (first,) = made(store)
    store.submit(task="img2img", pictures=(ref(first),))
    claim = store.claim()
    output = an_output(claim.job_id)
    store.complete(claim, output)
    store.complete(claim, output)  # the answer of the first was lost
    assert [each.id for each in store.lineage.children(first)] == [output.id]


def test_how_a_picture_was_used() -> None:
    def how(**values: object) -> list[tuple[str, str]]:
        return [(each.image_id, each.how) for each in made_from(a_request(**values))]

    assert how() == []
    assert how(task="img2img", pictures=(ref(None),)) == []  # sent, not from the gallery
    assert how(task="inpaint", pictures=(ref("a"), ref("b", "mask"))) == [("a", "inpaint")]
    assert how(task="inpaint", pictures=(ref("a", extend=Extend(left=8)),)) == [("a", "extend")]
    assert how(task="edit", pictures=(ref("a"), ref("b", "reference"))) == [("a", "edit"), ("b", "reference")]
    assert how(task="upscale", pictures=(ref("a"),)) == [("a", "upscale")]
    assert how(task="img2video", pictures=(ref("a"),)) == [("a", "img2video")]
    assert how(rerun_of=RerunOf(image_id="a", versions={})) == [("a", "rerun")]
    call = RemoteCall(source="replicate", model="a/b", input={}, pictures=("a",))
    assert how(remote=call) == [("a", "img2img")]
    assert how(remote=call, task="txt2video") == [("a", "img2video")]

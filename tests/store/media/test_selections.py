"""Many pictures at once: the bin, favourites and tags; of the caller's pictures only."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import insert

from app.core.output import Output
from app.core.tags import tag_of
from app.errors import Gone
from app.store.db.schema import output_sources
from app.store.media.filters import GalleryQuery, place_of
from app.store.media.lineage import LineageStore
from app.store.media.retention import RetentionStore
from app.store.media.selections import SelectionStore, TagStore
from tests.store.harness import Store, an_output

DELETION = "d" * 32


@pytest.fixture
def selections(store: Store) -> SelectionStore:
    return SelectionStore(store.database)


@pytest.fixture
def publish(store: Store) -> Callable[..., Output]:
    def one(client: str = "alice", **values: object) -> Output:
        job = store.submit(client=client)
        output = an_output(job.id, **values)
        store.complete(store.claim(), output)
        return store.outputs.get(output.id)

    return one


def found(store: Store, **query: object) -> list[str]:
    """The ids of all pages of two."""
    asked, ids = GalleryQuery(limit=2, **query), []  # type: ignore[arg-type]
    while page := store.outputs.page(asked):
        ids += [output.id for output in page]
        last = page[-1]
        after = place_of(asked, last.created_at, last.deleted_at, last.id)
        asked = GalleryQuery(**{**vars(asked), "after": after})
    return ids


def test_the_bin_and_back(store: Store, selections: SelectionStore, publish: Callable[..., Output]) -> None:
    pictures = [publish() for _ in range(5)]
    ids = [each.id for each in pictures]
    assert sorted(selections.move_to_bin(ids[:3], "alice", DELETION)) == ids[:3]
    assert selections.move_to_bin(ids[:3], "alice", "e" * 32) == []
    assert sorted(found(store)) == ids[3:]
    assert sorted(found(store, binned=True)) == ids[:3]
    assert sorted(found(store, binned=True, deletion_id=DELETION)) == ids[:3]
    with pytest.raises(Gone, match="lies in the bin"):
        store.outputs.get(ids[0])
    assert store.outputs.of_job(pictures[0].job_id) == []
    assert store.outputs.totals()["count"] == 2
    assert store.outputs.bin_totals() == {"count": 3, "bytes": 3000}
    assert sorted(selections.restore(ids, "alice")) == ids[:3]
    assert [store.outputs.get(each) for each in ids] == pictures
    assert store.outputs.totals()["count"] == 5
    assert store.outputs.bin_totals() == {"count": 0, "bytes": 0}


def test_only_the_own_ones(store: Store, selections: SelectionStore, publish: Callable[..., Output]) -> None:
    mine, theirs = publish().id, publish("bob").id
    both = [mine, theirs]
    sea = [tag_of("sea")]
    assert selections.visible(both, "alice") == [mine]
    assert sorted(selections.visible(both, None)) == sorted(both)
    assert selections.mark(both, "alice", favorite=True) == [mine]
    assert selections.tag(both, "alice", sea, most=9) == [mine]
    assert selections.tag([theirs], None, sea, most=9) == [theirs]
    assert selections.untag(both, "alice", sea) == [mine]
    assert selections.move_to_bin(both, "alice", DELETION) == [mine]
    assert selections.move_to_bin([theirs], "bob", DELETION) == [theirs]
    assert selections.restore(both, "alice") == [mine]
    assert found(store, owner="bob", binned=True) == [theirs]


def test_marks_tell_what_changed(store: Store, selections: SelectionStore, publish: Callable[..., Output]) -> None:
    one, other = publish().id, publish().id
    assert selections.mark([one], None, favorite=True) == [one]
    assert selections.mark([one, other], None, favorite=True) == [other]
    assert found(store, favorite=False) == []
    assert sorted(found(store, favorite=True)) == sorted([one, other])
    assert selections.mark([one], None, favorite=False) == [one]
    assert found(store, favorite=True) == [other]


def test_tags_in_any_case(store: Store, selections: SelectionStore, publish: Callable[..., Output]) -> None:
    one, other = publish().id, publish().id
    tags = TagStore(store.database)
    assert selections.tag([one], None, [tag_of("Über  alles"), tag_of("Sea")], most=3) == [one]
    assert selections.tag([one], None, [tag_of("ÜBER ALLES")], most=3) == []
    assert selections.tag([other], None, [tag_of("sea")], most=3) == [other]
    assert tags.of([one, other]) == {one: ["Sea", "Über alles"], other: ["sea"]}
    assert sorted(found(store, tag="sea")) == sorted([one, other])
    assert found(store, tag=tag_of("über ALLES").key) == [one]
    assert tags.listing(None, limit=9) == [("Sea", 2), ("Über alles", 1)]
    assert tags.listing("bob", limit=9) == []
    assert selections.tag([one], None, [tag_of("a"), tag_of("b")], most=3) == []  # four would be too many
    selections.move_to_bin([one], None, DELETION)
    assert found(store, tag="sea") == [other]
    assert tags.listing(None, limit=9) == [("sea", 1)]
    selections.restore([one], None)
    assert selections.untag([one, other], None, [tag_of("SEA")]) == sorted([one, other])
    assert tags.of([one, other]) == {one: ["Über alles"]}


@pytest.mark.parametrize("text", ["", "  ", "a,b", "a\x00b", "x" * 51])
def test_tags_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="1 to 50 printable"):
        tag_of(text)


def test_seed_order_and_count(store: Store, selections: SelectionStore, publish: Callable[..., Output]) -> None:
    ids = [publish(seed=seed).id for seed in (1, 2, 1)]
    assert sorted(found(store, seed=1)) == sorted([ids[0], ids[2]])
    assert found(store, sort="oldest") == found(store)[::-1]
    assert store.outputs.count(GalleryQuery(seed=1)) == 2
    assert store.outputs.count(GalleryQuery(tag="none")) == 0


def test_all_that_match_in_portions_while_they_vanish(
    store: Store, selections: SelectionStore, publish: Callable[..., Output], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.store.media.selections.PORTION", 2)
    ids = [publish().id for _ in range(5)]
    for portion in selections.matching(GalleryQuery()):
        assert len(portion) <= 2
        publish()  # what comes meanwhile is not deleted
        selections.move_to_bin(portion, None, DELETION)
    assert sorted(found(store, binned=True)) == sorted(ids)
    back = [
        each for portion in selections.matching(GalleryQuery(binned=True, deletion_id=DELETION)) for each in portion
    ]
    assert sorted(back) == sorted(ids)


def test_retention_empties_the_bin_favourites_too(
    store: Store, selections: SelectionStore, publish: Callable[..., Output]
) -> None:
    retention = RetentionStore(store.database)
    kept, gone = publish().id, publish().id
    selections.mark([gone], None, favorite=True)
    selections.move_to_bin([kept, gone], None, DELETION)
    (portion,) = retention.binned()
    assert list(retention.binned(60)) == []
    selections.restore([kept], None)
    deleted = retention.delete(portion, (), binned=True)
    assert [each.id for each in deleted.outputs] == [gone]  # what was restored meanwhile stays
    store.outputs.get(kept)
    with pytest.raises(Gone, match="removed"):
        store.outputs.get(gone)
    assert store.outputs.bin_totals() == {"count": 0, "bytes": 0}


def test_a_job_keeps_its_row_while_its_pictures_are_in_the_bin(
    store: Store, selections: SelectionStore, publish: Callable[..., Output]
) -> None:
    retention, picture = RetentionStore(store.database), publish()
    selections.move_to_bin([picture.id], None, DELETION)
    assert retention.outputs_of([picture.job_id]) == []
    assert retention.delete((), [picture.job_id]).jobs == 0
    assert retention.delete(retention.in_bin([picture.id]), [picture.job_id], binned=True).jobs == 1


def test_lineage_leaves_the_bin_out(store: Store, selections: SelectionStore, publish: Callable[..., Output]) -> None:
    source = publish()
    job = store.submit()
    made = an_output(job.id)
    store.complete(store.claim(), made)
    with store.database.write() as connection:
        connection.execute(insert(output_sources).values(output_id=made.id, source_id=source.id, how="img2img"))
    lineage = LineageStore(store.database)
    assert [each.id for each in lineage.ancestors(made.id)] == [source.id]
    selections.move_to_bin([source.id, made.id], None, DELETION)
    assert lineage.ancestors(made.id) == lineage.children(source.id) == []

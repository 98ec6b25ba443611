"""The gallery: newest first, in pages that neither skip nor repeat while pictures are added and removed."""

from __future__ import annotations

import pytest

from app.core.output import Output
from app.core.prompts import matches
from app.errors import Gone, ImageNotFound
from app.store.media.filters import GalleryQuery
from tests.store.harness import Store, an_output


def publish(store: Store, **values: object) -> Output:
    job = store.submit(values.pop("job_model", "demo"), **values.pop("request", {}))  # type: ignore[arg-type]
    output = an_output(job.id, **values)
    store.complete(store.claim(), output)
    return store.outputs.get(output.id)


def all_pages(store: Store, **filters: object) -> list[str]:
    found: list[str] = []
    after = None
    while page := store.outputs.page(GalleryQuery(limit=2, after=after, **filters)):  # type: ignore[arg-type]
        found += [output.id for output in page]
        after = (page[-1].created_at, page[-1].id)
    return found


def test_the_newest_come_first_and_pages_cover_everything_once(store: Store) -> None:
    published = [publish(store) for _ in range(5)]
    by_time = sorted(published, key=lambda output: (output.created_at, output.id), reverse=True)
    assert all_pages(store) == [output.id for output in by_time]


def test_pages_hold_still_while_new_pictures_come(store: Store) -> None:
    published = [publish(store) for _ in range(4)]
    first = store.outputs.page(GalleryQuery(limit=2))
    publish(store)
    second = store.outputs.page(GalleryQuery(limit=2, after=(first[-1].created_at, first[-1].id)))
    assert {output.id for output in (*first, *second)} == {output.id for output in published}


def test_pages_hold_still_while_the_last_one_shown_is_removed(store: Store) -> None:
    published = [publish(store) for _ in range(4)]
    first = store.outputs.page(GalleryQuery(limit=2))
    store.outputs.remove(first[-1].id)
    second = store.outputs.page(GalleryQuery(limit=2, after=(first[-1].created_at, first[-1].id)))
    assert len({output.id for output in (*first, *second)}) == len(published)


def test_pictures_of_the_same_moment_are_not_lost_between_pages(store: Store) -> None:
    job = store.submit(num_images=7)
    published = [an_output(job.id, index) for index in range(7)]
    store.complete(store.claim(), *published)
    assert sorted(all_pages(store)) == sorted(output.id for output in published)


def test_filters(store: Store) -> None:
    flux = publish(store, model_id="flux-dev", request={"prompt": "A Red 100% boat_house"})
    video = publish(store, media="video", request={"prompt": "ein grünes Schiff"})
    plain = publish(store)
    assert all_pages(store, model_id="flux-dev") == [flux.id]
    assert all_pages(store, media="video") == [video.id]
    assert set(all_pages(store, media="image")) == {flux.id, plain.id}
    assert all_pages(store, media="video", model_id="flux-dev") == []
    assert set(all_pages(store, search="red")) == {flux.id, plain.id}
    assert all_pages(store, search="100%") == [flux.id]
    assert all_pages(store, search="t_h") == [flux.id]
    assert all_pages(store, search="' OR 1=1 --") == []
    assert set(all_pages(store, since=video.created_at)) >= {plain.id, video.id}
    assert all_pages(store, until=flux.created_at) == all_pages(store, since=plain.created_at + 1) == []
    assert plain.id not in all_pages(store, until=plain.created_at)


def test_a_removed_picture_is_gone_and_an_unknown_one_was_never_there(store: Store) -> None:
    output = publish(store)
    store.outputs.remove(output.id)
    store.outputs.remove(output.id)
    with pytest.raises(Gone):
        store.outputs.get(output.id)
    assert store.outputs.of_job(output.job_id) == []
    assert store.outputs.page(GalleryQuery()) == []
    with pytest.raises(ImageNotFound):
        store.outputs.get("nothing")
    store.outputs.remove("nothing")
    with pytest.raises(ImageNotFound):
        store.outputs.get("nothing")


def test_known_paths_are_those_a_row_points_to(store: Store) -> None:
    output = publish(store)
    asked = [output.path, output.thumbnail_path, "2026/01/02/orphan.png", "elsewhere/" + output.path, "notes.txt", ""]
    assert store.outputs.known_paths(asked) == {output.path, output.thumbnail_path}
    assert store.outputs.known_paths([]) == set()
    many = [f"2026/01/02/{number:032x}.png" for number in range(10_000, 12_000)]
    assert store.outputs.known_paths([*many, output.path]) == {output.path}


@pytest.mark.parametrize(
    ("prompt", "search"),
    [
        ("ÜBER den Wolken", "über den"),
        ("über den wolken", "ÜBER"),
        ("ein GROẞER Straßenzug", "STRASSENZUG grosser"),
        ("ΟΔΥΣΣΕΑΣ στη θάλασσα", "οδυσσεας ΘΆΛΑΣΣΑ"),
        ("Кот на крыше", "КОТ КРЫШЕ"),
        ("İstanbul", "istanbul"),
        ("ｆｕｌｌｗｉｄｔｈ letters", "FULLWIDTH"),
        ("a red boat on a blue sea", "blue  boat\tRED"),
        ("日本の城、桜", "桜 城"),
        ("100% pure_gold \\ [x]", "GOLD 100% \\ [X]"),
    ],
)
def test_a_search_finds_words_in_any_order_and_case(store: Store, prompt: str, search: str) -> None:
    publish(store, request={"prompt": "something else, 1000 pureXgold"})
    wanted = publish(store, request={"prompt": prompt})
    assert all_pages(store, search=search) == [wanted.id]
    assert all_pages(store, search=f"{search} nowhere") == []
    assert matches(search, prompt)
    assert not matches(f"{search} nowhere", prompt)


def test_a_search_of_blanks_is_none(store: Store) -> None:
    assert len({publish(store).id, publish(store).id} & set(all_pages(store, search=" \t"))) == 2

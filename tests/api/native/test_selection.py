"""Actions on many pictures, the bin, tags and archives over HTTP; each client works on its own pictures only."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator

import pytest

from app import create_app
from app.services.ops.cleanup import clean_up
from tests.api.conftest import Worker
from tests.api.native.keyed import Keyed
from tests.api.native.keyed import submit as send


@pytest.fixture
def pictures(submit, worker) -> list[str]:
    """Three pictures with the prompts a red fox 0 … 2."""
    ids = []
    for number in range(3):
        submit(f"a red fox {number}", settings={"seed": number})
        ids += worker.finish()
    return ids


@pytest.fixture
def act(client):
    def send(action: str, **body) -> dict:
        answer = client.post("/api/images/actions", json={"action": action, **body})
        assert answer.status_code == 200, answer.text
        return answer.json

    return send


def listed(client, query: str = "") -> list[str]:
    return [item["image_id"] for item in client.get(f"/api/images?{query}").json["images"]]


def test_deleted_pictures_come_back_with_the_same_bytes(client, pictures, act, problem):
    address = f"/api/image/{pictures[0]}"
    before = client.get(address)
    done = act("delete", ids=pictures[:2])
    assert (done["matched"], done["changed"], done["missing"]) == (2, 2, 0)
    assert listed(client) == [pictures[2]]
    body = problem(client.get(address), 410, "gone")
    assert "Restore it there" in body["detail"]
    problem(client.get(f"{address}/thumbnail"), 410, "gone")
    problem(client.get(f"{address}/metadata"), 410, "gone")
    problem(client.put(f"{address}/favorite"), 410, "gone")
    assert client.get(f"{address}/thumbnail?bin=1").status_code == 200
    items = client.get("/api/images?bin=1&count=1").json
    assert items["total"] == 2
    assert all(item["bin_until"] > item["deleted_at"] for item in items["images"])
    assert client.get(items["images"][0]["thumbnail_url"]).status_code == 200
    back = act("restore", filter={"deletion": done["deletion_id"]})
    assert sorted(back["ids"]) == sorted(pictures[:2])
    after = client.get(address)
    assert (after.data, after.headers["ETag"]) == (before.data, before.headers["ETag"])


def test_by_filter_in_one_request(client, pictures, act):
    assert act("favorite", filter={"search": "FOX 1"})["ids"] == [pictures[1]]
    assert listed(client, "favorite=1") == [pictures[1]]
    assert listed(client, "favorite=0&sort=oldest") == [pictures[0], pictures[2]]
    assert listed(client, "seed=2") == [pictures[2]]
    assert act("delete", filter={"favorite": False}, except_ids=[pictures[0]])["ids"] == [pictures[2]]
    assert act("delete", filter={"favorite": False})["ids"] == [pictures[0]]
    assert listed(client) == [pictures[1]]
    assert act("purge", filter={})["changed"] == 2  # of the bin only
    assert act("restore", filter={})["changed"] == 0
    assert listed(client) == [pictures[1]]


def test_tags(client, pictures, act):
    assert act("tag", ids=pictures[:2], tags=["Foxes", " at  night "])["changed"] == 2
    assert sorted(listed(client, "tag=FOXES")) == sorted(pictures[:2])
    assert client.get("/api/tags").json["tags"] == [{"tag": "at night", "images": 2}, {"tag": "Foxes", "images": 2}]
    assert client.get(f"/api/image/{pictures[0]}/metadata").json["tags"] == ["at night", "Foxes"]
    assert client.get("/api/images").json["images"][-1]["tags"] == ["at night", "Foxes"]
    assert act("untag", ids=[pictures[0]], tags=["foxes"])["changed"] == 1
    assert listed(client, "tag=foxes") == [pictures[1]]


def test_pending_jobs_are_not_among_what_only_pictures_have(client, submit):
    submit("a waiting one")
    assert len(client.get("/api/images?status=PENDING").json["images"]) == 1
    for query in ("favorite=1", "tag=x", "seed=1", "bin=1"):
        assert client.get(f"/api/images?status=PENDING&{query}").json["images"] == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"action": "delete"},
        {"action": "delete", "ids": []},
        {"action": "delete", "ids": ["x"]},
        {"action": "delete", "ids": ["0" * 32], "filter": {}},
        {"action": "delete", "ids": ["0" * 32], "except_ids": ["1" * 32]},
        {"action": "delete", "ids": ["0" * 32] * 5001},
        {"action": "delete", "filter": {"limit": 3}},
        {"action": "delete", "filter": {"since": 5}},
        {"action": "delete", "filter": {"tag": "a,b"}},
        {"action": "delete", "ids": ["0" * 32], "tags": ["x"]},
        {"action": "tag", "ids": ["0" * 32]},
        {"action": "tag", "ids": ["0" * 32], "tags": ["x"] * 17},
        {"action": "explode", "ids": ["0" * 32]},
    ],
)
def test_what_is_refused(client, problem, pictures, body):
    problem(client.post("/api/images/actions", json=body), 400, "invalid_request")
    assert len(listed(client)) == 3


def test_unknown_ids_are_counted(act, pictures):
    done = act("delete", ids=[pictures[0], pictures[0], "0" * 32])
    assert (done["matched"], done["changed"], done["missing"]) == (1, 1, 1)


@pytest.fixture
def keyed(settings_in, tmp_path) -> Iterator[Keyed]:
    app = create_app(settings_in(tmp_path, auth_mode="keys"))
    yield Keyed(app)
    app.extensions["cyberimage"].close()


def test_a_client_works_on_its_own_pictures_only(keyed):
    alice, bob, worker = keyed.alice, keyed.bob, Worker(keyed.context)
    send(alice)
    (hers,) = worker.finish()
    send(bob)
    (his,) = worker.finish()
    for action, more in (("delete", {}), ("favorite", {}), ("tag", {"tags": ["x"]})):
        body = {"action": action, "ids": [hers, his], **more}
        if action == "delete":
            body["ids"] = [his]
        answer = alice.post("/api/images/actions", json=body).json
        assert his not in answer["ids"]
        assert answer["missing"] == 1
    assert alice.post("/api/images/actions", json={"action": "delete", "filter": {}}).json["ids"] == [hers]
    assert bob.get("/api/images").json["images"][0]["image_id"] == his
    assert bob.get("/api/tags").json == {"tags": []}
    assert bob.post("/api/images/actions", json={"action": "restore", "filter": {}}).json["changed"] == 0
    assert bob.get("/api/images?bin=1").json["images"] == []
    assert bob.get(f"/api/image/{hers}/thumbnail?bin=1").status_code == 404
    assert bob.post("/api/images/zip", json={"ids": [hers]}).status_code == 404
    assert alice.post("/api/images/actions", json={"action": "purge", "ids": [hers, his]}).json["ids"] == [hers]


def test_an_archive_has_the_files_as_they_are(client, pictures, act, problem):
    contents = {client.get(f"/api/image/{each}").data for each in pictures}
    answer = client.post("/api/images/zip", json={"filter": {"search": "fox"}})
    assert answer.mimetype == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.data)) as zipped:
        assert zipped.testzip() is None
        names = zipped.namelist()
        assert len(set(names)) == 3
        assert {zipped.read(name) for name in names} == contents
        assert all(name.startswith("cyberimage-20") and name.endswith(".png") for name in names)
    problem(client.post("/api/images/zip", json={"ids": ["0" * 32]}), 404, "image_not_found")
    act("delete", filter={})
    problem(client.post("/api/images/zip", json={"filter": {}}), 404, "image_not_found")


def test_an_archive_names_what_went_away(client, pictures, context):
    context.images.remove(context.outputs.get(pictures[0]).path)
    with zipfile.ZipFile(io.BytesIO(client.post("/api/images/zip", json={"ids": pictures}).data)) as zipped:
        assert zipped.read("missing.txt").decode() == f"{pictures[0]}\n"
        assert len(zipped.namelist()) == 3


def test_an_archive_of_too_many(client, pictures, problem, monkeypatch):
    monkeypatch.setattr("app.api.native.selection.MOST_ZIPPED", 2)
    assert "narrow" in problem(client.post("/api/images/zip", json={"filter": {}}), 400, "invalid_request")["detail"]


def test_every_download_has_a_name_of_its_own(client, submit, worker):
    """Ids begin with the time: their first digits are the same for all pictures of an hour."""
    submit(settings={"num_images": 3})
    names = {
        client.get(f"/api/image/{each}?download=1").headers["Content-Disposition"].partition("filename=")[2]
        for each in worker.finish()
    }
    assert len(names) == 3


def test_the_clean_up_empties_the_bin(client, context, pictures, act, problem):
    act("delete", ids=pictures[:1])
    assert clean_up(context, dry_run=True).images == 0
    context.settings = context.settings.model_copy(update={"bin_days": 0.0})
    assert clean_up(context, dry_run=True).images == 1
    files = context.outputs.get(pictures[0], binned=True)
    assert clean_up(context).images == 1
    assert context.images.size(files.path) is None
    assert context.images.size(files.thumbnail_path) is None
    assert "removed" in problem(client.get(f"/api/image/{pictures[0]}"), 410, "gone")["detail"]
    assert len(listed(client)) == 2


def test_room_is_made_in_the_bin_first(client, context, pictures, act):
    act("delete", ids=pictures[2:])
    context.settings = context.settings.model_copy(update={"retention_max_images": 2})
    assert clean_up(context).images == 1
    assert sorted(listed(client)) == sorted(pictures[:2])
    assert client.get("/api/images?bin=1").json["images"] == []


def test_deleting_for_good_works_from_the_bin_too(client, pictures, act):
    act("delete", ids=pictures[:1])
    assert client.delete(f"/api/image/{pictures[0]}").status_code == 204
    assert client.delete(f"/api/image/{pictures[0]}").status_code == 410
    assert act("restore", ids=pictures[:1])["missing"] == 1

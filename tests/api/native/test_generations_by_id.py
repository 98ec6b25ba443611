"""GET /api/images/<id> and /api/videos/<id>: by the id of a job or of its output, each of its own medium only."""

from __future__ import annotations

import numpy as np
import pytest

from app import create_app
from app.core.job import Claim
from app.files.media import encode_mp4
from app.services.context import AppContext
from app.services.media.publish import Clip, GenerationResult, publish
from tests.api.native.keyed import Keyed, submit


def finish_with_video(context: AppContext, claim: Claim) -> str:
    frames = [np.full((32, 32, 3), shade, np.uint8) for shade in (10, 200)]
    clip = Clip(encode_mp4(iter(frames), 8), "video/mp4", frames[0], 7, {"fps": 8})
    (output,) = publish(context, claim, GenerationResult([], {}, {}, {}, clips=[clip]))
    return output.id


def test_a_picture_is_found_by_its_own_id_and_by_its_jobs(client, worker, submit):
    job_id = submit(settings={"num_images": 2})
    first, second = worker.finish()
    by_job, by_picture = client.get(f"/api/images/{job_id}"), client.get(f"/api/images/{second}")
    assert (by_job.status_code, by_picture.status_code) == (200, 200)
    assert by_job.json["output"] is None
    assert by_picture.json["output"] == by_job.json["images"][1]
    assert by_picture.json == by_job.json | {"output": by_picture.json["output"]}
    assert [image["image_id"] for image in by_job.json["images"]] == [first, second]


def test_a_deleted_picture_is_gone_and_an_unknown_id_is_not_found(client, worker, submit, problem):
    submit()
    (image,) = worker.finish()
    client.delete(f"/api/image/{image}")
    problem(client.get(f"/api/images/{image}"), 410, "gone")
    for path in (f"/api/images/{'0' * 32}", "/api/videos/unknown"):
        problem(client.get(path), 404, "job_not_found")


def test_each_answers_its_own_medium_only(client, context, worker, submit, problem):
    picture_job = submit()
    (picture,) = worker.finish()
    video_job = submit("it moves")
    video = finish_with_video(context, worker.claim())
    for an_id in (video_job, video):
        assert client.get(f"/api/videos/{an_id}").json["job_id"] == video_job
        problem(client.get(f"/api/images/{an_id}"), 404, "job_not_found")
    for an_id in (picture_job, picture):
        assert "/api/images" in problem(client.get(f"/api/videos/{an_id}"), 404, "job_not_found")["detail"]


def test_the_list_of_videos_names_them_so_and_has_no_images(client, context, worker, submit, problem):
    submit()
    worker.finish()
    submit("it moves")
    video = finish_with_video(context, worker.claim())
    for path in ("/api/videos", "/api/videos?media=video"):
        listed = client.get(path).json
        assert [item["image_id"] for item in listed["videos"]] == [video]
        assert listed["images"] == listed["videos"]
    problem(client.get("/api/videos?media=image"), 400, "invalid_request")


@pytest.mark.parametrize("which", ["job", "picture"])
def test_nothing_of_another_client_is_found(settings_in, tmp_path, which, problem):
    app = create_app(settings_in(tmp_path, auth_mode="keys"))
    people = Keyed(app)
    ids = {"job": submit(people.alice)}
    claim = people.context.claims.claim("w")
    assert claim is not None
    ids["picture"] = finish_with_video(people.context, claim)
    path = f"/api/videos/{ids[which]}"
    assert people.alice.get(path).status_code == people.root.get(path).status_code == 200
    problem(people.bob.get(path), 404, "job_not_found")
    people.context.close()

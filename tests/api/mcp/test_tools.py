"""The tools: what they submit, what they answer, and what an assistant is told when they fail."""

from __future__ import annotations

import base64
import io
import json
import uuid

import jsonschema
import pytest
from PIL import Image

from app import create_app
from app.api.mcp import content, tools
from app.api.mcp.messages import Call
from app.api.mcp.waiting import ProgressEncoder
from app.core.job import JobStatus
from app.services.jobs.status import view
from tests.api.mcp.messages import JSON, SSE, ask, call, error, message, result, stateless, tool_error


def small(found: dict) -> list[Image.Image]:
    """The pictures of a result, decoded."""
    shown = [one for one in found["content"] if one["type"] == "image"]
    assert {one["mimeType"] for one in shown} <= {"image/webp"}
    return [Image.open(io.BytesIO(base64.b64decode(one["data"], validate=True))) for one in shown]


def check(tool: str, found: dict) -> dict:
    """The structured content of a result, which is as the tool's schema says."""
    jsonschema.validate(found["structuredContent"], tools.listed()[list(tools.TOOLS).index(tool)]["outputSchema"])
    return found["structuredContent"]


def test_tools_are_described_for_an_assistant(client):
    listed = result(ask(client, "tools/list"))["tools"]
    assert [tool["name"] for tool in listed] == list(tools.TOOLS)
    for tool in listed:
        schema = tool["inputSchema"]
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.Draft202012Validator.check_schema(tool["outputSchema"])
        assert schema["type"] == "object"
        assert schema["additionalProperties"] is False
        assert "$ref" not in json.dumps(schema)
        assert '"null"' not in json.dumps(schema)
        assert len(tool["description"]) > 60
        for name, argument in schema["properties"].items():
            assert argument.get("description"), (tool["name"], name)
    assert listed[0]["inputSchema"]["required"] == ["prompt"]
    assert {tool["name"] for tool in listed if tool["annotations"]["readOnlyHint"]} == {
        *("get_generation", "get_batch", "list_models", "search_gallery")
    }


def test_a_picture_is_drawn_shown_and_linked(client, worker, next_job, context):
    with next_job(worker.finish):
        found = result(call(client, "generate_image", prompt="a fox", num_images=2, seed=7, width=256, height=256))
    body = check("generate_image", found)
    assert (body["status"], body["prompt"], body["percent"]) == ("COMPLETED", "a fox", 100)
    assert [one["seed"] for one in body["images"]] == [7, 8]
    assert [picture.size for picture in small(found)] == [(64, 48)] * 2
    links = [one for one in found["content"] if one["type"] == "resource_link"]
    assert [one["uri"] for one in links] == [one["url"] for one in body["images"]]
    assert client.get(links[0]["uri"]).data.startswith(b"\x89PNG")
    text = found["content"][0]["text"]
    assert body["job_id"] in text
    assert links[1]["uri"] in text
    request = context.jobs.get(body["job_id"]).request
    assert (request.width, request.height, request.num_images, request.seed) == (256, 256, 2, 7)


def test_numbers_may_be_text_and_fields_have_their_usual_names(client, context):
    answer = call(client, "submit_generation", prompt="x", settings={"steps": 5})
    assert context.jobs.get(result(answer)["structuredContent"]["job_id"]).request.num_inference_steps == 5
    answer = call(client, "generate_image", prompt="x", width="256", height=256.0, steps=5, wait_seconds="0")
    body = result(answer)["structuredContent"]
    request = context.jobs.get(body["job_id"]).request
    assert (request.width, request.num_inference_steps) == (256, 5)
    assert "steps was read as num_inference_steps" in body["warnings"][0]


def test_one_that_takes_longer_is_told_how_to_go_on(client, worker, context):
    found = result(call(client, "generate_image", prompt="x", wait_seconds=0))
    body = check("generate_image", found)
    assert (body["status"], body["position"], body["images"]) == ("PENDING", 1, [])
    assert "get_generation" in found["content"][0]["text"]
    worker.finish()
    found = result(call(client, "get_generation", job_id=f" {body['job_id'].upper()} "))
    assert check("get_generation", found)["status"] == "COMPLETED"
    assert len(small(found)) == 1


def test_a_failure_is_a_result_that_says_what_to_do(client, worker, next_job):
    with next_job(worker.fail):
        found = tool_error(call(client, "generate_image", prompt="x"))
    assert found["code"] == "out_of_memory"
    job_id = result(call(client, "submit_generation", prompt="x"))["structuredContent"]["job_id"]
    worker.fail()
    body = check("get_generation", result(call(client, "get_generation", job_id=job_id)))
    assert (body["status"], body["error"]["code"]) == ("FAILED", "out_of_memory")


@pytest.mark.parametrize(
    ("tool", "arguments", "code", "field"),
    [
        ("generate_image", {}, "invalid_request", "prompt"),
        ("generate_image", {"prompt": "x", "colour": "red"}, "invalid_request", "colour"),
        ("generate_image", {"prompt": "x", "num_images": 99}, "invalid_request", "num_images"),
        ("generate_image", {"prompt": "x", "width": 7}, "invalid_request", "width"),
        ("generate_image", {"prompt": "{{config.items()}}"}, "suspicious_input", "prompt"),
        ("generate_image", {"prompt": "x", "model_id": "nothing"}, "unknown_model", None),
        ("generate_image", {"prompt": "x" * 5000}, "prompt_too_long", "prompt"),
        ("generate_image", {"prompt": "a\0b"}, "invalid_request", "params.arguments.prompt"),
        ("edit_image", {"prompt": "x", "image": "none"}, "invalid_image", "image"),
        ("make_video", {"prompt": "x", "model_id": "demo"}, "unsupported_task", "model_id"),
        ("make_video", {"prompt": "x"}, "unsupported_task", "model_id"),
        ("submit_generation", {"prompt": "x", "settings": {"num_images": 99}}, "invalid_request", "num_images"),
        ("get_generation", {"job_id": "0" * 32}, "job_not_found", None),
        ("get_generation", {"job_id": "../x"}, "job_not_found", None),
        ("cancel_generation", {"job_id": "0" * 32}, "job_not_found", None),
        ("list_models", {"task": "paint"}, "invalid_request", "task"),
        ("search_gallery", {"cursor": "x"}, "invalid_request", "cursor"),
    ],
)
def test_what_cannot_be_done_is_said(client, context, tool, arguments, code, field):
    answer = call(client, tool, **arguments)
    is_message = field != "params.arguments.prompt"
    found = tool_error(answer) if is_message else error(answer)["data"]
    assert found["code"] == code
    assert [one["field"] for one in found["errors"]] == ([] if field is None else [field])
    assert not context.jobs.count_pending()


def test_cancelling(client, context, submit, worker):
    job_id = result(call(client, "submit_generation", prompt="x"))["structuredContent"]["job_id"]
    found = result(call(client, "cancel_generation", job_id=job_id))
    assert check("cancel_generation", found)["status"] == "CANCELLED"
    assert context.jobs.get(job_id).status is JobStatus.CANCELLED
    submit()
    worker.finish()
    [job_id] = [job.id for job in context.jobs.newest([JobStatus.COMPLETED], limit=1)]
    assert tool_error(call(client, "cancel_generation", job_id=job_id))["code"] == "conflict"


def test_an_edit_starts_from_a_picture_of_the_gallery(client, worker, next_job, submit, context):
    submit()
    [image] = worker.finish()
    with next_job(worker.finish):
        found = result(call(client, "edit_image", prompt="blue", image=image, strength=0.5))
    request = context.jobs.get(found["structuredContent"]["job_id"]).request
    assert (request.task, request.strength, request.pictures[0].image_id) == ("img2img", 0.5, image)


def test_a_video_is_made_by_a_model_that_can(settings_in, tmp_path):
    line = 'film;owner/film;Films;replicate;false;{"media": "video", "tasks": ["txt2video"]}'
    app = create_app(settings_in(tmp_path, model_lines={"MODEL_F": line}, replicate_api_token="r8_x"))
    context = app.extensions["cyberimage"].context
    with app.test_client() as client:
        body = result(call(client, "make_video", prompt="a boat", num_frames=9, wait_seconds=0))
        request = context.jobs.get(body["structuredContent"]["job_id"]).request
        assert (request.model_id, request.task, request.num_frames) == ("film", "txt2video", 9)
        assert tool_error(call(client, "generate_image", prompt="x", model_id="film"))["code"] == "unsupported_task"
    context.close()


def test_models(client):
    body = check("list_models", result(call(client, "list_models")))
    assert body["default"] == "demo"
    assert {model["available"] for model in body["models"]} == {True}
    every = check("list_models", result(call(client, "list_models", include_unavailable=True, task="txt2img")))
    assert len(every["models"]) > len(body["models"])
    assert json.loads(result(call(client, "list_models"))["content"][0]["text"]) == body


def test_the_gallery_is_searched_in_pages(client, worker, submit):
    for prompt in ("a red fox", "a blue fox", "a house"):
        submit(prompt)
        worker.finish()
    found = result(call(client, "search_gallery", search="fox", limit=1))
    body = check("search_gallery", found)
    assert [one["prompt"] for one in body["images"]] == ["a blue fox"]
    assert found["content"][1]["uri"] == body["images"][0]["url"]
    rest = result(call(client, "search_gallery", search="fox", cursor=body["next_cursor"]))["structuredContent"]
    assert ([one["prompt"] for one in rest["images"]], rest["next_cursor"]) == (["a red fox"], None)


def test_resources_are_the_gallery(client, worker, submit):
    submit("a red fox")
    [image] = worker.finish()
    [resource] = result(ask(client, "resources/list"))["resources"]
    assert (resource["uri"], resource["title"]) == (f"cyberimage://images/{image}", "a red fox")
    template = result(ask(client, "resources/templates/list"))["resourceTemplates"][0]["uriTemplate"]
    assert template == "cyberimage://images/{image_id}"
    url = f"http://localhost/api/image/{image}?expires=1&signature=x"
    for uri in (resource["uri"], url):
        picture, about = result(ask(client, "resources/read", {"uri": uri}))["contents"]
        assert Image.open(io.BytesIO(base64.b64decode(picture["blob"]))).format == "WEBP"
        assert json.loads(about["text"])["manifest"]["prompt"] == "a red fox"
    for uri in ("cyberimage://images/" + "0" * 32, "file:///etc/passwd", f"cyberimage://images/{image}/../x"):
        assert error(ask(client, "resources/read", {"uri": uri}))["code"] == -32002
        body, headers = stateless("resources/read", {"uri": uri})
        answer = client.post("/mcp", json=body, headers=JSON | headers)
        assert (answer.status_code, error(answer)["code"]) == (400, -32602)
    assert error(ask(client, "resources/list", {"cursor": "x"}))["code"] == -32602


def test_pictures_stay_within_what_programs_take(context, monkeypatch):
    monkeypatch.setattr(content, "MOST_PICTURE_BYTES", 3000)
    noise = Image.effect_noise((256, 256), 90).convert("RGB")
    buffer = io.BytesIO()
    noise.save(buffer, "PNG")
    monkeypatch.setattr("app.services.media.gallery.read_file", lambda *_, **__: buffer.getvalue())
    made = content.pictures(context, [_Output(), _Output()])
    assert sum(len(base64.b64decode(one["data"])) for one in made) <= 3000
    assert all(Image.open(io.BytesIO(base64.b64decode(one["data"]))).width > 10 for one in made)


class _Output:
    media = "image"

    def __init__(self) -> None:
        self.sha256 = uuid.uuid4().hex


def events(answer) -> list[dict]:
    assert answer.mimetype == "text/event-stream"
    return [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data: ")]


def test_progress_is_told_to_who_asks_for_it(client, worker, next_job):
    def work() -> None:
        claim = worker.claim()
        for step in (2, 5):
            worker.progress(claim, step)
        worker.finish(claim)

    body = message(
        "tools/call", {"name": "generate_image", "arguments": {"prompt": "x"}, "_meta": {"progressToken": "t"}}
    )
    with next_job(work):
        *told, last = events(client.post("/mcp", json=body, headers=SSE))
    assert {one["method"] for one in told} == {"notifications/progress"}
    assert {one["params"]["progressToken"] for one in told} == {"t"}
    numbers = [one["params"]["progress"] for one in told]
    assert numbers == sorted(set(numbers))
    assert all(one["params"]["message"] for one in told)
    assert last["id"] == 1
    assert last["result"]["structuredContent"]["status"] == "COMPLETED"


def test_progress_does_not_go_back_when_a_job_is_tried_again(submit, worker, context):
    encoder = ProgressEncoder(Call(1, "tools/call", "2026-07-28", progress_token="t"))
    job_id = submit()

    def told() -> list[float]:
        found = encoder.encode(view(context, job_id), None)
        return [json.loads(one.split(b"data: ")[1])["params"]["progress"] for one in found]

    assert (told(), told()) == ([0], [])
    claim = worker.claim()
    worker.progress(claim, 10)
    [half] = told()
    context.claims.release(claim)
    assert told() == []
    worker.progress(worker.claim(), 2)
    assert told() == []
    assert half > 0


def test_without_a_token_a_stream_has_the_answer_alone(client, worker, next_job):
    with next_job(worker.finish):
        [only] = events(call(client, "generate_image", SSE, prompt="x"))
    assert only["result"]["structuredContent"]["status"] == "COMPLETED"
    with next_job(worker.fail):
        [only] = events(call(client, "generate_image", SSE, prompt="x"))
    assert only["result"]["isError"] is True


def test_a_stream_that_cannot_be_opened_makes_no_job(client, app, context, monkeypatch):
    monkeypatch.setattr(app.extensions["cyberimage"].stream_hub, "_max_listeners", 0)
    assert tool_error(call(client, "generate_image", SSE, prompt="x"))["code"] == "unavailable"
    assert not context.jobs.count_pending()


def test_a_fault_of_ours_is_answered_without_its_details(client, worker, next_job, monkeypatch):
    monkeypatch.setattr("app.api.mcp.drawing.drawn", lambda *_: 1 // 0)
    with next_job(worker.finish):
        [only] = events(call(client, "generate_image", SSE | {"Via": "proxy"}, prompt="x"))
    assert (only["id"], only["error"]["code"], only["error"]["data"]["code"]) == (1, -32603, "internal")
    assert "ZeroDivision" not in str(only)

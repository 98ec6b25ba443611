"""The OpenAPI document and the server say the same: every route is described, every answer is as described."""

from __future__ import annotations

import re
from importlib import import_module
from pkgutil import iter_modules

import pytest
from pydantic import BaseModel

from app.api import schemas, v1
from app.api.native import generate
from app.core.request import GenerationInput
from app.core.response_body import ResponseBody
from app.store.queue.workers import WorkerReport
from tools import api_reference

PROBLEM = "application/problem+json"


def test_it_is_an_openapi_document(client):
    document = client.get("/openapi.json").json
    assert document["openapi"].startswith("3.1")
    assert document["info"]["title"] == "CyberImage"
    names = set(document["components"]["schemas"])
    assert set(re.findall(r"#/components/schemas/(\w+)", str(document))) <= names


def test_every_route_is_described(app):
    described = {(method.upper(), path) for path, item in app.api_doc["paths"].items() for method in item}
    other = {path for rule in app.url_map.iter_rules() for path in v1.other_spellings(rule.rule)}
    assert "/v1/txt2img" in other
    served = {
        (method, re.sub(r"<(?:path:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if rule.endpoint != "static"
        and not rule.endpoint.startswith("docs.")
        and rule.rule not in other
        and not rule.websocket
    }
    assert served == described


@pytest.fixture
def answers(client, submit, worker, next_job, context):
    """One answer or more of every route: (method, path in the document, response)."""
    found = []

    def call(method: str, path: str, *, url: str | None = None, **request):
        found.append((method, path, client.open(url or path, method=method, **request)))
        return found[-1][2]

    with next_job(worker.finish):
        call("POST", "/api/v1/generate/txt2img", json={"prompt": "x"})
    with next_job(worker.fail):
        call("POST", "/api/v1/generate/txt2img", json={"prompt": "x"})
    for body in ({}, {"prompt": "x", "timeout": 0}):
        call("POST", "/api/v1/generate/txt2img", json=body)
    worker.finish()
    call("POST", "/api/v1/generate/img2img", json={"prompt": "x"})
    call("POST", "/api/v1/generate/img2img", json={"prompt": "x", "image": "none"})
    inference = "/api/v1/inference/{model_id}"
    with next_job(worker.finish):
        call("POST", inference, url="/api/v1/inference/demo", json={"inputs": "x"})
    call("POST", inference, url="/api/v1/inference/none", json={"inputs": "x"})
    call("POST", "/api/v1/loras/load", json={"lora_path": "none"})
    call("POST", "/api/v1/loras/load", json={"lora_path": "somebody/style", "name": "style"})
    for body in ({"name": "style"}, {"lora_path": "style"}, {}):
        call("POST", "/api/v1/loras/unload", json=body)
    call("GET", "/api/v1/loras")
    for verb in ("load", "unload"):
        for model_id in ("demo", "unknown"):
            call("POST", f"/api/v1/models/{verb}", json={"model_id": model_id})
    context.workers.heartbeat(WorkerReport("w1", "here", 1, "cpu", models=[{"model_id": "demo"}]))
    for path, body in (("load", {"model_id": "demo"}), ("load", {"model_id": "sd15", "timeout": 0}), ("load", {})):
        call("POST", f"/api/v1/models/{path}", json=body)
    for body in ({"model_id": "sd15"}, {"timeout": 0}, {"model": 1}):
        call("POST", "/api/v1/models/unload", json=body)
    for path in ("/", "/livez", "/health", "/readyz", "/status", "/metrics"):
        call("GET", path)
    for path in ("/api/models", "/api/loras", "/api/schedulers", "/api/queue", "/api/images", "/api/v1/models"):
        call("GET", path)
    call("POST", "/api/generate", json={"prompt": "x", "model_id": "sana-sprint", "settings": {"seed": 1}})
    call("POST", "/api/generate", json={})
    call("POST", "/api/generate", data="x")
    done = submit()
    failed, cancelled, running, waiting = submit(), submit(), submit(), submit()
    client.post(f"/api/jobs/{cancelled}/cancel")
    worker.finish()
    image = worker.finish()[0]
    worker.fail()
    worker.claim()
    for job in (done, failed, cancelled, running, waiting, "unknown"):
        call("GET", "/api/status/{job_id}", url=f"/api/status/{job}")
        call("GET", "/api/status/{job_id}", url=f"/api/status/{job}?signed=1")
        call("POST", "/api/jobs/{job_id}/retry", url=f"/api/jobs/{job}/retry")
        call("POST", "/api/jobs/{job_id}/cancel", url=f"/api/jobs/{job}/cancel")
    call("GET", "/api/jobs/{job_id}/events", url=f"/api/jobs/{done}/events")
    call("GET", "/api/jobs/{job_id}/events", url=f"/api/jobs/{done}/events", headers={"Last-Event-ID": "9" * 9})
    for status in ("COMPLETED", "PENDING", "CANCELLED", "FAILED", "LOST"):
        call("GET", "/api/images", url=f"/api/images?status={status}")
    for path in ("/api/queue", "/status"):
        call("GET", path)
    submit(webhook_url="https://8.8.8.8/hook", priority=10)
    worker.finish()
    messages = call("GET", "/api/webhooks/deliveries").json["deliveries"]
    for which in (messages[0]["delivery_id"], "unknown"):
        path = "/api/webhooks/deliveries/{delivery_id}/replay"
        call("POST", path, url=path.format(delivery_id=which))
    for which in (image, "unknown"):
        for part in ("", "/thumbnail", "/metadata"):
            call("GET", "/api/image/{image_id}" + part, url=f"/api/image/{which}{part}")
        for method in ("PUT", "DELETE"):
            call(method, "/api/image/{image_id}/favorite", url=f"/api/image/{which}/favorite")
        call("POST", "/api/image/{image_id}/rerun", url=f"/api/image/{which}/rerun")
        for body in ({}, {"seconds": 10**9}):
            call("POST", "/api/image/{image_id}/signed-url", url=f"/api/image/{which}/signed-url", json=body)
        call("GET", "/api/image/{image_id}", url=f"/api/image/{which}?expires=1&signature=x")
        call("GET", "/api/image/{image_id}/thumbnail", url=f"/api/image/{which}/thumbnail?expires=1&signature=x")
        call("DELETE", "/api/image/{image_id}", url=f"/api/image/{which}")
    for media in ("image", "video"):
        call("GET", f"/api/{media}-models")
        path = f"/api/{media}-models/{{owner}}/{{name}}/schema"
        call("GET", path, url=path.format(owner="some", name="body"))
        for body in ({"model": "some/body", "input": {}}, {"model": "some/body"}):
            call("POST", f"/api/run-{media}-model", json=body)
        for which in (waiting, image, "unknown"):
            call("GET", f"/api/{media}s/{{generation_id}}", url=f"/api/{media}s/{which}")
    call("GET", "/api/videos")
    call("POST", "/api/webhooks/replicate", json={})
    call("GET", "/api/keys")
    call("POST", "/api/keys", json={"name": "x"})
    call("PUT", "/api/keys/{key_id}", url="/api/keys/1", json={})
    call("DELETE", "/api/keys/{key_id}", url="/api/keys/1")
    call("POST", "/cleanup")
    call("GET", "/api/session")
    call("POST", "/api/session", json={"token": "x"})
    call("DELETE", "/api/session")
    return found


def test_every_answer_is_as_described(app, answers):
    document = app.api_doc
    for method, path, response in answers:
        described = document["paths"][path][method.lower()]["responses"]
        assert str(response.status_code) in described, (method, path, response.status_code)
        content = described[str(response.status_code)].get("content", {})
        if not content:
            assert response.data == b""
            continue
        assert response.mimetype in content, (method, path, response.mimetype)
        reference = content[response.mimetype]["schema"].get("$ref")
        if reference:
            check_body(schema(reference.rpartition("/")[2]), response.get_json(force=True))


def schema(name: str) -> type[BaseModel]:
    modules = [import_module(f"{schemas.__name__}.{module.name}") for module in iter_modules(schemas.__path__)]
    found: set[type[BaseModel]] = {vars(module)[name] for module in modules if name in vars(module)}
    assert len(found) == 1, (name, found)
    return found.pop()


def check_body(model: type[BaseModel], body: object) -> None:
    """`body` has the members of `model`, of the right types, and no others."""
    assert model.model_validate(body, strict=False).model_dump(mode="json") == body


def test_every_route_was_asked(app, answers):
    routes = {(method.upper(), path) for path, item in app.api_doc["paths"].items() for method in item}
    assert {(method, path) for method, path, _ in answers} == routes


def test_the_schemas_of_the_document_are_those_of_the_answers(app):
    described = app.api_doc["components"]["schemas"]
    for name in ("Accepted", "JobBody", "GalleryBody", "ModelsBody", "QueueBody", "StatusBody", "Problem"):
        assert set(described[name]["properties"]) == set(schema(name).model_fields)
        assert set(described[name]["required"]) == set(schema(name).model_fields)


def test_every_documented_answer_is_made_by_its_class(app):
    """A view that returned a dict would state the fields of its response a second time."""
    for name in response_schemas(app.api_doc):
        assert issubclass(schema(name), ResponseBody), name
    returned = {name: str(view.__annotations__.get("return")) for name, view in app.view_functions.items()}
    assert [name for name, kind in returned.items() if "dict[str, Any]" in kind] == []


def response_schemas(document: dict) -> set[str]:
    contents = [
        content
        for item in document["paths"].values()
        for about in item.values()
        for response in about["responses"].values()
        for content in response.get("content", {}).values()
    ]
    references = [content["schema"].get("$ref", "") for content in contents]
    return {reference.rpartition("/")[2] for reference in references if reference}


def test_the_body_of_a_generation_is_the_request_of_the_core():
    assert set(generate.GenerateBody.model_fields) - set(GenerationInput.model_fields) == {"priority", "webhook_url"}


def test_problems_are_problem_documents(app):
    for item in app.api_doc["paths"].values():
        for about in item.values():
            assert set(about["responses"]["default"]["content"]) == {PROBLEM}


def test_the_reference_is_up_to_date():
    assert api_reference.PAGE.read_text() == api_reference.render(api_reference.openapi_document()), (
        "run: python -m tools.api_reference"
    )


def test_a_body_without_required_members_is_documented_as_optional(app):
    paths = app.api_doc["paths"]
    required = {path: paths[path]["post"]["requestBody"]["required"] for path in ("/cleanup", "/api/v1/models/unload")}
    assert required == {"/cleanup": False, "/api/v1/models/unload": False}
    assert paths["/api/generate"]["post"]["requestBody"]["required"] is True

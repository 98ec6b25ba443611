"""The OpenAPI document and the server say the same: every route is described, every answer is as described."""

from __future__ import annotations

import re
from importlib import import_module
from pkgutil import iter_modules
from typing import get_type_hints

import pytest
from pydantic import BaseModel

from app.api import openai, schemas, v1
from app.api.http.request_model import RequestModel
from app.api.native import generate
from app.core.request import GenerationInput
from app.core.response_body import ResponseBody
from app.store.queue.workers import WorkerReport
from tools import api_reference

PARTS = {"query", "header", "form", "cookie"}
PROBLEM = "application/problem+json"
PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="  # one pixel
)


def test_it_is_an_openapi_document(client):
    document = client.get("/openapi.json").json
    assert document["openapi"].startswith("3.1")
    assert document["info"]["title"] == "CyberImage"
    names = set(document["components"]["schemas"])
    assert set(re.findall(r"#/components/schemas/(\w+)", str(document))) <= names


def test_every_route_is_described(app):
    described = {(method.upper(), path) for path, item in app.api_doc["paths"].items() for method in item}
    spellings = (v1.other_spellings, openai.other_spellings)
    other = {path for rule in app.url_map.iter_rules() for other in spellings for path in other(rule.rule)}
    assert "/v1/txt2img" in other
    served = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if rule.endpoint != "static"
        and not rule.endpoint.startswith(("docs.", "offline."))
        and rule.rule not in other
        and not rule.websocket
    }
    assert served == described


def test_no_request_makes_a_json_schema(app):
    """flask-openapi3 asks for that of queries, headers and forms in every request: a RequestModel's is made once."""
    views = [getattr(view, "__wrapped__", view) for view in app.view_functions.values()]
    hints = [(name, hint) for view in views for name, hint in get_type_hints(view).items() if name in PARTS]
    models = [model for _, model in hints]
    assert {name for name, _ in hints} >= {"query", "header"}
    assert [model for model in models if not issubclass(model, RequestModel)] == []
    assert all(model.model_json_schema() is model.model_json_schema() for model in models)


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
    generations = "/api/openai/v1/images/generations"
    for more in ({}, {"stream": True}):
        with next_job(worker.finish):
            call("POST", generations, json={"prompt": "x", **more})
    with next_job(worker.fail):
        call("POST", generations, json={"prompt": "x"})
    for body in ({}, {"prompt": "x", "model": "none"}):
        call("POST", generations, json=body)
    for path in ("edits", "variations"):
        call("POST", f"/api/openai/v1/images/{path}", json={"prompt": "x", "image": "none"})
    for model in ("demo", "none"):
        call("GET", "/api/openai/v1/models/{model_id}", url=f"/v1/models/{model}")
    for path in ("txt2img", "img2img"):
        with next_job(worker.finish):
            call("POST", f"/sdapi/v1/{path}", json={"prompt": "x", "init_images": [PICTURE]})
        call("POST", f"/sdapi/v1/{path}", json={})
    for path in (
        *("options", "progress", "sd-models", "samplers", "schedulers", "upscalers", "latent-upscale-modes", "loras"),
        *("embeddings", "sd-vae", "scripts", "cmd-flags", "memory", "prompt-styles", "hypernetworks"),
        *("face-restorers", "realesrgan-models"),
    ):
        call("GET", f"/sdapi/v1/{path}")
    for path in (
        *("options", "interrupt", "skip", "refresh-checkpoints", "refresh-loras", "refresh-vae", "interrogate"),
        "png-info",
    ):
        call("POST", f"/sdapi/v1/{path}", json={"image": PICTURE})
    for path, pictures in (("single-image", {"image": PICTURE}), ("batch-images", {"imageList": [{"data": PICTURE}]})):
        with next_job(worker.finish):
            call("POST", f"/sdapi/v1/extra-{path}", json=pictures)
        call("POST", f"/sdapi/v1/extra-{path}", json={})
    call("POST", "/sdapi/v1/options", json={"sd_model_checkpoint": "none"})
    call("POST", "/sdapi/v1/png-info", json={})
    call("POST", "/internal/progress", json={"id_task": "x"})
    for path in ("version", "model_list", "module_list"):
        call("GET", f"/controlnet/{path}")
    for pictures in ([PICTURE], ["none"]):
        call("POST", "/controlnet/detect", json={"controlnet_module": "canny", "controlnet_images": pictures})
    call("GET", "/api/embeddings")
    for processor in ("canny", "depth"):
        call("POST", "/api/preprocess", json={"image": PICTURE, "processor": processor})
    for method in ("ping", "tools/list", "resources/list", "none"):
        call("POST", "/mcp", json={"jsonrpc": "2.0", "id": 1, "method": method})
    call("POST", "/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"})
    call("POST", "/mcp", json={"id": 1})
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
    for path in (
        "/api/models",
        "/api/loras",
        "/api/schedulers",
        "/api/upscalers",
        "/api/queue",
        "/api/images",
        "/api/v1/models",
    ):
        call("GET", path)
    for model_id in ("sd15", "demo", "unknown"):
        call("DELETE", "/api/models/{model_id}/files", url=f"/api/models/{model_id}/files")
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
    source = client.post("/api/generate", json={"prompt": "x", "image": PICTURE, "settings": {"strength": 0.5}})
    path = "/api/jobs/{job_id}/inputs/{slot}"
    for job in (source.json.get("job_id", done), done, "unknown"):
        call("GET", path, url=f"/api/jobs/{job}/inputs/image")
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
        call("POST", "/api/image/{image_id}/upscale", url=f"/api/image/{which}/upscale", json={"model": "lanczos"})
        call("GET", "/api/image/{image_id}/lineage", url=f"/api/image/{which}/lineage")
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
    call("GET", "/api/tags")
    kept = client.get("/api/images").json["images"][0]["image_id"]
    for body in ({"action": "tag", "ids": [kept], "tags": ["x"]}, {"action": "delete", "filter": {}, "ids": []}):
        call("POST", "/api/images/actions", json=body)
    for body in ({"ids": [kept]}, {"ids": ["0" * 32]}, {}):
        call("POST", "/api/images/zip", json=body)
    ask_for_batches(call)
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


def ask_for_batches(call) -> None:
    made = None
    for body in ({"prompt": "{x|y}"}, {"prompt": "x", "dry_run": True}, {"prompt": ""}):
        made = call("POST", "/api/batches", json=body).json.get("batch_id") or made
        path = "/api/batches/{batch_id}/jobs"
        call("POST", path, url=path.format(batch_id=made), json=body)
    call("GET", "/api/batches")
    for which in (made, "unknown"):
        for part in ("", "/grid", "/zip", "/table"):
            call("GET", "/api/batches/{batch_id}" + part, url=f"/api/batches/{which}{part}")
        for verb in ("pause", "resume", "priority", "cancel", "retry-failed"):
            url = f"/api/batches/{which}/{verb}"
            body = {"priority": 1} if verb == "priority" else {"cancelled": True} if verb == "retry-failed" else None
            call("POST", f"/api/batches/{{batch_id}}/{verb}", url=url, json=body)
        call("POST", "/api/batches/{batch_id}/retry-failed", url=f"/api/batches/{which}/retry-failed", json={})
        call("POST", "/api/batches/{batch_id}/cancel", url=f"/api/batches/{which}/cancel")  # so that streams end
        call("GET", "/api/batches/{batch_id}/events", url=f"/api/batches/{which}/events")


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
            is_facade = set(about["tags"]) <= {"OpenAI images", "AUTOMATIC1111", "MCP"}
            shape = "application/json" if is_facade else PROBLEM
            for kind in ("4XX", "5XX"):
                assert set(about["responses"][kind]["content"]) == {shape}


def test_generators_of_clients_find_what_they_need(app):
    document = app.api_doc
    assert [server["url"] for server in document["servers"]] == ["/"]
    assert document["info"]["license"]["identifier"] == "Apache-2.0"
    assert {"unknown_model", "queue_full"} <= set(
        document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]
    )
    assert document["webhooks"]["job_ended"]["post"]["requestBody"]["content"]
    accepted = document["paths"]["/api/generate"]["post"]["responses"]["202"]
    assert set(accepted["headers"]) == {"X-Request-Id", "Location"}
    assert "ETag" in document["paths"]["/api/image/{image_id}"]["get"]["responses"]["200"]["headers"]


def test_members_of_requests_have_no_defaults(app):
    """Generators would make them required."""
    schemas = app.api_doc["components"]["schemas"]
    for name in ("GenerateBody", "GenerationSettings", "Txt2ImgBody", "InputChoice"):
        members = schemas[name]["properties"].values()
        assert not [member for member in members if "default" in member], name
    assert schemas["GenerationSettings"]["properties"]["num_images"]["description"].endswith("Default: 1.")


@pytest.mark.parametrize(
    ("path", "left_out", "lists"),
    [
        ("/api/generate", {"inputs"}, set()),
        ("/api/v1/generate/img2img", {"inputs"}, set()),
        ("/api/v1/inference/{model_id}", {"parameters"}, set()),
        ("/api/openai/v1/images/edits", set(), {"images"}),
    ],
)
def test_a_form_takes_the_same_members_and_pictures_as_files(app, path, left_out, lists):
    """But for objects and lists of them, which only `settings` may be."""
    document = app.api_doc
    content = document["paths"][path]["post"]["requestBody"]["content"]
    plain, form = (
        document["components"]["schemas"][content[kind]["schema"]["$ref"].rpartition("/")[2]]["properties"]
        for kind in ("application/json", "multipart/form-data")
    )
    assert set(form) == set(plain) - left_out - lists | {f"{name}[]" for name in lists}
    assert form["inputs" if "inference" in path else "image"]["format"] == "binary"
    assert all(form[f"{name}[]"]["items"]["format"] == "binary" for name in lists)


def test_a_form_is_not_described_where_it_cannot_carry_what_is_required(app):
    body = app.api_doc["paths"]["/sdapi/v1/extra-batch-images"]["post"]["requestBody"]
    assert list(body["content"]) == ["application/json"]


def test_members_of_forms_are_never_null(app):
    forms = {name: schema for name, schema in app.api_doc["components"]["schemas"].items() if name.endswith("Form")}
    assert len(forms) > 5
    assert "'null'" not in str([schema["properties"] for schema in forms.values()])


def test_every_operation_has_an_id_of_its_own(app):
    ids = [about["operationId"] for item in app.api_doc["paths"].values() for about in item.values()]
    assert sorted(set(ids)) == sorted(ids)


def test_the_reference_is_up_to_date():
    assert api_reference.PAGE.read_text() == api_reference.render(api_reference.openapi_document()), (
        "run: python -m tools.api_reference"
    )


def test_a_body_without_required_members_is_documented_as_optional(app):
    paths = app.api_doc["paths"]
    required = {path: paths[path]["post"]["requestBody"]["required"] for path in ("/cleanup", "/api/v1/models/unload")}
    assert required == {"/cleanup": False, "/api/v1/models/unload": False}
    assert paths["/api/generate"]["post"]["requestBody"]["required"] is True

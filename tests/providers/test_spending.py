"""SPEND_LIMIT_…: remote generations of a client in a day, by every route that makes them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app import create_app
from app.config import load_settings
from app.core.provider_input import NAMES
from app.errors import ConfigurationError
from tests.providers.replicate_server import StandIn
from tests.providers.schemas import document
from tests.worker.harness import Harness

BODIES = (
    ("/api/generate", {"prompt": "x", "model_id": "painter"}),
    ("/api/run-image-model", {"model": "acme/painter", "input": {"prompt": "x", "num_outputs": 2}}),
    ("/v1/generate/txt2img", {"prompt": "x", "model_id": "painter", "timeout": 0}),
)


@pytest.mark.parametrize(("path", "body"), BODIES)
def test_beyond_the_limit(
    new_harness: Callable[..., Harness], settings: dict[str, str], path: str, body: dict[str, object]
) -> None:
    client = create_app(new_harness(**settings, SPEND_LIMIT_PREDICTIONS="1").context.settings).test_client()
    assert client.post(path, json=body).status_code == 202
    refused = client.post(path, json=body)
    assert (refused.status_code, refused.json["code"]) == (429, "spend_limit")
    assert "SPEND_LIMIT_PREDICTIONS" in refused.json["detail"]
    assert 0 < int(refused.headers["Retry-After"]) <= 86_400
    local = client.post("/api/generate", json={"prompt": "x", "model_id": "fake"})
    assert local.status_code == 202, "a model here costs nothing"


def test_prices_by_picture(new_harness: Callable[..., Harness], settings: dict[str, str]) -> None:
    priced = {"MODEL_PAINTER": 'painter;acme/painter;A painter;replicate;false;{"price": 0.25}'}
    limit = {"SPEND_LIMIT_AMOUNT": "0.6", "REMOTE_PRICE": "0.05"}
    client = create_app(new_harness(**settings | priced | limit).context.settings).test_client()
    two = {"prompt": "x", "model_id": "painter", "settings": {"num_images": 2}}
    assert client.post("/api/generate", json=two).status_code == 202
    assert client.post("/api/generate", json=two).json["code"] == "spend_limit"
    for expected in (202, 202, 429):
        answer = client.post("/api/run-image-model", json={"model": "acme/sized", "input": {"prompt": "x"}})
        assert answer.status_code == expected


@pytest.mark.parametrize("name", NAMES["num_images"])
def test_the_number_of_pictures_counts_whatever_the_model_calls_it(
    new_harness: Callable[..., Harness], settings: dict[str, str], provider: StandIn, name: str
) -> None:
    inputs = {"prompt": {"type": "string"}, name: {"type": "integer", "default": 1, "minimum": 1, "maximum": 8}}
    provider.add_model("acme/many", document(inputs), official=True)
    limit = {"SPEND_LIMIT_AMOUNT": "1", "REMOTE_PRICE": "0.25"}
    client = create_app(new_harness(**settings, **limit).context.settings).test_client()
    eight = {"model": "acme/many", "input": {"prompt": "x", name: 8}}
    assert client.post("/api/run-image-model", json=eight).json["code"] == "spend_limit"


def test_a_version_of_another_model_is_refused(
    new_harness: Callable[..., Harness], settings: dict[str, str], provider: StandIn
) -> None:
    """The provider would run it, whatever the name before it; the price is that of the name."""
    client = create_app(new_harness(**settings).context.settings).test_client()
    other = provider.models["acme/painter"]["latest_version"]["id"]
    provider.models["acme/sized"]["versions"] = {"older": {}}
    answers = {
        version: client.post("/api/run-image-model", json={"model": f"acme/sized:{version}", "input": {"prompt": "x"}})
        for version in (other, "older", provider.models["acme/sized"]["latest_version"]["id"])
    }
    assert [answer.status_code for answer in answers.values()] == [400, 202, 202]
    assert answers[other].json["code"] == "unknown_model"


def test_an_ipv6_network_is_one_client(new_harness: Callable[..., Harness], settings: dict[str, str]) -> None:
    client = create_app(new_harness(**settings, SPEND_LIMIT_PREDICTIONS="1").context.settings).test_client()
    path, body = BODIES[0]
    for address, expected in (("2001:db8::1", 202), ("2001:db8::2", 429), ("2001:db8:0:1::1", 202)):
        answer = client.post(path, json=body, environ_base={"REMOTE_ADDR": address})
        assert answer.status_code == expected


def test_an_amount_needs_a_price_for_every_model() -> None:
    with pytest.raises(ConfigurationError, match="REMOTE_PRICE"):
        load_settings({"SPEND_LIMIT_AMOUNT": "5"}, env_file=None)

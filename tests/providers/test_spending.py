"""SPEND_LIMIT_…: remote generations of a client in a day, by every route that makes them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app import create_app
from app.config import load_settings
from app.errors import ConfigurationError
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


def test_an_amount_needs_a_price_for_every_model() -> None:
    with pytest.raises(ConfigurationError, match="REMOTE_PRICE"):
        load_settings({"SPEND_LIMIT_AMOUNT": "5"}, env_file=None)

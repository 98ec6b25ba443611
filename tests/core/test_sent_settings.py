"""Settings as reported: of a provider's model only those that were sent to it."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.request import GenerationRequest, RemoteCall
from app.core.sent_settings import LARGEST_SEED, reported, seed_in

LOCAL = GenerationRequest(model_id="m", prompt="p", negative_prompt="dogs", num_inference_steps=9, seed=5, width=64)
CALL = RemoteCall(source="replicate", model="a/b", chosen=("num_inference_steps", "width"))
REMOTE = LOCAL.model_copy(update={"remote": CALL})


def known(request: GenerationRequest, sent: dict[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in reported(request, sent).settings.items() if value not in (None, [])}


def test_a_local_model_used_what_was_resolved() -> None:
    assert reported(LOCAL, None) == ("dogs", LOCAL.settings())


def test_before_anything_is_sent_only_what_was_chosen_is_reported() -> None:
    assert known(REMOTE, None) == {"num_inference_steps": 9, "width": 64}
    assert reported(REMOTE, None).negative_prompt == "dogs"
    native = REMOTE.model_copy(update={"remote": CALL.model_copy(update={"input": {"prompt": "p", "steps": 3}})})
    assert known(native, None) == {"num_inference_steps": 3}


@pytest.mark.parametrize(
    ("sent", "settings"),
    [
        ({"prompt": "p"}, {}),
        ({"seed": 7, "num_outputs": 2}, {"seed": 7, "num_images": 2}),
        (
            {"steps": 4, "guidance": 2.5, "prompt_strength": 1},
            {"num_inference_steps": 4, "guidance_scale": 2.5, "strength": 1},
        ),
        ({"size": "1024x768", "n": 1}, {"width": 1024, "height": 768, "num_images": 1}),
        ({"width": 640}, {"width": 640}),
        ({"size": "large", "aspect_ratio": "16:9", "seed": "7", "steps": True}, {}),
    ],
)
def test_what_was_sent(sent: dict[str, Any], settings: dict[str, Any]) -> None:
    assert known(REMOTE, sent) == settings
    assert reported(REMOTE, sent).negative_prompt is None
    assert set(reported(REMOTE, sent).settings) == set(LOCAL.settings())


def test_a_negative_prompt_that_was_sent() -> None:
    assert reported(REMOTE, {"negative_prompt": "cats"}).negative_prompt == "cats"
    assert reported(REMOTE, {"negative_prompt": ""}).negative_prompt is None


@pytest.mark.parametrize(
    ("seed", "shown"), [(0, 0), (LARGEST_SEED, LARGEST_SEED), (LARGEST_SEED + 1, None), (-1, None)]
)
def test_seeds(seed: int, shown: int | None) -> None:
    assert seed_in({"seed": seed}) == shown

"""Masked areas and extensions: what is stored with a job, and what is told before there is one."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tests.api.native import test_inputs
from tests.api.native.test_inputs import coded, png

app, send, accepted = test_inputs.app, test_inputs.send, test_inputs.accepted  # its fixtures


def half(size=(64, 64)) -> bytes:
    mask = Image.new("L", size, 0)
    mask.paste(255, (size[0] // 2, 0, *size))
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def extend(client):
    def post(sides, size=(64, 64), **settings):
        source = {"role": "image", "source": coded(png(size)), "extend": sides}
        return client.post("/api/generate", json={"prompt": "a boat", "inputs": [source], "settings": settings})

    return post


def test_an_extension_is_stored_as_picture_and_mask(extend, client, context):
    answer = extend({"right": 30}, strength=0.9)
    assert answer.status_code == 202
    assert answer.json["warnings"] == ["tiny draws multiples of 16 pixels: the picture was extended by right 32."]
    status = client.get(answer.json["status_url"]).json
    assert (status["settings"]["width"], status["settings"]["height"]) == (96, 64)
    assert status["inputs"]["image"]["extend"] == {"left": 0, "top": 0, "right": 30, "bottom": 0}
    assert set(context.inputs.pngs(answer.json["job_id"])) == {"image", "mask"}


def test_a_size_beyond_the_model_is_told_before_anything_is_queued(extend, context):
    answer = extend({"right": 100})
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_image")
    assert "would be 176 × 64 with its extension; tiny draws 32 to 128" in answer.json["detail"]
    assert answer.json["errors"][0]["field"] == "inputs"
    assert context.jobs.count_pending() == 0


def test_a_masked_area_keeps_the_picture_at_its_own_size(accepted):
    status, kept = accepted(coded(png((300, 200))), coded(half((300, 200))), inpaint_area="masked", inpaint_padding=0)
    assert kept["image"].shape == (200, 300, 3)
    assert kept["mask"].shape == (200, 300)
    assert np.unique(kept["mask"]).tolist() == [0, 255]
    assert (status["settings"]["width"], status["settings"]["height"]) == (48, 80)  # 150 × 200, as 64 × 64 pixels
    assert status["settings"]["inpaint_area"] == "masked"


def test_a_mask_without_a_white_part_has_no_area(send, context):
    black, white = coded(png(colour=0, mode="L")), coded(png(colour=255, mode="L"))
    for mask, invert in ((black, False), (white, True)):
        answer = send(coded(png()), mask, inpaint_area="masked", mask_invert=invert)
        assert (answer.status_code, answer.json["errors"][0]["field"]) == (400, "mask")
    assert context.jobs.count_pending() == 0
    assert send(coded(png()), black, inpaint_area="masked", mask_invert=True).status_code == 202


def test_the_flat_interface_takes_the_settings_of_a_mask(client):
    body = {"prompt": "x", "image": coded(png()), "mask": coded(half()), "mask_blur": 4, "inpaint_area": "masked"}
    answer = client.post("/v1/img2img", json=body | {"timeout": 0})
    settings = client.get(answer.json["status_url"]).json["settings"]
    assert (settings["mask_blur"], settings["inpaint_area"], settings["inpaint_padding"]) == (4, "masked", 32)

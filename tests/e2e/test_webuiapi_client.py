"""webuiapi, the client of AUTOMATIC1111's interface, unmodified, against a running service."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import webuiapi
from PIL import Image

from tests.e2e.service import Service
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def api(demo_service: Service) -> webuiapi.WebUIApi:
    return webuiapi.WebUIApi(host="127.0.0.1", port=int(demo_service.environment["PORT"]), steps=4)


def test_lists(api) -> None:
    assert "demo" in api.util_get_model_names()
    assert "Euler a" in api.util_get_sampler_names()
    assert "karras" in api.util_get_scheduler_names()
    assert [one["name"] for one in api.get_upscalers()] == ["None", "drawings-x2", "lanczos"]
    for empty in (
        *(api.get_sd_vae, api.get_hypernetworks, api.get_face_restorers),
        *(api.get_realesrgan_models, api.get_prompt_styles, api.get_loras),
    ):
        assert empty() == []
    assert "Latent (nearest)" in [one["name"] for one in api.get_latent_upscale_modes()]
    assert api.get_embeddings() == {"loaded": {}, "skipped": {}}
    assert api.get_scripts() == {"txt2img": [], "img2img": []}
    assert (api.controlnet_version(), api.controlnet_model_list()) == (3, ["drawings-edges"])
    assert {"none", "canny", "tile"} <= set(api.controlnet_module_list())
    assert api.get_memory()["ram"]["total"] > 0
    assert api.get_cmd_flags()["api"] is True
    assert api.refresh_checkpoints() is None


def test_txt2img(api) -> None:
    result = api.txt2img(prompt="a red circle", seed=7, batch_size=2, width=256, height=256)
    assert [picture.size for picture in result.images] == [(256, 256)] * 2
    assert result.info["all_seeds"] == [7, 8]
    assert result.info["sd_model_name"] == "demo"
    assert "Seed: 7" in result.info["infotexts"][0]
    assert any("cfg_scale: 7" in note for note in result.info["warnings"])  # its default is beyond this model's
    assert result.parameters["prompt"] == "a red circle"


def test_batches_are_pictures_too(api) -> None:
    assert len(api.txt2img(prompt="x", batch_size=2, n_iter=2, width=256, height=256).images) == 4


def test_img2img_with_a_mask(api) -> None:
    """White is painted, and with the mask inverted black is."""
    source = Image.new("RGB", (256, 256), "green")
    mask = Image.new("L", (256, 256), 0)
    mask.paste(255, (0, 0, 128, 256))
    for invert in (0, 1):
        options = {"mask_image": mask, "inpainting_mask_invert": invert, "denoising_strength": 1.0}
        result = api.img2img(images=[source], prompt="a red circle", seed=1, width=256, height=256, **options)
        drawn = np.asarray(result.image.convert("RGB")).astype(int)
        change = np.abs(drawn - np.asarray(source).astype(int)).mean(axis=(0, 2))
        painted, kept = (change[160:], change[:96]) if invert else (change[:96], change[160:])
        assert painted.mean() > 4 * max(kept.mean(), 1.0)


def test_the_model_is_chosen(api) -> None:
    assert api.util_get_current_model() == "demo"
    api.util_set_model("demo-sd3")
    assert api.util_get_current_model() == "demo-sd3"
    try:
        assert api.txt2img(prompt="x", width=256, height=256).info["sd_model_name"] == "demo-sd3"
        override = {"sd_model_checkpoint": "demo"}
        assert api.txt2img(prompt="x", override_settings=override).info["sd_model_name"] == "demo"
    finally:
        api.set_options({"sd_model_checkpoint": "demo"})


def test_png_info(api) -> None:
    picture = api.txt2img(prompt="a blue square", seed=5, width=256, height=256).image
    found = api.png_info(picture)
    assert found.info.startswith("a blue square")


def test_progress_and_interrupt(api) -> None:
    assert api.get_progress()["state"]["job_count"] == 0
    failures: list[RuntimeError] = []

    def draw() -> None:
        try:
            api.txt2img(prompt="x", steps=1000, batch_size=8, width=512, height=512)
        except RuntimeError as error:
            failures.append(error)

    thread = threading.Thread(target=draw)
    thread.start()
    wait_until(lambda: api.get_progress()["state"]["job_count"] == 1, "its progress is not told")
    api.interrupt()
    thread.join(120)
    assert failures
    assert failures[0].args[0] == 409
    api.util_wait_for_ready(check_interval=0.1)


def test_pictures_are_upscaled(api) -> None:
    pictures = [Image.new("RGB", (64, 48), "green"), Image.new("RGB", (40, 40), "red")]
    single = api.extra_single_image(pictures[0], upscaler_1="drawings-x2", upscaling_resize=2)
    assert single.image.size == (128, 96)
    assert "Upscaled by drawings-x2." in single.info
    several = api.extra_batch_images(pictures, upscaler_1="lanczos", upscaling_resize=3)
    assert [picture.size for picture in several.images] == [(192, 144), (120, 120)]
    assert several.images[1].getpixel((60, 60)) == (255, 0, 0)
    sized = api.extra_single_image(pictures[0], resize_mode=1, upscaling_resize_w=200, upscaling_resize_h=50)
    assert sized.image.size == (200, 150)


def test_a_second_pass(api) -> None:
    options = {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "lanczos", "hr_second_pass_steps": 6}
    result = api.txt2img(prompt="a red circle", seed=7, width=256, height=256, denoising_strength=0.5, **options)
    assert result.image.size == (384, 384)
    text = result.info["infotexts"][0]
    assert "Denoising strength: 0.5" in text
    assert "Hires upscale: 1.5, Hires steps: 6, Hires upscaler: lanczos" in text
    assert result.info["extra_generation_params"]["Hires upscaler"] == "lanczos"
    usual = api.txt2img(prompt="a red circle", width=256, height=256, enable_hr=True)  # the client's own defaults
    assert usual.image.size == (512, 512)
    assert "Hires upscaler: Latent" in usual.info["infotexts"][0]


def test_what_is_not_done_is_said(api) -> None:
    with pytest.raises(RuntimeError) as caught:
        api.interrogate(Image.new("RGB", (64, 64)))
    assert caught.value.args[0] == 501

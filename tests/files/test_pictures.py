"""Data in a picture can be read back: pixels, manifest in any script, and the `parameters` text."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app.core.request import GenerationRequest
from app.files.images import THUMBNAIL_PIXELS, encode_png, encode_thumbnail, reencode
from app.files.metadata import (
    MANIFEST_KEY,
    PARAMETERS_KEY,
    build_manifest,
    embedded_metadata,
    parameters_text,
    png_text,
    read_manifest,
    xmp_of,
)
from app.services.media.picture_info import _settings

PROMPTS = ["a boat", "船と猫 🛶", "naïve café — “quoted”", "line one\nline two", 'a "b": c, d', "\\ ' ; <x>"]


def pixels(width: int = 24, height: int = 16) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)


def manifest_of(prompt: str = "a boat", *, marked: bool = True, **values: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {"model_id": "flux-dev", "num_inference_steps": 20, "seed": 7, "guidance_scale": 3.5}
    return build_manifest(
        GenerationRequest(prompt=prompt, **(defaults | values)),
        seed=9,
        width=24,
        height=16,
        effective={"guidance_scale": 3.5, "sigmas": None},
        versions={"cyberimage": "0.1.0", "scheduler": "FlowMatchEuler"},
        job_id="j" * 32,
        image_id="i" * 32,
        created_at="2026-01-02T03:04:05.678Z",
        marked=marked,
    )


@pytest.mark.parametrize("prompt", PROMPTS)
def test_pixels_and_metadata_survive_the_way_through_a_file(prompt: str, tmp_path: Path) -> None:
    original, manifest = pixels(), manifest_of(prompt, negative_prompt=prompt[::-1])
    path = tmp_path / "a.png"
    path.write_bytes(encode_png(original, png_text(manifest)))
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert (np.asarray(picture) == original).all()
        assert picture.text[PARAMETERS_KEY] == parameters_text(manifest)  # type: ignore[attr-defined]
    assert read_manifest(path) == manifest


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=300))
def test_any_prompt_survives(prompt: str) -> None:
    data = encode_png(pixels(8, 8), png_text(manifest_of(prompt)))
    with Image.open(io.BytesIO(data)) as picture:
        assert json.loads(picture.text[MANIFEST_KEY])["prompt"] == prompt  # type: ignore[attr-defined]


def test_the_manifest_makes_the_picture_again() -> None:
    manifest = manifest_of(num_images=4, width=512, height=512)
    assert manifest["settings"] == {
        "num_inference_steps": 20,
        "guidance_scale": 3.5,
        "true_cfg_scale": None,
        "guidance_scale_2": None,
        "width": 24,  # as it was made, not as it was asked for
        "height": 16,
        "seed": 9,
        "num_images": 1,
        "strength": None,
        "loras": [],
        "scheduler": None,
        "shift": None,
        "timestep_spacing": None,
        "sigmas": None,
        "clip_skip": None,
        "prompt_2": None,
        "prompt_weighting": None,
    }
    assert (manifest["model_id"], manifest["job_id"], manifest["image_id"]) == ("flux-dev", "j" * 32, "i" * 32)


def test_a_picture_from_another_program_has_no_manifest(tmp_path: Path) -> None:
    for name, text in (
        ("plain", {}),
        ("foreign", {"parameters": "x"}),
        ("odd", {MANIFEST_KEY: "[1]"}),
        ("bad", {MANIFEST_KEY: "{"}),
    ):
        path = tmp_path / f"{name}.png"
        path.write_bytes(encode_png(pixels(), text))
        assert read_manifest(path) is None, name
    Image.fromarray(pixels()).save(tmp_path / "a.webp")
    assert read_manifest(tmp_path / "a.webp") is None


# --- the parameters line, as AUTOMATIC1111 writes and reads it


def test_the_parameters_text() -> None:
    assert parameters_text(manifest_of("a boat, at sea", negative_prompt="fog: thick")) == (
        "a boat, at sea\n"
        "Negative prompt: fog: thick\n"
        "Steps: 20, Sampler: FlowMatchEuler, CFG scale: 3.5, Seed: 9, Size: 24x16, Model: flux-dev,"
        " Version: CyberImage 0.1.0"
    )


def test_the_parameters_text_includes_loras_and_strength() -> None:
    text = parameters_text(manifest_of(loras=[{"id": "ink", "scale": 0.5}, {"id": "a/b"}], strength=0.75))
    assert 'LoRA: "ink:0.5, a/b:1", Denoising strength: 0.75, Model: flux-dev' in text


def test_a_scheduler_that_was_chosen_has_automatic1111_s_name() -> None:
    def line(**settings: object) -> str:
        return parameters_text(manifest_of(**settings)).splitlines()[-1]

    assert "Sampler: DPM++ 2M, Schedule type: Karras, CFG" in line(scheduler="dpmpp_2m", sigmas="karras")
    assert "Sampler: Euler a, Schedule type: SGM Uniform, CFG" in line(scheduler="euler_a", timestep_spacing="trailing")
    assert "Sampler: FlowMatchEuler, Shift: 3.0, CFG" in line(shift=3.0)
    assert "Clip skip: 2, Model" in line(clip_skip=1)  # counted from the last layer there


def test_controls_and_references_are_units_of_the_controlnet_extension() -> None:
    used = [
        {"role": "control", "model": "edges", "processor": "canny", "weight": 0.9, "end": 0.5},
        {"role": "control", "weight": 1.0},
        {"role": "reference", "model": "look", "weight": 0.5, "revision": "x"},
    ]
    manifest = manifest_of()
    manifest["effective"]["inputs_used"] = used
    text = parameters_text(manifest)
    assert (
        ' ControlNet 0: "Module: canny, Model: edges, Weight: 0.9, Guidance Start: 0, Guidance End: 0.5",'
        ' ControlNet 1: "Module: none, Model: None, Weight: 1, Guidance Start: 0, Guidance End: 1",'
        ' ControlNet 2: "Module: ip-adapter-auto, Model: look, Weight: 0.5", Version' in text
    )
    read = _settings(text)
    assert (read["ControlNet 0 module"], read["ControlNet 0 guidance_end"]) == ("canny", "0.5")
    assert (read["ControlNet 2 model"], read["ControlNet 2 weight"]) == ("look", "0.5")


def test_a_mask_has_automatic1111_s_names() -> None:
    mask = {"mask_blur": 4, "mask_invert": True, "inpaint_area": "masked", "inpaint_padding": 16}
    manifest = manifest_of(task="inpaint", width=24, height=16, **mask, inpaint_fill="blur")
    line = parameters_text(manifest).splitlines()[-1]
    assert (
        "Mask blur: 4, Mask mode: Inpaint not masked, Masked content: fill, Inpaint area: Only masked,"
        " Masked area padding: 16" in line
    )
    assert "Mask" not in parameters_text(manifest_of())


def test_without_negative_prompt_or_guidance_their_parts_are_left_out() -> None:
    manifest = manifest_of(guidance_scale=None) | {"effective": {}}
    assert "Negative prompt" not in parameters_text(manifest)
    assert "CFG scale" not in parameters_text(manifest)
    assert "CFG scale: 3.5" in parameters_text(manifest_of(guidance_scale=None))  # what the pipeline really used


@pytest.mark.parametrize(
    ("scheduler", "written"),
    [
        ("Euler", "Euler"),
        ("DPM++ 2M, Karras", '"DPM++ 2M, Karras"'),
        ("a: b", '"a: b"'),
        ("two\nlines", '"two\\nlines"'),
        ('quo"te', '"quo\\"te"'),
        ("オイラー、a,b", '"オイラー、a,b"'),
    ],
)
def test_values_that_would_break_the_line_are_quoted(scheduler: str, written: str) -> None:
    manifest = manifest_of()
    manifest["versions"]["scheduler"] = scheduler
    line = parameters_text(manifest).splitlines()[-1]
    assert f"Sampler: {written}, CFG scale" in line


# --- thumbnails


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (1024, 512, (THUMBNAIL_PIXELS, THUMBNAIL_PIXELS // 2)),
        (512, 1024, (THUMBNAIL_PIXELS // 2, THUMBNAIL_PIXELS)),
        (THUMBNAIL_PIXELS, THUMBNAIL_PIXELS, (THUMBNAIL_PIXELS, THUMBNAIL_PIXELS)),
        (64, 32, (64, 32)),
        (2048, 8, (THUMBNAIL_PIXELS, 2)),
    ],
)
def test_thumbnails_keep_the_proportions_and_are_never_enlarged(
    width: int, height: int, expected: tuple[int, int]
) -> None:
    with Image.open(io.BytesIO(encode_thumbnail(pixels(width, height)))) as thumbnail:
        assert thumbnail.format == "WEBP"
        assert thumbnail.size == expected


def test_a_thumbnail_looks_like_its_picture() -> None:
    red = np.zeros((600, 600, 3), np.uint8)
    red[..., 0] = 200
    with Image.open(io.BytesIO(encode_thumbnail(red))) as thumbnail:
        assert np.abs(np.asarray(thumbnail.convert("RGB")).mean(axis=(0, 1)) - (200, 0, 0)).max() < 8


def xmp_of_file(data: bytes) -> str:
    with Image.open(io.BytesIO(data)) as picture:
        found = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp") or ""
    return found.decode() if isinstance(found, bytes) else found


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        ("txt2img", "trainedAlgorithmicMedia"),
        ("img2img", "compositeWithTrainedAlgorithmicMedia"),
        ("inpaint", "compositeWithTrainedAlgorithmicMedia"),
    ],
)
def test_a_picture_and_its_thumbnail_say_that_a_machine_made_them(task: str, kind: str) -> None:
    manifest = manifest_of(task=task)
    for data in (encode_png(pixels(), png_text(manifest)), encode_thumbnail(pixels(), xmp_of(manifest))):
        root = ElementTree.fromstring(xmp_of_file(data))
        (about,) = root.iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
        found = about.attrib["{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"]
        assert found == f"http://cv.iptc.org/newscodes/digitalsourcetype/{kind}"
    assert b"iTXtXML:com.adobe.xmp\x00" in encode_png(pixels(), png_text(manifest))


def test_marking_and_metadata_are_two_things() -> None:
    marked = embedded_metadata(manifest_of("a secret"), whole=False)
    data = encode_png(pixels(), png_text(marked))
    assert "DigitalSourceType" in xmp_of_file(data)
    assert b"a secret" not in data
    assert b"job_id" in data
    plain = encode_png(pixels(), png_text(embedded_metadata(manifest_of("no secret", marked=False), whole=True)))
    assert not xmp_of_file(plain)
    assert b"no secret" in plain
    assert not xmp_of_file(encode_thumbnail(pixels()))


@pytest.mark.parametrize("format", ["webp", "jpeg"])
def test_another_format_keeps_the_mark_and_nearly_the_pixels(format) -> None:
    steps = np.linspace(0, 255, 48, dtype=np.uint8)
    drawn = np.repeat(np.stack([steps, steps[::-1], steps], axis=-1)[None], 32, axis=0)
    png = encode_png(drawn, png_text(manifest_of()))
    small, large = (reencode(png, format, quality) for quality in (5, 100))
    assert len(small) < len(large)
    with Image.open(io.BytesIO(large)) as picture:
        assert (picture.format, picture.size) == (format.upper(), (48, 32))
        assert b"trainedAlgorithmicMedia" in picture.info["xmp"]
        assert np.abs(np.asarray(picture.convert("RGB")).astype(int) - drawn).max() < 30

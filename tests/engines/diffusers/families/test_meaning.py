"""Settings reach the argument that has their meaning in the family, and results are said as they are."""

from __future__ import annotations

import dataclasses
import io

import av
import numpy as np
import pytest

from app.engines.diffusers.generate import generate
from app.errors import UnsupportedTask
from tests.engines.diffusers.generate.control import Recorder


@pytest.fixture
def draw(engine, spec_of, ask, built):
    def run(family, inputs=None, media="image", **asked):
        spec = spec_of(built(family), media=media)
        return engine.generate(spec, ask(**asked), Recorder(), inputs or {})

    return run


def pixels(made):
    return made.images[0].pixels


def test_qwen_s_guidance_acts_without_a_negative_prompt(draw):
    weak, strong = (draw("qwen-image", guidance_scale=scale) for scale in (1.5, 9.0))
    assert not np.array_equal(pixels(weak), pixels(strong))
    assert (strong.effective["true_cfg_scale"], strong.effective["negative_prompt"]) == (9.0, " ")
    assert "guidance_scale" not in " ".join(strong.warnings)


def test_hunyuan_image_s_guidance_is_distilled(draw):
    made = draw("hunyuan-image", guidance_scale=2.0)
    assert made.effective["distilled_guidance_scale"] == 2.0
    assert not [warning for warning in made.warnings if "guidance" in warning]


def test_flux_reads_a_negative_prompt_with_a_true_cfg_scale(draw):
    plain = draw("flux", negative_prompt="blue")
    assert any("send a true_cfg_scale above 1" in warning for warning in plain.warnings)
    guided = draw("flux", negative_prompt="blue", true_cfg_scale=4.0)
    assert not np.array_equal(pixels(plain), pixels(guided))
    assert not [warning for warning in guided.warnings if "negative" in warning]


def test_a_second_guidance_is_that_of_the_second_transformer(draw):
    asked = {"task": "txt2video", "num_frames": 5, "num_inference_steps": 4, "media": "video", "guidance_scale": 4.0}
    first, second = (draw("wan-two-stages", guidance_scale_2=scale, **asked) for scale in (1.5, 9.0))
    assert first.videos[0].content != second.videos[0].content
    assert any("takes no guidance_scale_2" in warning for warning in draw("flux", guidance_scale_2=2.0).warnings)


def test_a_model_that_was_unknown_at_submission_edits_without_a_strength(draw):
    picture = np.full((64, 64, 3), 90, np.uint8)
    made = draw("flux2-dev", {"image": picture}, task="img2img", strength=0.75)
    assert not [warning for warning in made.warnings if "strength" in warning]
    other = draw("flux2-dev", {"image": 255 - picture}, task="img2img", strength=0.75)
    assert not np.array_equal(pixels(made), pixels(other))


def test_each_picture_of_an_edit_counts(draw):
    one, two = np.full((64, 64, 3), 90, np.uint8), np.full((80, 64, 3), 200, np.uint8)
    both = draw("flux2-dev", {"image": one, "ref": two}, task="edit")
    assert not np.array_equal(pixels(both), pixels(draw("flux2-dev", {"image": one}, task="edit")))
    assert not np.array_equal(pixels(both), pixels(draw("flux2-dev", {"image": two, "ref": one}, task="edit")))


def test_a_model_that_only_edits_says_what_to_send(draw):
    with pytest.raises(UnsupportedTask, match="send an image, and say in the prompt what to change"):
        draw("qwen-image-edit", task="txt2img")


def test_a_video_has_its_sound(draw):
    made = draw("ltx2", media="video", task="txt2video", num_frames=9, fps=24)
    with av.open(io.BytesIO(made.videos[0].content)) as film:
        (sound,) = film.streams.audio
        samples = sum(frame.samples for frame in film.decode(sound))
        assert (sound.codec_context.name, samples > 0) == ("aac", True)
        assert abs(samples / sound.rate - 9 / 24) < 0.3


def test_another_number_of_frames_than_was_asked_for_is_said(draw, monkeypatch):
    drawing = generate.draw

    def shorter(*given):
        drawn = drawing(*given)
        return dataclasses.replace(drawn, pictures=[frames[:5] for frames in drawn.pictures])

    monkeypatch.setattr(generate, "draw", shorter)
    made = draw("wan", media="video", task="txt2video", num_frames=9, fps=8)
    assert any("made 5 frames, not the requested 9" in warning for warning in made.warnings)

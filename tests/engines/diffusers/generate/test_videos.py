"""Videos by diffusers: equal to its own pipelines, frame by frame."""

from __future__ import annotations

import inspect
import io
import json

import av
import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from app.core.families.lookup import video_rules
from app.core.job import Phase
from app.core.safety import SafetyResult
from app.engines.base import EngineSettings
from app.engines.diffusers.engine import DiffusersEngine
from app.engines.diffusers.generate import preview
from app.engines.diffusers.generate.latents import decode, encoded_grid
from app.engines.diffusers.memory.memory import part_bytes
from app.engines.diffusers.safety import filter
from app.errors import Cancelled, ContentBlocked, UnsupportedTask
from app.files.media import encode_mp4, read_frames
from tests.engines.diffusers.generate.control import Recorder
from tests.engines.diffusers.generate.test_start_from_pictures import a_picture

CASES = [
    ("ltx", "txt2video", "LTXPipeline"),
    ("ltx", "img2video", "LTXImageToVideoPipeline"),
    ("wan", "txt2video", "WanPipeline"),
    ("wan-i2v", "img2video", "WanImageToVideoPipeline"),
    ("wan-ti2v", "txt2video", "WanPipeline"),
    ("wan-ti2v", "img2video", "WanImageToVideoPipeline"),
]


@pytest.fixture
def film(engine, spec_of, ask):
    """Make a video of nine frames; returns the generation."""

    def run(repo, task="txt2video", control=None, options=None, **changes):
        request = ask(**{"task": task, "width": 96, "num_frames": 9, "fps": 8, "guidance_scale": 4.0, **changes})
        inputs = {"image": a_picture(64, 96)} if task == "img2video" else {}
        return engine.generate(spec_of(repo, media="video", **(options or {})), request, control or Recorder(), inputs)

    return run


def frames_of(video) -> np.ndarray:
    return np.stack(list(read_frames(video.content)))


@pytest.mark.parametrize(("family", "task", "class_name"), CASES)
def test_it_equals_a_plain_script(tiny, film, family, task, class_name):
    pipe = getattr(diffusers, class_name).from_pretrained(tiny / family)
    pipe.set_progress_bar_config(disable=True)
    more = {"image": Image.fromarray(a_picture(64, 96))} if task == "img2video" else {}
    if "frame_rate" in inspect.signature(pipe.__call__).parameters:
        more["frame_rate"] = 8
    wanted = pipe(
        prompt="a red cat under a tree",
        width=96,
        height=64,
        num_frames=9,
        num_inference_steps=3,
        guidance_scale=4.0,
        generator=torch.Generator("cpu").manual_seed(7),
        output_type="np",
        **more,
    ).frames[0]
    control = Recorder()
    made = film(family, task, control)
    (video,) = made.videos
    pixels = (wanted * 255).round().astype(np.uint8)
    assert np.array_equal(video.poster, pixels[0])
    assert video.content == encode_mp4(pixels, 8)
    assert frames_of(video).shape == (9, 64, 96, 3)
    assert (video.seed, video.fps, video.seconds, made.images) == (7, 8, 9 / 8, [])
    assert made.versions["pipeline"] == class_name
    names = ("num_frames", "fps", "width", "height", "steps_run")
    assert [made.effective[name] for name in names] == [9, 8, 96, 64, 3]
    assert made.warnings == ()
    assert control.phases() == [Phase.LOADING, Phase.ENCODING, Phase.GENERATING, Phase.DECODING]
    assert [step for phase, step, _ in control.reports if phase is Phase.GENERATING] == [0, 1, 2, 3]


def test_every_player_can_show_it(film):
    content = film("ltx").videos[0].content
    with av.open(io.BytesIO(content)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.frames, stream.average_rate, stream.width, stream.height) == (9, 8, 96, 64)


def test_each_video_of_a_job_is_the_one_that_its_seed_gives_alone(film):
    both = film("ltx", num_images=2).videos
    assert [video.seed for video in both] == [7, 8]
    assert film("ltx", seed=8).videos[0].content == both[1].content != both[0].content


@pytest.mark.parametrize(("family", "task", "_"), CASES)
def test_a_cancel_stops_it_between_two_steps(engine, spec_of, monkeypatch, film, family, task, _):
    film(family, task)
    vae = engine._model_cache.get(spec_of(family, media="video")).pipeline.vae
    with monkeypatch.context() as patch:
        patch.setattr(vae, "decode", lambda *_, **__: pytest.fail("the decode of a cancelled video"))
        control = Recorder(cancel_at=2)
        with pytest.raises(Cancelled):
            film(family, task, control, num_inference_steps=6)
    assert control.last_step() == 2
    assert frames_of(film(family, task).videos[0]).shape[0] == 9  # and the model is as good as before


@pytest.mark.parametrize(("family", "task", "_"), CASES)
def test_previews_show_the_first_frame_and_change_nothing(monkeypatch, film, family, task, _):
    plain = film(family, task, num_inference_steps=5)
    monkeypatch.setattr(preview, "FIRST_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(preview, "SHOWN_AT_LEAST_SECONDS", 0.0)
    monkeypatch.setattr(preview, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(preview, "PAUSE_COSTS", 0.0)
    control = Recorder()
    made = film(family, task, control, num_inference_steps=5)
    assert made.videos[0].content == plain.videos[0].content
    if task == "img2video":
        assert control.previews == []
        return
    assert [step for step, _ in control.previews] == [1, 2, 3, 4]
    assert {pixels.shape for _, pixels in control.previews} == {(64, 96, 3)}
    far, near = (np.abs(control.previews[at][1].astype(int) - made.videos[0].poster).mean() for at in (0, -1))
    assert near < 40
    assert near <= far


@pytest.mark.parametrize(("family", "count"), [("wan", 9), ("ltx", 1)])
def test_the_first_frame_alone_is_that_of_the_whole(tiny, family, count):
    """LTX-Video's decoder looks ahead, so that only one that has no other is quite the same."""
    pipe = diffusers.DiffusionPipeline.from_pretrained(tiny / family)
    pipe.set_progress_bar_config(disable=True)
    if family == "ltx":  # the tiny one's are 0 and 1
        pipe.vae.latents_mean.copy_(torch.linspace(-1, 1, 8))
        pipe.vae.latents_std.copy_(torch.linspace(0.5, 2, 8))
    asked = {"prompt": "a cat", "width": 96, "height": 64, "num_frames": count, "num_inference_steps": 2}
    latents, whole = (
        pipe(**asked, generator=torch.Generator().manual_seed(7), output_type=kind).frames for kind in ("latent", "np")
    )
    with torch.inference_mode():
        alone = decode(pipe, encoded_grid(pipe, latents, (96, 64)))
    pixels = ((alone[0].permute(1, 2, 0) + 1) / 2).clamp(0, 1).numpy()
    assert np.allclose(pixels, whole[0][0], atol=1e-5)


@pytest.mark.parametrize(("family", "size"), [("ltx", (640, 576)), ("wan", (320, 288))])  # more than one tile
def test_it_can_be_decoded_in_tiles(tiny, spec_of, ask, family, size):
    width, height = size
    engine = DiffusersEngine(EngineSettings(root=tiny, model_cache_dir=tiny, vae_tiling=True))
    request = ask(task="txt2video", width=width, height=height, num_frames=9, fps=8, num_inference_steps=1)
    (video,) = engine.generate(spec_of(family, media="video"), request, Recorder()).videos
    assert frames_of(video).shape == (9, height, width, 3)


def test_when_memory_runs_out_it_is_tried_with_less(engine, spec_of, film, monkeypatch):
    film("ltx")
    pipeline = engine._model_cache.get(spec_of("ltx", media="video")).pipeline
    whole = pipeline.vae.decode

    def decode(*arguments, **more):
        if not pipeline.vae.use_tiling:
            raise torch.OutOfMemoryError("out of memory")
        return whole(*arguments, **more)

    monkeypatch.setattr(pipeline.vae, "decode", decode)
    made = film("ltx")
    assert made.warnings == ("Memory ran short, so ltx decodes pictures of this size in tiles.",)
    assert frames_of(made.videos[0]).shape == (9, 64, 96, 3)


def test_the_sibling_shares_all_weights(engine, spec_of, film):
    for family in ("ltx", "wan-ti2v"):
        film(family)
        film(family, "img2video")
        model = engine._model_cache.get(spec_of(family, media="video"))
        assert sum(part_bytes(model.task_pipelines["img2video"]).values()) == sum(part_bytes(model.pipeline).values())
        assert model.task_pipelines["img2video"].transformer is model.pipeline.transformer
        assert "txt2video" not in model.task_pipelines  # its own


def test_another_picture_gives_another_video(engine, spec_of, ask, film):
    made = film("ltx", "img2video").videos[0].poster
    request = ask(task="img2video", width=96, num_frames=9, fps=8, guidance_scale=4.0)
    other = {"image": a_picture(64, 96)[::-1].copy()}
    again = engine.generate(spec_of("ltx", media="video"), request, Recorder(), other)
    assert not np.array_equal(again.videos[0].poster, made)


def test_what_a_model_s_weights_cannot_do_is_refused(film):
    with pytest.raises(UnsupportedTask, match=r"wan \(WanPipeline\) cannot do img2video.*send no image"):
        film("wan", "img2video")
    with pytest.raises(UnsupportedTask, match=r"cannot do txt2video.*send an image"):
        film("wan-i2v")


def test_a_wrong_media_option_is_an_error(engine, spec_of, ask, film):
    with pytest.raises(UnsupportedTask, match="makes images"):
        film("sd15")
    with pytest.raises(UnsupportedTask, match='add "media": "video"'):
        engine.generate(spec_of("ltx"), ask(), Recorder())


def test_unchecked_frame_counts_are_rounded_with_a_warning(film):
    made = film("ltx", num_frames=16)
    assert made.effective["num_frames"] == 9
    assert made.warnings == ("m makes one frame more than a multiple of 8: 16 became 9.",)


def test_the_newer_checkpoints_of_ltx_do_both_with_one_pipeline(copy_of, film):
    folder = copy_of("ltx")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": "LTXConditionPipeline"}))
    scheduler = folder / "scheduler" / "scheduler_config.json"
    scheduler.write_text(json.dumps(json.loads(scheduler.read_text()) | {"use_dynamic_shifting": False}))
    for task in ("txt2video", "img2video"):
        made = film(folder, task)
        assert made.versions["pipeline"] == "LTXConditionPipeline"
        assert frames_of(made.videos[0]).shape == (9, 64, 96, 3)


def test_what_wan_sees_with_stays_in_float32(engine, spec_of, film):
    for repo in ("wan-i2v", "wan-ti2v"):
        made = film(repo, "img2video", options={"dtype": "bfloat16"})
        pipeline = engine._model_cache.get(spec_of(repo, media="video", dtype="bfloat16")).pipeline
        assert (pipeline.vae.dtype, pipeline.transformer.dtype) == (torch.float32, torch.bfloat16)
        assert getattr(pipeline, "image_encoder", None) is None or pipeline.image_encoder.dtype is torch.float32
        assert len(frames_of(made.videos[0])) == 9


def test_the_frame_steps_of_the_records_are_those_of_the_pipelines(tiny):
    for repo, name in (("ltx", "LTXPipeline"), ("wan", "WanPipeline")):
        pipe = getattr(diffusers, name).from_pretrained(tiny / repo)
        step = getattr(pipe, "vae_temporal_compression_ratio", None) or pipe.vae_scale_factor_temporal
        assert video_rules(name).frame_step == step


class TestSafety:
    @pytest.fixture
    def film_checked(self, film, monkeypatch):
        def run(policy, *, bad_frames):
            seen = []

            def check(pictures):
                seen.append(len(pictures))
                return [index in bad_frames for index in range(len(pictures))]

            monkeypatch.setattr(filter.Safety, "_load", lambda *_: check)
            made = film("ltx", options={"safety_checker": f"a{policy}{len(bad_frames)}", "safety_policy": policy})
            assert seen == [9], "every frame of so short a video"
            return made

        return run

    def test_a_frame_that_is_flagged_flags_the_whole(self, film_checked):
        assert film_checked("mark", bad_frames={5}).videos[0].safety is SafetyResult.MARKED
        assert film_checked("mark", bad_frames=set()).safety is SafetyResult.PASSED
        with pytest.raises(ContentBlocked):
            film_checked("block", bad_frames={8})

    def test_it_is_blurred_whole(self, film_checked):
        made = film_checked("blur", bad_frames={0})
        (video,) = made.videos
        assert (video.safety, made.safety) == (SafetyResult.BLURRED, SafetyResult.BLURRED)
        assert len(frames_of(video)) == 9
        plain = film_checked("mark", bad_frames=set()).videos[0]
        assert frames_of(video).std(axis=(1, 2)).mean() < frames_of(plain).std(axis=(1, 2)).mean() / 2
        assert video.poster.std() < plain.poster.std()

"""Safety filter: runs a safety checker on finished images and videos, and applies the policy to flagged ones.

The checker is configured (a model's option, or SAFETY_CHECKER); its kind is read from its files. It runs on the CPU in
float32, so that results do not depend on the GPU and no GPU memory is used. A checker that cannot be loaded fails the
job before generation: nothing is published unchecked.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from huggingface_hub import snapshot_download
from PIL import Image, ImageFilter
from safetensors import SafetensorError

from app.core.catalog import ModelSpec
from app.core.faults import is_beyond_the_job
from app.core.safety import SafetyPolicy, SafetyResult, most_severe
from app.engines.base import EngineSettings, GeneratedImage, GeneratedVideo, Generation, Pixels
from app.engines.diffusers.load.errors import CHECKER, DOWNLOAD_ERRORS, LOAD_ERRORS, download_error, log
from app.engines.diffusers.load.hub import plain_names_only
from app.engines.diffusers.safety.checkers import Checker, clip_checker, label_checker
from app.errors import ContentBlocked, ModelUnavailable
from app.files.media import encode_mp4, read_frames

# By the architecture in a checker's config.json. A new kind needs a line here and a function in checkers.py.
KINDS: Mapping[str, Callable[[Path], Checker]] = {
    "StableDiffusionSafetyChecker": clip_checker,
    "ViTForImageClassification": label_checker,
}
_FILES = ["config.json", "model.safetensors", "preprocessor_config.json", "model_index.json"]
_PARTS = ["safety_checker/config.json", "safety_checker/model.safetensors", "feature_extractor/*.json"]
_FRAMES_LOOKED_AT = 16  # of a video
_BLURRED_SIDE = 12  # pixels of a blurred image's longest side before it is enlarged again
_OUTCOME: Mapping[SafetyPolicy, SafetyResult] = {
    "mark": SafetyResult.MARKED,
    "blur": SafetyResult.BLURRED,
    "block": SafetyResult.BLOCKED,
}


class Safety:
    """The safety filter; checkers are loaded on first use and cached."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._checkers: dict[str, Checker] = {}

    def prepare(self, spec: ModelSpec) -> None:
        """Load the checker of `spec`, if it has one. Raises ModelUnavailable or what a download raises."""
        name = self._name(spec)
        if name and name not in self._checkers:
            self._checkers[name] = self._load(name, spec)

    def allows_previews(self, spec: ModelSpec) -> bool:
        """False when the policy may block or blur the result: a preview would show it."""
        return not self._name(spec) or self._policy(spec) == "mark"

    def apply(self, spec: ModelSpec, generation: Generation) -> Generation:
        """`generation` with the policy applied. Raises ContentBlocked when all outputs are blocked."""
        name = self._name(spec)
        if not name or not (generation.images or generation.videos):
            return generation
        self.prepare(spec)
        started = time.perf_counter()
        check, policy = self._checkers[name], self._policy(spec)
        flags = _flagged(check, generation.images)
        pairs = zip(generation.images, flags, strict=True)
        images = [_apply_to_image(image, flagged, policy) for image, flagged in pairs]
        videos = [_apply_to_video(video, check, policy) for video in generation.videos]
        filtered: list[GeneratedImage | GeneratedVideo] = [*images, *videos]
        if all(one.safety is SafetyResult.BLOCKED for one in filtered):
            raise ContentBlocked("The safety filter blocked all outputs. Try another prompt or seed.")
        return dataclasses.replace(
            generation,
            images=[image for image in images if image.safety is not SafetyResult.BLOCKED],
            videos=[video for video in videos if video.safety is not SafetyResult.BLOCKED],
            safety=most_severe(one.safety for one in filtered),
            timings={**generation.timings, "safety": time.perf_counter() - started},
            warnings=(*generation.warnings, *_warnings(filtered)),
        )

    def _name(self, spec: ModelSpec) -> str:
        own = spec.options.safety_checker
        return self._settings.safety_checker if own is None else own

    def _policy(self, spec: ModelSpec) -> SafetyPolicy:
        return spec.options.safety_policy or self._settings.safety_policy

    def _load(self, name: str, spec: ModelSpec) -> Checker:
        folder = self._folder(name, spec)
        part = folder / "safety_checker" if (folder / "safety_checker" / "config.json").is_file() else folder
        try:
            kind = json.loads((part / "config.json").read_text(encoding="utf-8"))["architectures"][0]
            if kind not in KINDS:
                raise ModelUnavailable(f"The safety checker {name} is a {kind}; known are {', '.join(KINDS)}.")
            checker = KINDS[kind](part)
        except (*LOAD_ERRORS, SafetensorError) as error:
            if is_beyond_the_job(error):
                raise
            raise ModelUnavailable(f"The safety checker {name} cannot be loaded: {str(error)[:300]}") from error
        log.info("The safety checker %s is loaded", name)
        return checker

    def _folder(self, name: str, spec: ModelSpec) -> Path:
        for place in (self._settings.root / name, self._settings.model_cache_dir / name):
            if place.is_dir():
                return place
        try:
            return _fetch(name, local_files_only=True)
        except DOWNLOAD_ERRORS:
            log.info("The safety checker %s is not on this machine", name)
        try:
            return _fetch(name, local_files_only=False)
        except DOWNLOAD_ERRORS as error:
            raise download_error(error, spec.model_copy(update={"repo": name}), CHECKER) from error


def _fetch(repo: str, *, local_files_only: bool) -> Path:
    with plain_names_only():
        return Path(snapshot_download(repo, allow_patterns=[*_FILES, *_PARTS], local_files_only=local_files_only))


def _flagged(check: Checker, images: Sequence[GeneratedImage]) -> list[bool]:
    """Of each image whether the checker flags it; one with transparent parts also on white and on black, since it is
    not known on what it will be seen."""
    views = [_views(image.pixels) for image in images]
    found = iter(check([pixels for each in views for pixels in each]) if images else ())
    return [max(list(islice(found, len(each)))) for each in views]


def _views(pixels: Pixels) -> list[Pixels]:
    colors = pixels[:, :, :3]
    if pixels.shape[2] == 3:
        return [colors]
    alpha = pixels[:, :, 3:].astype(np.float32) / 255
    grounds = [(colors * alpha + ground * (1 - alpha)).astype(np.uint8) for ground in (0.0, 255.0)]
    return [colors, *grounds]


def _apply_to_image(image: GeneratedImage, flagged: bool, policy: SafetyPolicy) -> GeneratedImage:
    result = _OUTCOME[policy] if flagged else SafetyResult.PASSED
    pixels = blurred(image.pixels) if result is SafetyResult.BLURRED else image.pixels
    return dataclasses.replace(image, pixels=pixels, safety=result)


def blurred(pixels: Pixels) -> Pixels:
    """A strong blur that keeps only colours."""
    picture = Image.fromarray(pixels)
    small = picture.copy()
    small.thumbnail((_BLURRED_SIDE, _BLURRED_SIDE), Image.Resampling.BOX)
    smooth = small.resize(picture.size, Image.Resampling.BICUBIC)
    return np.asarray(smooth.filter(ImageFilter.GaussianBlur(max(picture.size) / _BLURRED_SIDE / 2)))


def _apply_to_video(video: GeneratedVideo, check: Checker, policy: SafetyPolicy) -> GeneratedVideo:
    """Check evenly spaced frames of a video; one flagged frame flags the whole video."""
    frames = list(read_frames(video.content))
    looked_at = np.unique(np.linspace(0, len(frames) - 1, _FRAMES_LOOKED_AT).round().astype(int))
    flagged = any(check([frames[index] for index in looked_at]))
    result = _OUTCOME[policy] if flagged else SafetyResult.PASSED
    if result is not SafetyResult.BLURRED:
        return dataclasses.replace(video, safety=result)
    content = encode_mp4((blurred(frame) for frame in frames), round(video.fps))
    return dataclasses.replace(video, content=content, poster=blurred(video.poster), safety=result)


def _warnings(filtered: Sequence[GeneratedImage | GeneratedVideo]) -> list[str]:
    words = {SafetyResult.MARKED: "flagged", SafetyResult.BLURRED: "blurred", SafetyResult.BLOCKED: "blocked"}
    counts = {result: sum(image.safety is result for image in filtered) for result in words}
    return [f"The safety filter: {n} of {len(filtered)} {words[result]}." for result, n in counts.items() if n]

"""Paints the training pictures once, into one memory-mapped file per aspect ratio.

Picture k of a bucket is fully determined by (bucket, k): `scene_of` gives the scene that its captions describe.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tools.demo_model.paint import paint
from tools.demo_model.scene import Scene, sample_scene


@dataclass(frozen=True)
class Bucket:
    """One aspect ratio: native `width` × `height` in pixels (multiples of 32) and its share of the training draws."""

    name: str
    width: int
    height: int
    share: float
    first_seed: int


BUCKETS: dict[str, Bucket] = {
    "square": Bucket("square", 256, 256, 0.72, 0),
    "wide": Bucket("wide", 288, 192, 0.14, 100_000_000),
    "tall": Bucket("tall", 192, 288, 0.14, 200_000_000),
}
HELD_OUT_SEED = 900_000_000  # seeds from here on are never trained on


def is_held_out(scene: Scene) -> bool:
    """Whether evaluation keeps this scene for itself: 15 % of colour × shape × background combinations."""
    items = getattr(scene, "items", None)
    if items is None:
        return False
    background = getattr(scene, "background", "")
    return any(held_out_combination(background, item.color, item.shape) for item in items)


def held_out_combination(background: str, color: str, shape: str) -> bool:
    """A fixed arbitrary 15 % of the combinations (a digit sum, so that it is the same everywhere)."""
    return sum(map(ord, f"{background}{color}{shape}")) % 20 < 3


def scene_of(bucket: Bucket, index: int) -> Scene:
    """The scene of picture `index`; held-out combinations are drawn again."""
    rng = np.random.default_rng(bucket.first_seed + index)
    while True:
        scene = sample_scene(rng)
        if not is_held_out(scene):
            return scene


def picture_of(bucket: Bucket, index: int) -> np.ndarray:
    """Picture `index` as uint8 (height, width, 3)."""
    return paint(scene_of(bucket, index), bucket.width, bucket.height, bucket.first_seed + index)


def paint_bucket(bucket: Bucket, count: int, folder: Path) -> Path:
    """Paint `count` pictures into `folder`/<bucket>.npy, unless they are there."""
    path = folder / f"{bucket.name}.npy"
    if path.exists() and np.load(path, mmap_mode="r").shape[0] >= count:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part.npy")
    shape = (count, bucket.height, bucket.width, 3)
    store = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
    for index in range(count):
        store[index] = picture_of(bucket, index)
    store.flush()
    partial.rename(path)
    return path


def counts(total: int) -> dict[str, int]:
    """How many pictures of each bucket make `total` in all."""
    return {name: max(1, round(total * bucket.share)) for name, bucket in BUCKETS.items()}


def main() -> None:
    """Paint the training set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--count", type=int, default=24_000)
    arguments = parser.parse_args()
    for name, count in counts(arguments.count).items():
        print(paint_bucket(BUCKETS[name], count, arguments.scratch / "pictures"), count, flush=True)


if __name__ == "__main__":
    main()

"""Measures an exported model: held-out prompts through the plain pipeline, read back by the checker.

python -m tools.demo_model.evaluate --model builtin/demo --scratch demo_scratch --json figures.json
python -m tools.demo_model.evaluate --model builtin/demo --sheet docs/images/demo-contact-sheet.png

`builtin/demo-sd3` likewise.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tools.demo_model import checker, vae
from tools.demo_model.captions import caption
from tools.demo_model.labels import describe
from tools.demo_model.palette import COLORS
from tools.demo_model.pictures import HELD_OUT_SEED, is_held_out
from tools.demo_model.scene import Landscape, Scene, Shapes, sample_landscape, sample_shapes

SHOWN = (
    "a sunset over mountains",
    "a beautiful sunset over mountains",
    "a night sky with stars over the sea",
    "a red circle on a blue background",
    "a green tree beside a house under a cloudy sky",
    "a sailboat on the ocean at sunset",
    "a yellow star on a purple background",
    "a pine forest in snow under a bright sun",
    "a full moon over snowy mountains",
)
ELEMENTS = ("sun", "moon", "stars", "clouds", "mountains", "sea", "house", "trees", "boat")


def main() -> None:
    """Measure, or draw the contact sheet, or both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, help="where the trained checker is; without it nothing is measured")
    parser.add_argument(
        "--train-checker", type=int, default=0, metavar="STEPS", help="train the checker this far first"
    )
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--count", type=int, default=200, help="prompts of each kind")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    painter = Painter(arguments.model, arguments.steps, arguments.guidance)
    if arguments.sheet:
        contact_sheet(painter, arguments.sheet)
    if arguments.scratch:
        figures = measure(painter, checker.train(arguments.scratch, arguments.train_checker), arguments.count)
        print(json.dumps(figures, indent=2))
        if arguments.json:
            arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


class Painter:
    """The exported pipeline at its recommended settings."""

    def __init__(self, folder: Path, steps: int | None = None, guidance: float | None = None):
        from diffusers import FluxPipeline, StableDiffusion3Pipeline

        self.options = json.loads((folder / "demo.json").read_text())
        kinds = {"FluxPipeline": FluxPipeline, "StableDiffusion3Pipeline": StableDiffusion3Pipeline}
        started = time.perf_counter()
        self.pipeline = kinds[self.options["pipeline"]].from_pretrained(folder, torch_dtype=torch.float32)
        self.load_seconds = time.perf_counter() - started
        self.pipeline.set_progress_bar_config(disable=True)
        self.steps = steps or self.options["num_inference_steps"]["default"]
        self.guidance = guidance or self.options["guidance_scale"]["default"]

    def paint(
        self, prompts: list[str], seeds: list[int], width: int = 256, height: int = 256, **more: Any
    ) -> np.ndarray:
        """Pictures of the prompts, uint8 (n, height, width, 3); `more` goes to the pipeline as it is."""
        out = self.pipeline(
            prompt=prompts, width=width, height=height, num_inference_steps=self.steps, guidance_scale=self.guidance,
            max_sequence_length=self.options["max_sequence_length"], output_type="np",
            generator=[torch.Generator().manual_seed(seed) for seed in seeds], **more,
        ).images  # fmt: skip
        return (np.asarray(out) * 255).round().astype(np.uint8)


def contact_sheet(painter: Painter, path: Path, seeds: tuple[int, ...] = (1, 2, 3)) -> None:
    """A row for each seed, a column for each of the SHOWN prompts."""
    rows = [np.concatenate(list(painter.paint(list(SHOWN), [seed] * len(SHOWN))), axis=1) for seed in seeds]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows, axis=0)).save(path, optimize=True)


def held_out(kind: str, count: int) -> list[tuple[Scene, str]]:
    """Scenes and captions that training never saw: 'single', 'pair' or 'landscape'."""
    chosen: list[tuple[Scene, str]] = []
    seed = HELD_OUT_SEED + 2_000_000
    while len(chosen) < count:
        seed += 1
        rng = np.random.default_rng(seed)
        scene: Scene = sample_landscape(rng) if kind == "landscape" else sample_shapes(rng)
        if isinstance(scene, Shapes) and (len(scene.items) != (2 if kind == "pair" else 1) or not is_held_out(scene)):
            continue
        chosen.append((scene, caption(scene, rng)))
    return chosen


def elements_of(values: dict[str, str]) -> set[str]:
    """Which of ELEMENTS a description holds."""
    present = {name for name in ("sun", "stars") if values[name] == "yes"}
    present |= {name for name in ("moon", "clouds", "mountains", "house", "boat") if values[name]}
    if values["ground"] in ("sea", "beach"):
        present.add("sea")
    if values["trees"] != "0" or values["pines"] != "0":
        present.add("trees")
    return present


def background_color(picture: np.ndarray) -> str:
    """The named colour nearest to the median of the picture's outermost pixels."""
    frame = np.concatenate([picture[:6].reshape(-1, 3), picture[-6:].reshape(-1, 3), picture[:, :6].reshape(-1, 3)])
    middle = np.median(frame, axis=0)
    return min(COLORS, key=lambda name: float(np.abs(np.asarray(COLORS[name]) - middle).sum()))


def measure(painter: Painter, judge: checker.Checker, count: int) -> dict[str, Any]:
    """All figures, as shares of prompts."""
    figures: dict[str, Any] = {"steps": painter.steps, "guidance": painter.guidance, "count": count}
    figures["load_seconds"] = round(painter.load_seconds, 2)
    figures["checker_accuracy"] = {k: round(v, 4) for k, v in checker.accuracy(judge).items()}
    values = vae.psnrs(painter.pipeline.vae, vae.held_out_pictures(60))
    figures["vae_psnr"] = {"mean": round(float(np.mean(values)), 2), "worst": round(min(values), 2)}
    for kind in ("single", "pair", "landscape"):
        samples = held_out(kind, count)
        started = time.perf_counter()
        pictures = np.concatenate([
            painter.paint([text for _, text in samples[k : k + 4]], list(range(k, min(k + 4, count))))
            for k in range(0, count, 4)
        ])  # fmt: skip
        figures[f"seconds_per_picture_{kind}"] = round((time.perf_counter() - started) / count, 3)
        seen = checker.read(judge, pictures)
        truth = [describe(scene) for scene, _ in samples]
        figures[kind] = landscape_figures(truth, seen) if kind == "landscape" else shape_figures(truth, seen, pictures)
        figures[f"missed_{kind}"] = missed(samples, truth, seen)[:12]
    return figures


def shape_figures(truth: list[dict[str, str]], seen: list[dict[str, str]], pictures: np.ndarray) -> dict[str, float]:
    """Shares of right backgrounds (read from pixels), colours and shapes; for pairs both must be right."""
    numbers = ("1", "2") if truth[0]["shape 2"] != "-" else ("1",)

    def share(keys: list[str]) -> float:
        return round(float(np.mean([all(t[k] == s[k] for k in keys) for t, s in zip(truth, seen, strict=True)])), 4)

    ground = [t["background"] == background_color(p) for t, p in zip(truth, pictures, strict=True)]
    return {
        "background": round(float(np.mean(ground)), 4),
        "colors": share([f"color {n}" for n in numbers]),
        "shapes": share([f"shape {n}" for n in numbers]),
        "place": share(["place 1"]),
    }


def landscape_figures(truth: list[dict[str, str]], seen: list[dict[str, str]]) -> dict[str, dict[str, float]]:
    """For each element: the share present when named and the share absent when not."""
    figures = {}
    pairs = [(elements_of(t), elements_of(s)) for t, s in zip(truth, seen, strict=True)]
    for name in ELEMENTS:
        named = [name in s for t, s in pairs if name in t]
        unnamed = [name not in s for t, s in pairs if name not in t]
        figures[name] = {
            "present": round(float(np.mean(named)), 4) if named else 1.0,
            "absent": round(float(np.mean(unnamed)), 4) if unnamed else 1.0,
            "named": float(len(named)),
        }
    figures["time"] = {
        "right": round(float(np.mean([t["time"] == s["time"] for t, s in zip(truth, seen, strict=True)])), 4)
    }
    return figures


def missed(samples: list[tuple[Scene, str]], truth: list[dict[str, str]], seen: list[dict[str, str]]) -> list[str]:
    """Prompts that came out wrong, with what was asked and what was seen."""
    lines = []
    for (scene, text), t, s in zip(samples, truth, seen, strict=True):
        if isinstance(scene, Landscape):
            wrong = sorted(elements_of(t) ^ elements_of(s))
        else:
            keys = ("background", "color 1", "shape 1", "color 2", "shape 2")
            wrong = [f"{k}: {t[k]} → {s[k]}" for k in keys if t[k] != s[k]]
        if wrong:
            lines.append(f"{text} | {', '.join(wrong)}")
    return lines


if __name__ == "__main__":
    main()

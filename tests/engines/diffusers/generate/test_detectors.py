"""Control pictures by detectors: what transformers' models find, in the colours that ControlNets were trained with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from app.core.catalog import ModelOptions, ModelSpec
from app.core.control_colours import ADE20K_COLOURS
from app.engines.base import EngineSettings
from app.engines.diffusers.auxiliary_loader import AuxiliaryLoader
from app.engines.diffusers.generate.detectors import processed
from app.engines.diffusers.memory.model_cache import ModelCache
from app.errors import InputModelUnavailable
from app.files.pose_pictures import draw_poses, openpose_points
from tests.engines.diffusers.generate.control import Recorder
from tests.engines.diffusers.generate.test_start_from_pictures import a_picture
from tools.tiny_models.auxiliaries import build_depth_detector
from tools.tiny_models.detectors import build_person_detector, build_pose_detector, build_segmenter

CPU = torch.device("cpu")
WIDTH, HEIGHT = 96, 64


@pytest.fixture
def detect(tmp_path):
    """What the detector in a folder makes of a picture."""

    def run(detects: str, folder: Path, **options: Any) -> np.ndarray:
        options = {"kind": "detector", "detects": detects, **options}
        spec = ModelSpec(
            id="found",
            name="found",
            repo=str(folder),
            description="",
            source="local",
            options=ModelOptions.model_validate(options),
        )
        settings = EngineSettings(root=tmp_path, model_cache_dir=tmp_path, auxiliaries={"found": spec})
        loader = AuxiliaryLoader(settings, CPU, ModelCache(CPU))
        model = loader._resident(spec, torch.float32, (), Recorder())
        return processed(detects, a_picture(HEIGHT, WIDTH), {detects: model})

    return run


def script(kind: Any, folder: Path) -> tuple[Any, Any]:
    return kind.from_pretrained(folder), transformers.AutoImageProcessor.from_pretrained(folder)


def test_segments_have_the_colours_of_ade20k(detect, tmp_path) -> None:
    folder = build_segmenter(tmp_path / "seg")
    made = detect("seg", folder)
    model, processor = script(transformers.SegformerForSemanticSegmentation, folder)
    with torch.no_grad():
        logits = model(**processor(Image.fromarray(a_picture(HEIGHT, WIDTH)), return_tensors="pt")).logits
    labels = torch.nn.functional.interpolate(logits, (HEIGHT, WIDTH), mode="bilinear").argmax(1)[0].numpy()
    assert made.shape == (HEIGHT, WIDTH, 3)
    assert len(np.unique(labels)) > 1
    assert np.array_equal(made, np.array(ADE20K_COLOURS)[labels])


def test_the_colours_of_segments_are_those_of_the_data_set() -> None:
    by_class = {"wall": 0, "building": 1, "sky": 2, "tree": 4, "person": 12, "sea": 26, "flag": 149}
    assert {name: ADE20K_COLOURS[number] for name, number in by_class.items()} == {
        "wall": (120, 120, 120),
        "building": (180, 120, 120),
        "sky": (6, 230, 230),
        "tree": (4, 200, 3),
        "person": (150, 5, 61),
        "sea": (9, 7, 230),
        "flag": (92, 0, 255),
    }


@pytest.mark.parametrize("with_detector", [False, True])
def test_poses_are_drawn_as_openpose_does(detect, tmp_path, with_detector) -> None:
    folder = build_pose_detector(tmp_path / "pose")
    people = build_person_detector(tmp_path / "people")
    made = detect("pose", folder, **({"person_detector": str(people)} if with_detector else {}))
    picture = Image.fromarray(a_picture(HEIGHT, WIDTH))
    boxes = [[0.0, 0.0, float(WIDTH), float(HEIGHT)]]
    if with_detector:
        finder, looks = script(transformers.YolosForObjectDetection, people)
        with torch.no_grad():
            seen = finder(**looks(picture, return_tensors="pt"))
        (found,) = looks.post_process_object_detection(seen, threshold=0.5, target_sizes=[(HEIGHT, WIDTH)])
        boxes = [[x, y, right - x, bottom - y] for x, y, right, bottom in found["boxes"].tolist()]
        assert len(boxes) == 3
    model, processor = script(transformers.VitPoseForPoseEstimation, folder)
    with torch.no_grad():
        given = model(**processor(picture, boxes=[boxes], return_tensors="pt"))
    (poses,) = processor.post_process_pose_estimation(given, boxes=[boxes])
    points = [openpose_points(each["keypoints"].numpy(), each["scores"].numpy()) for each in poses]
    assert any(point is not None for person in points for point in person)
    assert made.any()
    assert np.array_equal(made, draw_poses(points, WIDTH, HEIGHT))


def test_a_picture_without_people_is_black(detect, tmp_path) -> None:
    people = build_person_detector(tmp_path / "people")
    blind = transformers.YolosForObjectDetection.from_pretrained(people)
    with torch.no_grad():
        blind.class_labels_classifier.layers[-1].bias.copy_(torch.tensor([0.0, 0.0, 9.0]))
    blind.save_pretrained(people)
    made = detect("pose", build_pose_detector(tmp_path / "pose"), person_detector=str(people))
    assert made.shape == (HEIGHT, WIDTH, 3)
    assert not made.any()


def test_what_cannot_detect_it_says_why(detect, tmp_path) -> None:
    depth = build_depth_detector(tmp_path / "depth")
    with pytest.raises(InputModelUnavailable, match="glpn is no model for that"):
        detect("pose", depth)
    with pytest.raises(InputModelUnavailable, match=r"tells 21 classes apart.* 150 of ADE20K"):
        detect("seg", build_segmenter(tmp_path / "voc", classes=21))
    cars = build_person_detector(tmp_path / "cars", person="car")
    with pytest.raises(InputModelUnavailable, match="finds no people"):
        detect("pose", build_pose_detector(tmp_path / "pose"), person_detector=str(cars))
    with pytest.raises(InputModelUnavailable, match=r"found cannot be used: .* or the model nowhere/else is missing"):
        detect("pose", tmp_path / "pose", person_detector="nowhere/else")

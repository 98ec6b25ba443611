"""People drawn as OpenPose draws them."""

from __future__ import annotations

import numpy as np

from app.core.control_colours import LIMBS, POSE_COLOURS
from app.files.pose_pictures import draw_poses, openpose_points


def a_person() -> list[tuple[float, float] | None]:
    """Key points far apart from each other."""
    return [(20.0 + 60 * (number % 8), 30.0 + 180 * (number // 8)) for number in range(18)]


def test_each_joint_and_limb_has_its_colour() -> None:
    for number, colour in enumerate(POSE_COLOURS):
        alone = [point if place == number else None for place, point in enumerate(a_person())]
        drawn = draw_poses([alone], 512, 512)
        x, y = (int(value) for value in a_person()[number] or ())
        assert tuple(drawn[y, x]) == colour
        assert 40 < (drawn.any(axis=2)).sum() < 80  # a circle of radius 4
    for limb, colour in zip(LIMBS, POSE_COLOURS, strict=False):
        ends = [point if place in limb else None for place, point in enumerate(a_person())]
        begin, end = (np.array(ends[place]) for place in limb)
        x, y = ((begin + end) / 2).astype(int)
        assert tuple(draw_poses([ends], 512, 512)[y, x]) == tuple(int(value * 0.6) for value in colour), limb


def test_points_follow_from_coco_s() -> None:
    coco = np.array([[float(number), 2.0 * number] for number in range(17)])
    points = openpose_points(coco, np.ones(17))
    assert points[0] == (0.0, 0.0)  # the nose
    assert points[1] == (5.5, 11.0)  # the neck, between the shoulders
    assert points[2] == (6.0, 12.0)  # the right shoulder
    assert (points[14], points[15]) == ((2.0, 4.0), (1.0, 2.0))  # eyes, the right one first
    scores = np.ones(17)
    scores[5] = 0.1  # a shoulder that is not seen: no neck either
    hidden = openpose_points(coco, scores)
    assert [number for number, point in enumerate(hidden) if point is None] == [1, 5]
    assert not draw_poses([[None] * 18], 64, 64).any()

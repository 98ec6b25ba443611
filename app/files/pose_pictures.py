"""Draws people as OpenPose does, which ControlNets for poses read: coloured limbs and joints on black."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from app.core.control_colours import FROM_COCO, LIMB_PIXELS, LIMB_SHARE, LIMBS, POSE_COLOURS

Pixels = npt.NDArray[np.uint8]
Points = Sequence[tuple[float, float] | None]  # of one person, in pixels, in OpenPose's order; None: not seen
_LEAST_SCORE = 0.3
_TURNS = np.linspace(0, 2 * np.pi, 60, endpoint=False)  # of an ellipse


def openpose_points(
    coco: npt.NDArray[np.floating], scores: npt.NDArray[np.floating], least: float = _LEAST_SCORE
) -> Points:
    """OpenPose's 18 key points of one person from COCO's 17: positions (17, 2) in pixels and scores (17)."""
    found: list[tuple[float, float] | None] = []
    for sources in FROM_COCO:
        if min(scores[each] for each in sources) < least:
            found.append(None)
        else:
            x, y = coco[list(sources)].mean(axis=0)
            found.append((float(x), float(y)))
    return found


def draw_poses(people: Sequence[Points], width: int, height: int) -> Pixels:
    """The people on black, (height, width, 3)."""
    picture = Image.new("RGB", (width, height))
    pen = ImageDraw.Draw(picture)
    radius = max(2.0, LIMB_PIXELS * min(width, height) / 512)
    for limb, colour in zip(LIMBS, POSE_COLOURS, strict=False):
        for points in people:
            begin, end = (points[each] for each in limb)
            if begin is not None and end is not None:
                dark = tuple(int(value * LIMB_SHARE) for value in colour)
                pen.polygon(_ellipse(begin, end, radius), fill=dark)
    for number, colour in enumerate(POSE_COLOURS):
        for points in people:
            if (at := points[number]) is not None:
                pen.ellipse((at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius), fill=colour)
    return np.asarray(picture)


def _ellipse(begin: tuple[float, float], end: tuple[float, float], radius: float) -> list[tuple[float, float]]:
    """An ellipse from one joint to the other."""
    centre, along = (np.add(begin, end)) / 2, np.subtract(end, begin) / 2
    length = float(np.hypot(*along)) or 1.0
    across = np.array((-along[1], along[0])) / length * radius
    outline = centre + np.cos(_TURNS)[:, None] * along + np.sin(_TURNS)[:, None] * across
    return [(float(x), float(y)) for x, y in outline]

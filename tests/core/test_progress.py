"""The percentage of a job's progress."""

from __future__ import annotations

import pytest

from app.core.job import Phase, Progress


def test_it_never_goes_back_over_several_images() -> None:
    reports = [Progress(Phase.STARTING)]
    for image in range(3):
        reports += [Progress(Phase.ENCODING, 8 * image, 24)]
        reports += [Progress(Phase.GENERATING, 8 * image + step, 24) for step in range(1, 9)]
        reports += [Progress(Phase.DECODING, 8 * (image + 1), 24)]
    reports += [Progress(Phase.SAVING, 24, 24), Progress(Phase.DONE, 24, 24)]
    percents = [report.percent for report in reports]
    assert percents == sorted(percents)
    assert percents[0] == 0
    assert percents[-3:] == [99, 99, 100]


@pytest.mark.parametrize("phase", [Phase.DECODING, Phase.SAVING])
def test_without_steps_it_is_nearly_done(phase: Phase) -> None:
    assert Progress(phase).percent == 99

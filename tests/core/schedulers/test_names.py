"""Schedulers are found by every name that people have for them."""

from __future__ import annotations

import pytest

from app.core.schedulers.names import NamedScheduler, closest, read_name
from app.core.schedulers.table import BY_NAME, SCHEDULERS

WRITTEN = {
    "Euler a": NamedScheduler("euler_a"),
    "euler_ancestral": NamedScheduler("euler_a"),
    "DPM++ 2M Karras": NamedScheduler("dpmpp_2m", "karras"),
    "dpm++ 2m karras": NamedScheduler("dpmpp_2m", "karras"),
    "DPM++ 2M SDE Exponential": NamedScheduler("dpmpp_2m_sde", "exponential"),
    "DPM++ 2M SGM Uniform": NamedScheduler("dpmpp_2m", None, "trailing"),
    "dpmpp_2m_k": NamedScheduler("dpmpp_2m", "karras"),
    "DPM++ SDE": NamedScheduler("dpmpp_sde"),
    "DPM2 a Karras": NamedScheduler("dpm2_a", "karras"),
    "LMS Karras": NamedScheduler("lms", "karras"),
    "UniPC": NamedScheduler("unipc"),
    "K_EULER": NamedScheduler("euler"),
    "EulerDiscreteScheduler": NamedScheduler("euler"),
    "Euler Automatic": NamedScheduler("euler"),
}


@pytest.mark.parametrize(("written", "meant"), WRITTEN.items())
def test_names_of_other_programs_are_read(written, meant):
    assert read_name(written) == meant


def test_every_name_label_and_alias_is_one_scheduler_s_only():
    for scheduler in SCHEDULERS:
        for name in (scheduler.name, scheduler.label, *scheduler.aliases):
            assert read_name(name) == NamedScheduler(scheduler.name)
    assert len(BY_NAME) == len(SCHEDULERS)


def test_an_unknown_one_is_not_guessed():
    for written in ("", "karras", "Euler b", "++"):
        assert read_name(written) is None
    assert closest("Eular a") == "euler_a"
    assert closest("zzzz") is None

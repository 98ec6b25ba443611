"""The tasks of pipeline classes, compared with all classes of the installed diffusers."""

from __future__ import annotations

import inspect

import diffusers
import pytest
from diffusers.pipelines import auto_pipeline

from app.core import tasks
from app.core.tasks import needs, tasks_of, tasks_of_call
from app.engines.diffusers.generate import task_pipelines

TABLES = {
    "img2img": auto_pipeline.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
    "inpaint": auto_pipeline.AUTO_INPAINT_PIPELINES_MAPPING,
}
WORDS = {kind.__name__: family for family, kind in auto_pipeline.AUTO_TEXT2IMAGE_PIPELINES_MAPPING.items()}


def _calls():
    """All image pipelines of diffusers, with the arguments of their calls."""
    for name in sorted(dir(diffusers)):
        kind = getattr(diffusers, name) if name.endswith("Pipeline") else None
        if isinstance(kind, type) and issubclass(kind, diffusers.DiffusionPipeline):
            takes = inspect.signature(kind.__call__).parameters
            if "num_frames" not in takes:
                yield name, takes


CALLS = dict(_calls())


def _with_siblings(name):
    """The other tasks of a text-to-image class, by the tables of diffusers and ours."""
    family = WORDS.get(name)
    listed = {task for task, table in TABLES.items() if family in table}
    return listed | {task for other, task in task_pipelines.EXTRA_PIPELINES if other == name}


@pytest.mark.parametrize("name", CALLS)
def test_no_class_has_a_task_that_it_does_not_support(name):
    takes, stated = CALLS[name], tasks_of(name)
    if not stated:
        return
    own = set(tasks_of_call(takes))
    assert own & set(stated)
    assert set(stated) <= own | _with_siblings(name)
    required = {p.name for p in takes.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD}
    assert required <= {"self", "prompt", "image"}
    assert "txt2img" not in stated or "image" not in required


@pytest.mark.parametrize("name", CALLS)
def test_no_class_that_requires_a_picture_has_the_task_txt2img(name):
    """Classes with such names; for others the table is right and not the call, where a picture may be left out
    of any."""
    marks = ("Img2Img", "Inpaint", "Fill", "Pix2PixPipeline", "Edit", "ControlNet", "Upscale", "Refiner", "Depth2Img")
    if "image" in CALLS[name] and any(mark in name for mark in marks):
        assert "txt2img" not in (tasks_of(name) or ())


@pytest.mark.parametrize("name", tasks._BY_PIPELINE)
def test_what_is_written_down_is_all_that_diffusers_has(name):
    assert name in CALLS
    assert set(tasks_of(name)) == set(tasks_of_call(CALLS[name])) | _with_siblings(name)


def test_what_we_add_to_the_tables_of_diffusers_is_still_missing_there():
    for name, task in task_pipelines.EXTRA_PIPELINES:
        family = WORDS.get(name)
        assert family is None or family not in TABLES[task]


def test_an_unknown_class_is_judged_by_its_call():
    assert tasks_of("FancyNewPipeline") is None
    assert tasks_of_call({"prompt"}) == ("txt2img",)
    assert tasks_of_call({"prompt", "image"}) == ("txt2img", "img2img")
    assert tasks_of_call({"prompt", "image", "strength"}) == ("img2img",)
    assert tasks_of_call({"prompt", "image", "mask_image", "strength"}) == ("inpaint",)
    assert tasks_of_call({"prompt", "control_image"}) == tasks_of_call({"image"}) == ()


def test_needs_names_the_inputs_to_send():
    assert needs(("txt2img", "img2img")) == "send no image"
    assert needs(("img2img",)) == "send an image"
    assert needs(("inpaint",)) == "send an image and a mask"
    assert "such as a control picture" in needs(())

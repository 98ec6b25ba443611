"""What the API says of pipeline classes, compared with all classes of the installed diffusers."""

from __future__ import annotations

import inspect

import diffusers
import pytest
from diffusers.pipelines import auto_pipeline

from app.core.families import lookup
from app.core.families.calls import PipelineCall, call_of
from app.core.families.lookup import FAMILIES, needs, own_tasks, tasks_of, tasks_of_call
from app.core.tasks import TASKS, task_from_a_picture
from tools import pipeline_calls

TABLES = {
    "img2img": auto_pipeline.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
    "inpaint": auto_pipeline.AUTO_INPAINT_PIPELINES_MAPPING,
}
WORDS = {kind.__name__: family for family, kind in auto_pipeline.AUTO_TEXT2IMAGE_PIPELINES_MAPPING.items()}


def _calls():
    """All pipelines of diffusers that are not deprecated, with the arguments of their calls."""
    for name in sorted(dir(diffusers)):
        kind = getattr(diffusers, name) if name.endswith("Pipeline") else None
        if (
            isinstance(kind, type)
            and issubclass(kind, diffusers.DiffusionPipeline)
            and "deprecated" not in kind.__module__
        ):
            yield name, inspect.signature(kind.__call__).parameters


CALLS = dict(_calls())


def _call(takes, requires=(), siblings=()):
    return PipelineCall(dict.fromkeys(takes), frozenset(requires), dict(siblings))


def test_the_table_is_that_of_the_installed_diffusers():
    assert pipeline_calls.main(check=True) == 0
    unlisted = {name for name in CALLS if call_of(name) is None and "prompt" in CALLS[name]}
    assert not unlisted


@pytest.mark.parametrize("name", [name for name in CALLS if call_of(name) is not None])
def test_the_table_says_what_the_class_takes(name):
    listed, real = call_of(name), CALLS[name]
    assert {argument for argument in listed.takes if argument not in real} == set()
    required = {p.name for p in real.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD}
    assert listed.requires == required - {"self"}
    for argument, default in listed.takes.items():
        assert default is None or real[argument].default == default


@pytest.mark.parametrize("name", [name for name in CALLS if tasks_of(name)])
def test_no_class_has_a_task_that_it_does_not_support(name):
    call = call_of(name)
    assert call.requires <= {"prompt", "image", "images", "mask_image"}
    own = own_tasks(name, call)
    assert ("txt2img" in own) <= (not call.requires & {"image", "images"})
    assert ("inpaint" in own) <= ("mask_image" in call.takes)
    assert ("img2img" in own) <= ("strength" in call.takes)
    for task, sibling in lookup.siblings(name, call, {"expand_timesteps": True}).items():
        assert task in own_tasks(sibling, call_of(sibling))


@pytest.mark.parametrize("name", CALLS)
def test_no_class_that_requires_a_picture_has_the_task_txt2img(name):
    """Classes with such names; for others the table is right and not the call, where a picture may be left out
    of any."""
    marks = ("Img2Img", "Inpaint", "Fill", "Pix2PixPipeline", "Edit", "ControlNet", "Upscale", "Refiner", "Depth2Img")
    if "image" in CALLS[name] and any(mark in name for mark in marks):
        assert not {"txt2img", "txt2video"} & set(tasks_of(name) or ())


@pytest.mark.parametrize(
    ("name", "tasks"),
    {
        "FluxPipeline": ("txt2img", "img2img", "inpaint"),
        "FluxKontextPipeline": ("txt2img", "inpaint", "edit"),
        "FluxFillPipeline": ("inpaint",),
        "Flux2Pipeline": ("txt2img", "edit"),
        "Flux2KleinPipeline": ("txt2img", "inpaint", "edit"),
        "ChromaPipeline": ("txt2img", "img2img", "inpaint"),
        "QwenImagePipeline": ("txt2img", "img2img", "inpaint"),
        "QwenImageEditPipeline": ("inpaint", "edit"),
        "QwenImageEditPlusPipeline": ("edit",),
        "ZImagePipeline": ("txt2img", "img2img", "inpaint"),
        "StableDiffusionXLImg2ImgPipeline": ("img2img",),
        "StableDiffusionInpaintPipeline": ("inpaint",),
        "StableDiffusionInstructPix2PixPipeline": ("edit",),
        "SanaSprintPipeline": ("txt2img", "img2img"),
        "Kandinsky5T2VPipeline": ("txt2video",),
        "Kandinsky5I2IPipeline": ("edit",),
        "LTX2Pipeline": ("txt2video", "img2video"),
        "WanPipeline": ("txt2video",),
        "WanVACEPipeline": ("txt2video",),
        "HunyuanVideo15ImageToVideoPipeline": ("img2video",),
        "CogVideoXImageToVideoPipeline": ("img2video",),
        "SanaVideoPipeline": ("txt2video",),
        "StableDiffusionXLControlNetPipeline": (),
        "StableAudioPipeline": (),
        "WanVideoToVideoPipeline": (),
        "LLaDA2Pipeline": (),
    }.items(),
)
def test_the_tasks_of_the_families_of_today(name, tasks):
    assert tasks_of(name) == tasks


def test_wan_s_weights_for_both_tasks_say_so_in_their_configuration():
    assert tasks_of("WanPipeline", {"expand_timesteps": True}) == ("txt2video", "img2video")


def test_what_we_add_to_the_tables_of_diffusers_is_still_missing_there():
    for family in FAMILIES:
        for name in (name for name in CALLS if family.has(name)):
            assert not {task for task in family.siblings if WORDS.get(name) in TABLES.get(task, ())}


def test_every_record_names_classes_that_exist():
    for family in FAMILIES:
        assert any(family.has(name) for name in CALLS), family.name
        assert set(family.siblings.values()) | family.merges <= set(CALLS)
        assert set(family.siblings) <= set(TASKS)


def test_an_unknown_class_is_judged_by_its_call():
    assert tasks_of("FancyNewPipeline") is None
    assert tasks_of_call(_call({"prompt", "height"})) == ("txt2img",)
    assert tasks_of_call(_call({"prompt", "height", "image"})) == ("txt2img", "edit")
    assert tasks_of_call(_call({"prompt", "height", "image"}), "FancyEditPipeline") == ("edit",)
    assert tasks_of_call(_call({"prompt", "image"}, ["image"])) == ("edit",)
    assert tasks_of_call(_call({"prompt", "image", "strength"})) == ("img2img",)
    assert tasks_of_call(_call({"prompt", "image", "mask_image", "strength"})) == ("inpaint",)
    assert tasks_of_call(_call({"prompt", "num_frames"})) == ("txt2video",)
    assert tasks_of_call(_call({"prompt", "num_frames", "image"})) == ("txt2video", "img2video")
    assert tasks_of_call(_call({"prompt", "height", "control_image"})) == ()
    assert tasks_of_call(_call({"prompt", "height", "pose"}, ["pose"])) == ()
    assert tasks_of_call(_call({"image"})) == ()
    assert tasks_of_call(_call({"prompt"})) == ()  # it makes sound, or text


def test_a_picture_without_a_mask_is_edited_or_drawn_over():
    assert task_from_a_picture(None, strength=False) == "img2img"
    assert task_from_a_picture(("txt2img", "img2img"), strength=False) == "img2img"
    assert task_from_a_picture(("txt2img", "edit"), strength=True) == "edit"
    assert task_from_a_picture(("img2img", "edit"), strength=True) == "img2img"
    assert task_from_a_picture(("img2img", "edit"), strength=False) == "edit"


def test_needs_names_the_inputs_to_send():
    assert needs(("txt2img", "img2img")) == "send no image"
    assert needs(("img2img",)) == "send an image"
    assert needs(("edit",)) == "send an image, and say in the prompt what to change"
    assert needs(("inpaint",)) == "send an image and a mask"
    assert "such as a control picture" in needs(())

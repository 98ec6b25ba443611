"""Metadata in pictures: the `parameters` text that other tools read, the manifest for reruns, and the AI mark.

The `parameters` text follows AUTOMATIC1111's format, which galleries, ComfyUI and civitai read: the prompt, an optional
`Negative prompt:` line, then one line of `Key: value` pairs, values holding `,`, `:` or a line break JSON-quoted. The
mark is IPTC's DigitalSourceType in XMP, as tools and laws expect: independent of prompt and settings, and written
whether or not those are embedded.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from xml.sax.saxutils import quoteattr

from app.core.lineage import made_from
from app.core.prediction import shown_input
from app.core.request import GenerationRequest
from app.core.safety import SafetyResult
from app.core.schedulers.table import BY_NAME
from app.core.sent_settings import reported
from app.core.tasks import TEXT_TASKS, UPSCALE, Task
from app.version import __version__

MANIFEST_KEY = "cyberimage"
PARAMETERS_KEY = "parameters"
MANIFEST_VERSION = 1
CONTROL_UNIT = "ControlNet"  # and its number: a control picture or reference in `parameters`
_REFERENCE_MODULE = "ip-adapter-auto"  # the extension's module for the pictures of adapters
_ALWAYS_EMBEDDED = ("manifest_version", "image_id", "job_id", "digital_source_type")


def build_manifest(
    request: GenerationRequest,
    *,
    seed: int | None,
    width: int,
    height: int,
    effective: dict[str, Any],
    versions: dict[str, str],
    job_id: str,
    image_id: str,
    created_at: str,
    safety_filter_result: SafetyResult = SafetyResult.SKIPPED,
    marked: bool = True,
) -> dict[str, Any]:
    """The data for generating the picture again. `effective` are the pipeline's actual arguments.

    `marked`: include the machine-readable mark that it is AI-generated. Of a provider's model `effective` is the input
    that was sent; settings that are not in it are null. `native_input`: the client wrote it; `input` is what was
    accepted.
    """
    sources = [{"image_id": source.image_id, "how": source.how} for source in made_from(request)]
    again: dict[str, Any] = {"rerun_of": request.rerun_of.image_id} if request.rerun_of is not None else {}
    negative_prompt, settings = reported(request, effective)
    # Then width and height are those of the part that was drawn, or of the first pass.
    kept = request.inpaint_area == "masked" or (request.upscale is not None and request.task != UPSCALE)
    if request.remote is None:
        settings["num_images"] = 1
    elif request.remote.input is not None:
        again |= {"native_input": True, "input": shown_input(request.remote.input)}
    return {
        **again,
        "manifest_version": MANIFEST_VERSION,
        "image_id": image_id,
        "job_id": job_id,
        "created_at": created_at,
        "model_id": request.model_id,
        "prompt": request.prompt,
        "negative_prompt": negative_prompt,
        "task": request.task,
        "inputs": request.inputs(),
        **({"made_from": sources} if sources else {}),
        "settings": settings | {"seed": seed} | ({} if kept else {"width": width, "height": height}),
        "safety_filter_result": safety_filter_result.value,
        "digital_source_type": digital_source_type(request.task, from_pictures=bool(request.pictures))
        if marked
        else None,
        "effective": effective,
        "versions": versions,
    }


def embedded_metadata(manifest: dict[str, Any], *, whole: bool) -> dict[str, Any]:
    """The part of the manifest to embed: all of it, or only the ids and the AI mark."""
    return manifest if whole else {name: manifest[name] for name in _ALWAYS_EMBEDDED}


def png_text(manifest: dict[str, Any]) -> dict[str, str]:
    """The text chunks of a picture with this manifest, complete or reduced."""
    found = {MANIFEST_KEY: json.dumps(manifest, ensure_ascii=False, sort_keys=True)}
    if "settings" in manifest:
        found = {PARAMETERS_KEY: parameters_text(manifest)} | found
    if xmp := xmp_of(manifest):
        found[XMP_KEY] = xmp
    return found


def xmp_of(manifest: dict[str, Any]) -> str:
    """The XMP packet that marks the file; empty if it is not to be marked."""
    if not manifest.get("digital_source_type"):
        return ""
    return xmp_packet(manifest["digital_source_type"], f"CyberImage {__version__}")


def parameters_text(manifest: dict[str, Any]) -> str:
    settings, effective, versions = manifest["settings"], manifest["effective"], manifest["versions"]
    guidance = settings.get("guidance_scale")
    pairs = {
        "Steps": settings["num_inference_steps"],
        "Sampler": None if manifest.get("task") == UPSCALE else _sampler(settings, versions),
        "Schedule type": _schedule_type(settings),
        "Shift": settings.get("shift"),
        "CFG scale": guidance if guidance is not None else effective.get("guidance_scale"),
        "Seed": settings["seed"],
        "Size": f"{settings['width']}x{settings['height']}",
        "LoRA": ", ".join(f"{lora['id']}:{lora['scale']:g}" for lora in settings.get("loras") or ()) or None,
        "Denoising strength": settings.get("strength"),
        "Clip skip": settings["clip_skip"] + 1 if settings.get("clip_skip") else None,
        "Model": manifest["model_id"],
        **_enlargement(manifest),
        **_repainting(settings),
        **_controls(effective.get("inputs_used") or ()),
        "Version": f"CyberImage {versions.get('cyberimage', '')}".strip(),
    }
    lines = [manifest["prompt"]]
    if manifest["negative_prompt"]:
        lines.append(f"Negative prompt: {manifest['negative_prompt']}")
    lines.append(", ".join(f"{key}: {_quoted(value)}" for key, value in pairs.items() if value is not None))
    return "\n".join(lines)


def _enlargement(manifest: dict[str, Any]) -> dict[str, Any]:
    """AUTOMATIC1111's pairs for a second pass, and for a picture that an upscaler made."""
    upscale = manifest["settings"].get("upscale")
    if not upscale:
        return {}
    factor = f"{upscale['factor']:g}"
    if manifest.get("task") == UPSCALE:
        return {"Postprocess upscale by": factor, "Postprocess upscaler": upscale["model"]}
    return {
        "Denoising strength": upscale["strength"],
        "Hires upscale": factor,
        "Hires steps": upscale["steps"],
        "Hires upscaler": upscale["model"],
    }


_FILLS = {"blur": "fill", "noise": "latent noise", "original": "original"}  # by their names there


def _repainting(settings: dict[str, Any]) -> dict[str, Any]:
    """AUTOMATIC1111's pairs for a mask."""
    in_part = settings.get("inpaint_area") == "masked"
    return {
        "Mask blur": settings.get("mask_blur"),
        "Mask mode": "Inpaint not masked" if settings.get("mask_invert") else None,
        "Masked content": _FILLS.get(str(settings.get("inpaint_fill"))),
        "Inpaint area": "Only masked" if in_part else None,
        "Masked area padding": settings.get("inpaint_padding") if in_part else None,
    }


def _controls(used: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """A pair for each control picture and reference, as AUTOMATIC1111's ControlNet extension writes its units. Its
    readers know no other names than these, so the mode of a union ControlNet is not among them."""
    units = {}
    for number, each in enumerate(used):
        module = _REFERENCE_MODULE if each["role"] == "reference" else each.get("processor") or "none"
        pairs = {"Module": module, "Model": each.get("model") or "None", "Weight": f"{each['weight']:g}"}
        if each["role"] == "control":
            begin, end = each.get("start") or 0, each.get("end")
            pairs |= {"Guidance Start": f"{begin:g}", "Guidance End": f"{1 if end is None else end:g}"}
        units[f"{CONTROL_UNIT} {number}"] = ", ".join(f"{name}: {value}" for name, value in pairs.items())
    return units


def _sampler(settings: dict[str, Any], versions: dict[str, str]) -> str | None:
    """AUTOMATIC1111's name of a scheduler that was chosen; the class of a model's own."""
    chosen = BY_NAME.get(str(settings.get("scheduler")))
    if chosen is not None:
        return chosen.label
    return versions.get("scheduler", None if "provider" in versions else "default")


def _schedule_type(settings: dict[str, Any]) -> str | None:
    """Its name there for the spacing of noise levels or steps."""
    if settings.get("sigmas"):
        return str(settings["sigmas"]).capitalize()
    return "SGM Uniform" if settings.get("timestep_spacing") == "trailing" else None


def read_manifest(file: Path | BinaryIO) -> dict[str, Any] | None:
    """The manifest in a published picture; None if there is none."""
    from PIL import Image  # imported here: the API process imports this module but opens no picture

    with Image.open(file) as picture:
        text = getattr(picture, "text", {}).get(MANIFEST_KEY)
    try:
        manifest = json.loads(text or "null")
    except ValueError:  # from another program
        return None
    return manifest if isinstance(manifest, dict) else None


def _quoted(value: Any) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(mark in text for mark in ',:"\n') else text


XMP_KEY = "XML:com.adobe.xmp"  # the keyword of the PNG chunk
_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # UUID of XMP in MP4
FROM_TEXT = _TYPES + "trainedAlgorithmicMedia"
FROM_IMAGE = _TYPES + "compositeWithTrainedAlgorithmicMedia"


def digital_source_type(task: Task, *, from_pictures: bool = False) -> str:
    """IPTC's type for the result of `task`: generated from text only, or from an existing picture."""
    return FROM_TEXT if task in TEXT_TASKS and not from_pictures else FROM_IMAGE


def xmp_packet(source_type: str, creator: str) -> str:
    """An XMP packet with this type. `creator` is the program's name and version."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about=""'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        f" Iptc4xmpExt:DigitalSourceType={quoteattr(source_type)}"
        f" xmp:CreatorTool={quoteattr(creator)}/>"
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )


def marked_mp4(content: bytes, xmp: str) -> bytes:
    """The MP4 with `xmp` in a box at the end, which players skip."""
    packet = xmp.encode()
    return content + struct.pack(">I4s", 8 + len(_XMP_BOX) + len(packet), b"uuid") + _XMP_BOX + packet

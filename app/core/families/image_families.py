"""The families that draw pictures. A family without a record works too: its classes' calls are read (`lookup.py`)."""

from __future__ import annotations

from collections.abc import Mapping

from app.core.families.family import Family
from app.core.schedulers.table import DIFFUSION_SCHEDULERS, FLOW_SCHEDULERS
from app.core.tasks import Task

# Models that take a control picture themselves, and need one: its latents are concatenated to those that are drawn.
FLUX_CONTROL: Mapping[Task, str] = {
    "txt2img": "FluxControlPipeline",
    "img2img": "FluxControlImg2ImgPipeline",
    "inpaint": "FluxControlInpaintPipeline",
}
IMAGE_FAMILIES = (
    Family(
        "FLUX.2 klein",
        ("Flux2Klein*",),
        siblings={"inpaint": "Flux2KleinInpaintPipeline"},
        step_caches=dict.fromkeys(
            ("Flux2KleinPipeline", "Flux2KleinInpaintPipeline"), ("taylorseer", "mag", "pyramid")
        ),
        most_pictures=4,
        loras=("flux2",),
        schedulers=FLOW_SCHEDULERS,
    ),
    Family(
        "FLUX.2",
        ("Flux2*",),
        step_caches={"Flux2Pipeline": ("mag", "pyramid")},
        most_pictures=8,
        loras=("flux2",),
        schedulers=FLOW_SCHEDULERS,
    ),
    Family(
        "FLUX.1 Kontext",
        ("FluxKontext*",),
        siblings={"inpaint": "FluxKontextInpaintPipeline"},
        step_caches={"FluxKontextPipeline": ("mag", "pyramid")},
        xformers=True,
        loras=("flux",),
        schedulers=FLOW_SCHEDULERS,
    ),
    *(
        Family(
            f"FLUX.1 Control, {task}",
            (name,),
            tasks=(task,),
            xformers=True,
            loras=("flux",),
            schedulers=FLOW_SCHEDULERS,
        )
        for task, name in FLUX_CONTROL.items()
    ),
    Family(
        "FLUX.1",
        ("Flux*",),
        step_caches={
            "FluxPipeline": ("first-block", "taylorseer", "mag", "pyramid"),
            **dict.fromkeys(("FluxImg2ImgPipeline", "FluxInpaintPipeline", "FluxFillPipeline"), ("mag",)),
        },
        merges=frozenset({"FluxPipeline"}),
        xformers=True,
        loras=("flux",),
        schedulers=FLOW_SCHEDULERS,
    ),
    Family(
        "Chroma",
        ("Chroma*",),
        siblings={"img2img": "ChromaImg2ImgPipeline", "inpaint": "ChromaInpaintPipeline"},
        loras=("chroma", "flux"),
        schedulers=FLOW_SCHEDULERS,
    ),
    Family(
        "Stable Diffusion 3",
        ("StableDiffusion3*",),
        merges=frozenset({"StableDiffusion3Pipeline"}),
        xformers=True,
        loras=("sd3",),
        schedulers=FLOW_SCHEDULERS,
    ),
    Family(
        "Stable Diffusion XL",
        ("StableDiffusionXL*",),
        merges=frozenset({"StableDiffusionXLPipeline"}),
        xformers=True,
        made_in_float16=True,
        loras=("sdxl", "unet"),
        prompt_weights=True,
        schedulers=DIFFUSION_SCHEDULERS,
    ),
    Family(
        "Stable Diffusion",
        ("StableDiffusion*",),
        merges=frozenset({"StableDiffusionPipeline"}),
        xformers=True,
        made_in_float16=True,
        loras=("sd15", "sd21", "unet"),
        prompt_weights=True,
        schedulers=DIFFUSION_SCHEDULERS,
    ),
    Family("Latent Consistency", ("LatentConsistency*",), made_in_float16=True, loras=("sd15", "unet")),
    Family("Stable Cascade", ("StableCascadeCombinedPipeline",), tasks=("txt2img",)),
    Family("Sana Sprint", ("SanaSprint*",), siblings={"img2img": "SanaSprintImg2ImgPipeline"}, loras=("sana",)),
    Family(
        "Sana",
        ("SanaPipeline", "SanaPAGPipeline"),
        merges=frozenset({"SanaPipeline"}),
        loras=("sana",),
        schedulers=FLOW_SCHEDULERS,
    ),
    Family("PixArt", ("PixArt*",), loras=("pixart",), schedulers=DIFFUSION_SCHEDULERS),
    Family(
        "Qwen-Image-Edit-Plus",
        ("QwenImageEditPlus*",),
        step_caches={"QwenImageEditPlusPipeline": ("first-block", "taylorseer", "mag")},
        tasks=("edit",),
        most_pictures=3,
        loras=("qwen",),
        schedulers=FLOW_SCHEDULERS,
    ),
    Family(
        "Qwen-Image 2.1",
        ("QwenImage21*",),
        step_caches={"QwenImage21Pipeline": ("taylorseer",)},
        most_pictures=3,
        loras=("qwen",),
        schedulers=FLOW_SCHEDULERS,
    ),
    Family(
        "Qwen-Image",
        ("QwenImage*",),
        step_caches=dict.fromkeys(
            ("QwenImagePipeline", "QwenImageImg2ImgPipeline", "QwenImageInpaintPipeline", "QwenImageEditPipeline"),
            ("first-block", "taylorseer", "mag"),
        ),
        loras=("qwen",),
        schedulers=FLOW_SCHEDULERS,
    ),
    Family("Z-Image Omni", ("ZImageOmni*",), most_pictures=3, loras=("zimage",), schedulers=FLOW_SCHEDULERS),
    Family("Z-Image", ("ZImage*",), loras=("zimage",), schedulers=FLOW_SCHEDULERS),
    Family("Lumina 2", ("Lumina2*",), loras=("lumina2",), schedulers=FLOW_SCHEDULERS),
    Family("HiDream", ("HiDream*",), loras=("hidream",)),
    Family("AuraFlow", ("AuraFlow*",), loras=("auraflow",), schedulers=FLOW_SCHEDULERS),
    Family(
        "Kolors", ("Kolors*",), made_in_float16=True, loras=("kolors", "sdxl", "unet"), schedulers=DIFFUSION_SCHEDULERS
    ),
    Family("GLM-Image", ("GlmImage*",), most_pictures=3),
    Family("OmniGen", ("OmniGen*",), most_pictures=3),
    Family("Joy Image Edit", ("JoyImageEdit*",), tasks=("edit",), most_pictures=3),
)

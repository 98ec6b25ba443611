"""The families that draw pictures. A family without a record works too: its classes' calls are read (`lookup.py`)."""

from __future__ import annotations

from app.core.families.family import Family

_MOST_PICTURES = 8

IMAGE_FAMILIES = (
    Family("FLUX.2 klein", ("Flux2Klein*",), siblings={"inpaint": "Flux2KleinInpaintPipeline"}, most_pictures=4),
    Family("FLUX.2", ("Flux2*",), most_pictures=_MOST_PICTURES),
    Family(
        "FLUX.1 Kontext",
        ("FluxKontext*",),
        siblings={"inpaint": "FluxKontextInpaintPipeline"},
        xformers=True,
    ),
    Family("FLUX.1", ("Flux*",), merges=frozenset({"FluxPipeline"}), xformers=True),
    Family("Chroma", ("Chroma*",), siblings={"img2img": "ChromaImg2ImgPipeline", "inpaint": "ChromaInpaintPipeline"}),
    Family("Stable Diffusion 3", ("StableDiffusion3*",), merges=frozenset({"StableDiffusion3Pipeline"}), xformers=True),
    Family(
        "Stable Diffusion XL",
        ("StableDiffusionXL*",),
        merges=frozenset({"StableDiffusionXLPipeline"}),
        xformers=True,
        made_in_float16=True,
    ),
    Family(
        "Stable Diffusion",
        ("StableDiffusion*",),
        merges=frozenset({"StableDiffusionPipeline"}),
        xformers=True,
        made_in_float16=True,
    ),
    Family("Latent Consistency", ("LatentConsistency*",), made_in_float16=True),
    Family("Stable Cascade", ("StableCascadeCombinedPipeline",), tasks=("txt2img",)),
    Family("Sana Sprint", ("SanaSprint*",), siblings={"img2img": "SanaSprintImg2ImgPipeline"}),
    Family("Sana", ("SanaPipeline", "SanaPAGPipeline"), merges=frozenset({"SanaPipeline"})),
    Family("Qwen-Image-Edit-Plus", ("QwenImageEditPlus*",), tasks=("edit",), most_pictures=3),
    Family("Qwen-Image-Edit", ("QwenImageEdit*",)),
    Family("Qwen-Image 2.1", ("QwenImage21*",), most_pictures=3),
    Family("Qwen-Image", ("QwenImage*",)),
    Family("Z-Image Omni", ("ZImageOmni*",), most_pictures=3),
    Family("Z-Image", ("ZImage*",)),
    Family("HunyuanImage", ("HunyuanImage*",)),
    Family("Kandinsky 5", ("Kandinsky5T2IPipeline", "Kandinsky5I2IPipeline")),
    Family("Kolors", ("Kolors*",), made_in_float16=True),
    Family("GLM-Image", ("GlmImage*",), most_pictures=3),
    Family("OmniGen", ("OmniGen*",), most_pictures=3),
    Family("Joy Image Edit", ("JoyImageEdit*",), tasks=("edit",), most_pictures=3),
    Family("LongCat Image Edit", ("LongCatImageEdit*",), tasks=("edit",)),
)

"""Bodies of AUTOMATIC1111's requests. All is optional; unknown members are told in `info`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from app.core.inputs import MOST_INPUTS
from app.core.json_values import Body, FiniteFloat, Integer
from app.core.webhooks import URL_MAX_CHARS


class Open(Body):
    """A body that may have members of any name."""

    model_config = ConfigDict(extra="allow")

    @property
    def extras(self) -> dict[str, Any]:
        """Members that are not declared."""
        return dict(self.model_extra or {})


class Txt2ImgRequest(Open):
    """Numbers may be text."""

    model_config = ConfigDict(strict=False)

    prompt: str = Field(default="", max_length=100_000)
    negative_prompt: str = Field(default="", max_length=100_000)
    seed: int = Field(default=-1, description="-1 draws one.")
    steps: int | None = Field(
        default=None, ge=-1_000_000, le=1_000_000, description="Absent: the model's; brought within its limits."
    )
    cfg_scale: FiniteFloat | None = Field(default=None, description="Absent: the model's; brought within its limits.")
    width: int | None = Field(default=None, ge=1, le=65_536, description="The nearest that the model can is drawn.")
    height: int | None = Field(default=None, ge=1, le=65_536)
    batch_size: int = Field(default=1, ge=1, le=1000, description="Pictures are batch_size times n_iter.")
    n_iter: int = Field(default=1, ge=1, le=1000)
    sampler_name: str | None = Field(default=None, max_length=60)
    sampler_index: str | int | None = None
    scheduler: str | None = Field(default=None, max_length=60)
    denoising_strength: FiniteFloat | None = Field(
        default=None, description="Of img2img, and of the second pass that `enable_hr` asks for."
    )
    enable_hr: bool = Field(default=False, description="A second pass: enlarged, and drawn over.")
    hr_scale: FiniteFloat = Field(default=2.0, ge=1, le=100)
    hr_upscaler: str | None = Field(default=None, max_length=300, description="Of `GET /sdapi/v1/upscalers`.")
    hr_second_pass_steps: int = Field(default=0, ge=0, le=1_000_000, description="0: as in the first pass.")
    hr_resize_x: int = Field(default=0, ge=0, le=65_536, description="Instead of hr_scale.")
    hr_resize_y: int = Field(default=0, ge=0, le=65_536)
    override_settings: dict[str, Any] = Field(default_factory=dict)
    send_images: bool = True
    force_task_id: str | None = Field(default=None, max_length=200)
    webhook_url: str | None = Field(default=None, max_length=URL_MAX_CHARS, description="Not AUTOMATIC1111's.")


class Img2ImgRequest(Txt2ImgRequest):
    init_images: list[str] = Field(default_factory=list, max_length=MOST_INPUTS, description="Base64 or a data URI.")
    mask: str | None = Field(default=None, description="White is painted anew.")
    inpainting_mask_invert: int = Field(default=0, description="1: black is painted anew.")


class ExtrasBody(Open):
    """What enlarging one picture and several have in common. Numbers may be text."""

    model_config = ConfigDict(strict=False)

    resize_mode: Literal[0, 1] = Field(default=0, description="0: by upscaling_resize; 1: to a size.")
    upscaling_resize: FiniteFloat = Field(default=2.0, ge=1, le=8, description="How many times wider and higher.")
    upscaling_resize_w: int = Field(default=512, ge=1, le=65_536, description="It covers this size.")
    upscaling_resize_h: int = Field(default=512, ge=1, le=65_536)
    upscaling_crop: bool = False
    upscaler_1: str = Field(default="None", max_length=300, description="Of `GET /sdapi/v1/upscalers`.")
    webhook_url: str | None = Field(default=None, max_length=URL_MAX_CHARS, description="Not AUTOMATIC1111's.")


class ExtrasSingleBody(ExtrasBody):
    image: str = Field(description="Base64 or a data URI.")


class FileData(Open):
    data: str = Field(description="Base64 or a data URI.")
    name: str = ""


class ExtrasBatchBody(ExtrasBody):
    imageList: list[FileData] = Field(min_length=1, max_length=MOST_INPUTS)


class OptionsBody(Open):
    sd_model_checkpoint: str | None = Field(default=None, description="Of `GET /sdapi/v1/sd-models`.")


class PngInfoBody(Open):
    image: str = Field(description="Base64 or a data URI.")


class TaskBody(Open):
    id_task: str = Field(max_length=200)
    id_live_preview: Integer = -1
    live_preview: bool = True

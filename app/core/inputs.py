"""Input pictures of a job: what is stored and what is reported about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.core.json_values import Body, FiniteFloat, Integer

Role = Literal["image", "mask", "reference", "control"]
Processor = Literal["none", "canny", "tile", "depth", "seg", "lineart", "pose"]
Mode = Literal[
    "canny",
    "tile",
    "depth",
    "blur",
    "pose",
    "gray",
    "low_quality",
    "scribble",
    "soft_edge",
    "lineart",
    "normal",
    "seg",
    "repaint",
]
Channel = Literal["luminance", "alpha"]
MOST_INPUTS = 10
LARGEST_EXTENSION = 4096  # pixels
PICTURE = "Base64, a data URI, the id of a gallery picture, or a public http(s) URL."


class Extend(Body):
    """By how many pixels a picture grows on each side."""

    left: Integer = Field(default=0, ge=0, le=LARGEST_EXTENSION)
    top: Integer = Field(default=0, ge=0, le=LARGEST_EXTENSION)
    right: Integer = Field(default=0, ge=0, le=LARGEST_EXTENSION)
    bottom: Integer = Field(default=0, ge=0, le=LARGEST_EXTENSION)

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if not (self.left or self.top or self.right or self.bottom):
            raise ValueError("extends no side: set left, top, right or bottom, in pixels")
        return self


CONTROL_FIELDS = ("weight", "start", "end", "processor", "model", "mode")  # of a control picture
_REFERENCE_FIELDS = ("weight", "model")


class InputChoice(Body):
    """One input picture of a request."""

    role: Role = Field(
        description="image: to start from or to edit; mask: white areas are repainted;"
        " reference: a further picture of an edit, or one whose look is taken over by an adapter;"
        " control: gives the composition, such as edges, depth or a pose, by a ControlNet."
    )
    source: str = Field(description=PICTURE)
    extend: Extend | None = Field(
        default=None, description="Of an image: pixels to add around it, which are drawn (outpainting)."
    )
    channel: Channel = Field(
        default="luminance",
        description="Of a mask: what marks the part to repaint. luminance: white; alpha: transparency, as in OpenAI's"
        " API.",
    )

    weight: FiniteFloat | None = Field(
        default=None,
        ge=0,
        le=2,
        description="Of a control or an adapter's reference: how much it counts; 1 if absent.",
    )
    start: FiniteFloat | None = Field(
        default=None, ge=0, le=1, description="Of a control: the share of the steps after which it begins; 0 if absent."
    )
    end: FiniteFloat | None = Field(
        default=None, ge=0, le=1, description="Of a control: the share of the steps after which it ends; 1 if absent."
    )
    processor: Processor | None = Field(
        default=None,
        description="Of a control: what makes the control picture out of this one; none, if absent: it is one already.",
    )
    model: str | None = Field(
        default=None,
        min_length=1,
        max_length=300,
        description="Of a control or reference: an auxiliary model of GET /api/models; absent: the one that fits.",
    )
    mode: Mode | None = Field(
        default=None, description="Of a control by a union ControlNet: what it shows; absent: as the processor says."
    )

    @model_validator(mode="after")
    def _fields_of_its_role(self) -> Self:
        allowed = CONTROL_FIELDS if self.role == "control" else _REFERENCE_FIELDS if self.role == "reference" else ()
        given = [name for name in CONTROL_FIELDS if getattr(self, name) is not None and name not in allowed]
        if given:
            raise ValueError(f"{given[0]} is not for a picture of role {self.role}")
        begin, end = self.start or 0.0, 1.0 if self.end is None else self.end
        if begin >= end:
            raise ValueError(f"start must be less than end, but {begin:g} is not less than {end:g}")
        return self

    @model_validator(mode="after")
    def _only_an_image_grows(self) -> Self:
        if self.extend is not None and self.role != "image":
            raise ValueError("extend is for a picture of role image")
        return self


class InputRef(BaseModel):
    """Reference to an input picture in jobs, manifests and statuses. `sha256` is of the file as sent, `width` and
    `height` as used; `image_id` is set if it came from the gallery, `extend` if the picture was extended. The others
    are those of InputChoice; `model` is the auxiliary model that uses it, by its id."""

    model_config = ConfigDict(frozen=True)

    role: Role = "image"
    sha256: str
    width: int
    height: int
    image_id: str | None = None
    extend: Extend | None = None
    weight: float | None = None
    start: float | None = None
    end: float | None = None
    processor: Processor | None = None
    model: str | None = None
    mode: Mode | None = None


@dataclass(frozen=True)
class InputPicture:
    """A prepared input: `png` is RGB, or grey for a `mask` (white = repaint). `slot` is its name within the job."""

    slot: str
    ref: InputRef
    png: bytes


_SHORT: dict[Role, str] = {"reference": "ref", "control": "ctrl"}


def slots(roles: Iterable[Role]) -> list[str]:
    """A name for each of a job's inputs: `image`, `image-2`, `mask`, `ref`, `ctrl`. At most 8 characters, as the
    database's."""
    seen: Counter[Role] = Counter()
    names = []
    for role in roles:
        seen[role] += 1
        base = _SHORT.get(role, role)
        names.append(base if seen[role] == 1 else f"{base}-{seen[role]}")
    return names


def role_of(slot: str) -> Role:
    """The role of an input by its slot."""
    for role, short in _SHORT.items():
        if slot.startswith(short):
            return role
    return "mask" if slot.startswith("mask") else "image"

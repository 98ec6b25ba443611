"""What a script needs to draw with a tiny checkpoint: the rows of the table that tests and tools walk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from PIL import Image


class Input(Enum):
    """A picture among the arguments of a call, made in the size of the sample."""

    PICTURE = "one picture"
    PICTURES = "two pictures"
    MASK = "a mask whose right half is to be repainted"


Arguments = Mapping[str, Any]
WORDS: dict[str, Arguments] = {"txt2img": {}}
VIDEO_WORDS: dict[str, Arguments] = {"txt2video": {}}


@dataclass(frozen=True)
class Sample:
    """`build` makes the pipeline of class `pipeline`. `tasks` are the additional arguments of a call by task; for a
    task that another class does with the same weights, `classes` names it. `always` are arguments of every call.
    `steps`, `width` and `height` (pixels) and `frames` are the smallest that draw; width and height are None where the
    pipeline takes none. `dtype` is the only one that the pipeline draws in."""

    build: Callable[[], Any]
    pipeline: str
    tasks: Mapping[str, Arguments] = field(default_factory=lambda: WORDS)
    classes: Mapping[str, str] = field(default_factory=dict)
    always: Arguments = field(default_factory=dict)
    steps: int = 2
    width: int | None = 32
    height: int | None = 32
    frames: int | None = None
    dtype: str = "float32"

    def arguments(self, task: str) -> dict[str, Any]:
        """All arguments of a call for `task` except the generator."""
        given = {**self.always, **self.tasks[task]}
        size = {"width": self.width, "height": self.height, "num_frames": self.frames}
        given = {"prompt": PROMPT, "num_inference_steps": self.steps, **size, **given}
        return {name: self._made(value) for name, value in given.items() if value is not None}

    def _made(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._made(each) for each in value]
        if not isinstance(value, Input):
            return value
        size = (self.width or 32, self.height or 32)
        made = {
            Input.PICTURE: lambda: picture(*size),
            Input.PICTURES: lambda: [picture(*size), picture(*size).transpose(Image.Transpose.ROTATE_180)],
            Input.MASK: lambda: mask(*size),
        }
        return made[value]()


PROMPT = "a lighthouse at dusk"


def picture(width: int, height: int) -> Image.Image:
    """A smooth picture: red grows to the right, green downwards."""
    red = Image.linear_gradient("L").rotate(90).resize((width, height))
    green = Image.linear_gradient("L").resize((width, height))
    return Image.merge("RGB", (red, green, Image.new("L", (width, height), 96)))


def mask(width: int, height: int) -> Image.Image:
    """White, to be repainted, in the right half."""
    whole = Image.new("L", (width, height), 0)
    whole.paste(255, (width // 2, 0, width, height))
    return whole

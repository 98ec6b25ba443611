"""What a client asks for with a batch: a request with holes, and how they are filled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from app.core.batches.axes import MOST_AXES, AxisChoice
from app.core.generation_settings import SEED_MAX
from app.core.json_values import Body, Integer
from app.core.request import GenerationInput

Mode = Literal["combinatorial", "zipped", "sampled"]
LARGEST_SEED = 2**63 - 1
MOST_SEEDS = 10_000
OneSeed = Annotated[Integer, Field(ge=0, le=SEED_MAX)]


class Lines(Body):
    """One request a line."""

    format: Literal["csv", "jsonl"]
    text: str = Field(description="CSV with a line of field names, or JSON objects, one a line. Nothing is expanded.")


class BatchInput(GenerationInput):
    """A request whose holes are filled in all ways: templates in the prompt, axes, seeds."""

    prompt: str = Field(default="", description="A template: `{red|green}`, `{2$$a|b|c}`, `__wildcards__`, comments.")
    axes: list[AxisChoice] = Field(default=[], max_length=MOST_AXES)
    seeds: OneSeed | list[OneSeed] | Literal["each"] | None = Field(
        default=None,
        description="A number of seeds, a list of them, or `each`: every job its own. Absent: one seed for all.",
    )
    mode: Mode = Field(
        default="combinatorial",
        description="combinatorial: every value with every other; zipped: the first values together, then the second"
        " ones; sampled: `samples` jobs, each with values by chance.",
    )
    samples: Integer | None = Field(default=None, ge=1, le=1_000_000, description="Of mode `sampled`: how many.")
    sample_seed: Integer = Field(
        default=0, ge=0, le=LARGEST_SEED, description="Of mode `sampled`: the same seed draws the same samples."
    )
    lines: Lines | None = Field(default=None, description="In place of templates and axes: one request a line.")

    def base(self) -> dict[str, JsonValue]:
        """The request without its holes, as JSON, with what was sent and nothing else."""
        fields = set(GenerationInput.model_fields) - {"prompt"}
        dumped: Mapping[str, Any] = self.model_dump(mode="json", include=fields, exclude_unset=True)
        return dict(dumped)

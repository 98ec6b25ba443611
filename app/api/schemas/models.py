"""The catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Self

from pydantic import Field

from app.core.auxiliaries import Kind
from app.core.catalog import Group, Lane, Media
from app.core.fit import Answer
from app.core.response_body import ResponseBody
from app.services.models.auxiliaries import processors_of
from app.services.models.model_files import Download
from app.services.ops.stats import AuxiliaryState, ModelState

_OF_VIDEOS = {"num_frames", "fps", "frame_step", "max_frames", "max_fps"}


class DownloadBody(ResponseBody):
    downloaded_bytes: int
    total_bytes: int
    eta_seconds: float | None = Field(description="Until all is here; null when that is not known.")

    @classmethod
    def of(cls, download: Download | None) -> Self | None:
        return None if download is None else cls.read(download)


class FitBody(ResponseBody):
    answer: Answer = Field(description="Whether it fits a device that draws here, by the size that it usually draws.")
    plan: str | None = Field(description="The memory plan under which it fits, such as `float8, model`; else null.")
    reason: str = Field(description="Why it does not fit, or why that is not known; empty when it fits.")


class ModelBody(ResponseBody):
    id: str
    name: str
    aliases: list[str] = Field(description="Other names that `model_id` takes; its `repo` is one too, in any case.")
    repo: str
    description: str
    source: str
    requires_auth: bool
    media: Media
    group: Group = Field(description="Where a list puts it: with those built in, by what it makes, or at a provider.")
    lane: Lane = Field(description="local: a model in memory here; remote: a provider's.")
    tasks: list[str]
    steps: dict[str, int] = Field(description='`{"fixed": n}` or `{"min", "max", "default"}`.')
    defaults: dict[str, Any]
    limits: dict[str, Any]
    schedulers: list[str] | None = Field(
        description="Names that `settings.scheduler` takes, as `GET /api/schedulers` explains them; empty: it keeps its"
        " own; null: not known before its files are here."
    )
    prediction: str | None = Field(
        description="What it predicts: epsilon or v_prediction (diffusion), flow_prediction (flow); null: not known."
    )
    prompt_weights: bool | None = Field(
        description="Whether weights such as (word:1.3), BREAK and prompts beyond 77 tokens are read; null: not known."
    )
    negative_prompt: bool = Field(description="Whether the model has one.")
    example_prompts: list[str]
    hint: str
    available: bool = Field(description="Its weights are on this machine, whole.")
    bytes: int | None = Field(
        description="What its files take on this machine's disk, also when some are missing; null of a remote model."
    )
    downloading: DownloadBody | None = Field(description="While a job fetches it, or an order to load it.")
    loaded: bool = Field(description="A live worker holds it in memory.")
    memory_plans: list[str] = Field(
        description="How live workers hold it: form of its weights and placement, such as `float8, model`."
    )
    killed_plans: list[str] = Field(
        description="Memory plans under which the kernel killed a worker for lack of memory within an hour; the next"
        " load on that device takes a smaller one."
    )
    fits: FitBody = Field(description="An estimate, for a machine that does nothing else.")
    roles: list[str] = Field(
        description="Roles of `inputs` that it takes, by itself or with the auxiliary models that fit it."
    )
    control_models: list[str] = Field(description="Auxiliary models that `model` of a control picture may name.")
    reference_models: list[str] = Field(description="Auxiliary models that `model` of a reference may name.")
    fits_with: dict[str, FitBody] = Field(
        description="For each of these auxiliary models, whether it fits together with that one."
    )

    @classmethod
    def of(cls, state: ModelState) -> Self:
        spec = state.spec
        length = set() if spec.media == "video" else _OF_VIDEOS
        return cls.read(
            state,
            state.files,
            spec,
            spec.options,
            tasks=list(state.tasks),
            schedulers=None if spec.options.schedulers is None else list(spec.options.schedulers),
            steps=spec.steps.describe(),
            defaults=spec.defaults.model_dump(exclude=length),
            limits=spec.limits.model_dump(exclude=length),
            aliases=list(spec.options.aliases),
            example_prompts=list(spec.options.example_prompts),
            downloading=DownloadBody.of(state.downloading),
            fits=FitBody.read(state.fit),
            roles=list(state.roles),
            control_models=list(state.control_models),
            reference_models=list(state.reference_models),
            fits_with={name: FitBody.read(fit) for name, fit in state.fits_with.items()},
        )


class FilesRemoved(ResponseBody):
    model_id: str
    freed_bytes: int = Field(description="0 when nothing of it was here.")


class AuxiliaryBody(ResponseBody):
    id: str
    name: str
    repo: str
    description: str
    kind: Kind = Field(description="controlnet; ip-adapter or redux, for references; detector, for a processor.")
    family: str | None = Field(description="The architecture that it is for; null while that is not known.")
    modes: list[str] = Field(description="Of a union ControlNet: what `mode` may say.")
    processor: str | None = Field(description="Of a detector: the `processor` that it makes possible.")
    available: bool = Field(description="Its weights are on this machine.")
    loaded: bool = Field(description="A live worker holds it in memory.")

    @classmethod
    def of(cls, state: AuxiliaryState) -> Self:
        known = state.known
        return cls.read(state, known, known.spec, modes=list(known.modes), processor=known.spec.options.detects)


class ModelsBody(ResponseBody):
    default: str
    prompt_max_chars: int
    models: list[ModelBody]
    auxiliaries: list[AuxiliaryBody] = Field(description="What `model` of an input picture may name.")
    processors: list[str] = Field(description="What `processor` of a control picture may name here.")

    @classmethod
    def of(
        cls,
        states: Iterable[ModelState],
        auxiliaries: Sequence[AuxiliaryState] = (),
        *,
        default_id: str,
        prompt_max_chars: int,
        **more: Any,
    ) -> Self:
        """`more` are the fields of a subclass."""
        return cls.read(
            default=default_id,
            prompt_max_chars=prompt_max_chars,
            models=[ModelBody.of(state) for state in states],
            auxiliaries=[AuxiliaryBody.of(state) for state in auxiliaries],
            processors=processors_of([state.known for state in auxiliaries]),
            **more,
        )

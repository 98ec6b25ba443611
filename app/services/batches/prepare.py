"""Prepares the jobs of a batch: each is checked as a request of its own, and all that is wrong is told at once."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from app.core.batches.batch import NewJob
from app.core.batches.plan import PlannedJob
from app.core.json_values import MOST_PROBLEMS
from app.core.lru_cache import LRUCache
from app.core.request import GenerationInput, GenerationRequest
from app.core.resolve import DRAWN_SEED_MAX
from app.errors import CyberImageError, FieldError, InvalidImage, InvalidRequest, Unavailable
from app.services.context import AppContext
from app.services.jobs.submit import Checked, KnownModel, check, known_model, with_pictures
from app.services.media.input_images import Fetched, Prepared
from app.services.models.runnable import check_runnable
from app.services.remote.spending import charge_for

MOST_SECONDS = 60  # to check all jobs of a batch
MOST_KEPT = 256  # requests that jobs share
# What of a request has no effect on how its pictures are prepared.
_NO_EFFECT = frozenset(
    {"prompt", "negative_prompt", "seed", "guidance_scale", "num_inference_steps", "num_images", "scheduler", "loras"}
)
MOST_PICTURE_BYTES = 64_000_000  # of the input pictures of all jobs, which each are stored with their job
_WORDS = {"extra_forbidden": "is not a known field", "missing": "is required"}


@dataclass
class Problems:
    """What is wrong with the jobs of a batch: the same problem of many jobs is told once, with the first of them."""

    found: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    jobs: int = 0

    def add(self, where: str, errors: Sequence[FieldError]) -> None:
        self.jobs += 1
        for error in errors:
            places = self.found.setdefault((error.field, error.message), [])
            places.append(where)

    def errors(self) -> list[FieldError]:
        """The first of them, for an answer."""
        told = []
        for (name, message), places in list(self.found.items())[:MOST_PROBLEMS]:
            more = f" (and in {len(places) - 1:,} more)" if len(places) > 1 else ""
            told.append(FieldError(f"{places[0]}.{name}".rstrip("."), f"{message}{more}"))
        return told

    def refuse(self) -> None:
        """Raises InvalidRequest if there are any."""
        if self.found:
            told = self.errors()
            words = "; ".join(f"{each.field}: {each.message}" for each in told)
            raise InvalidRequest(f"{self.jobs:,} jobs cannot be made, so none was. {words}"[:4000], errors=told)


class JobPreparer:
    """Makes the jobs of one batch. What equal requests share is checked once."""

    def __init__(self, context: AppContext, *, client_id: str, request_id: str | None, drawn_seed: int) -> None:
        self._context = context
        self._client_id = client_id
        self._request_id = request_id
        self._drawn_seed = drawn_seed
        self._ends = time.monotonic() + MOST_SECONDS
        self._inputs = LRUCache[tuple[int, ...], GenerationInput](MOST_KEPT)
        self._models: dict[str | None, KnownModel] = {}
        self._pictures: dict[str, Prepared | InvalidImage] = {}
        self._fetched: Fetched = {}
        self._last: tuple[Any, Checked] | None = None
        self._picture_bytes = 0
        self.problems = Problems()

    def jobs(self, planned: Iterable[PlannedJob]) -> list[NewJob]:
        """Those that can be made; what is wrong with the others is in `problems`."""
        found = []
        for job in planned:
            if time.monotonic() > self._ends:
                message = f"took more than {MOST_SECONDS} seconds to check; make fewer jobs, or send smaller pictures"
                raise Unstorable(f"The batch {message}.", errors=[FieldError("body", message)])
            try:
                found.append(self._job(job))
            except ValidationError as error:
                self.problems.add(job.where, [_field_error(one) for one in error.errors(include_url=False)])
            except (Unavailable, Unstorable):
                raise
            except CyberImageError as error:
                if error.status >= 500:
                    raise
                self.problems.add(job.where, error.errors or [FieldError("", error.detail)])
        return found

    def _job(self, job: PlannedJob) -> NewJob:
        checked = self._checked(job)
        ready = self._ready(job, checked)
        check_runnable(self._context, checked.fleet, ready.request)
        self._bound(ready)
        return NewJob(
            job.place,
            ready.request,
            checked.spec.lane,
            (*checked.warnings, *ready.warnings),
            ready.pictures,
            charge_for(self._context, checked.spec, ready.request),
        )

    def _checked(self, job: PlannedJob) -> Checked:
        """Jobs that differ in the seed alone are checked once."""
        alike = (job.key, job.prompt)
        if job.key is not None and job.seed is not None and self._last is not None and self._last[0] == alike:
            known = self._last[1]
            if job.seed + known.request.num_images - 1 <= DRAWN_SEED_MAX:
                return replace(known, request=known.request.model_copy(update={"seed": job.seed}))
        asked = self._asked(job)
        checked = check(
            self._context,
            asked,
            client_id=self._client_id,
            request_id=self._request_id,
            drawn_seed=self._drawn_seed,
            known=self._model(asked.model_id),
        )
        self._last = (alike, checked)
        return checked

    def _asked(self, job: PlannedJob) -> GenerationInput:
        if job.key is None:
            return GenerationInput.model_validate(job.body)
        if (known := self._inputs.get(job.key)) is None:
            known = GenerationInput.model_validate({**job.body, "prompt": job.prompt})
            self._inputs.put(job.key, known.model_copy(update={"prompt": ""}))
        settings = known.settings if job.seed is None else known.settings.model_copy(update={"seed": job.seed})
        return known.model_copy(update={"prompt": job.prompt, "settings": settings})

    def _model(self, model_id: str | None) -> KnownModel:
        if model_id not in self._models:
            self._models[model_id] = known_model(self._context, model_id)
        return self._models[model_id]

    def _ready(self, job: PlannedJob, checked: Checked) -> Prepared:
        """With its pictures, which jobs share that prepare them alike: unless an extended one is filled with noise of
        the seed."""
        pictures = checked.asked.pictures
        if not pictures:
            return with_pictures(self._context, checked, client_id=self._client_id)
        extends = any(picture.extend is not None for picture in pictures)
        own = checked.request.model_dump_json(exclude=set(_NO_EFFECT - ({"seed"} if extends else set())))
        sent = "".join(picture.model_dump_json() for picture in pictures)
        alike = hashlib.sha256(f"{checked.spec.id} {own} {sent}".encode()).hexdigest()
        if alike not in self._pictures:
            self._pictures[alike] = self._read(checked)
        known = self._pictures[alike]
        if isinstance(known, InvalidImage):
            raise known
        return replace(known, request=_placed(checked.request, known.request))

    def _read(self, checked: Checked) -> Prepared | InvalidImage:
        """The pictures of a job, or what is wrong with them, which is as true of the next job that sends them."""
        try:
            return with_pictures(self._context, checked, client_id=self._client_id, fetched=self._fetched)
        except InvalidImage as problem:
            return problem

    def _bound(self, ready: Prepared) -> None:
        self._picture_bytes += sum(len(picture.png) for picture in ready.pictures)
        if self._picture_bytes > MOST_PICTURE_BYTES:
            message = (
                f"would store more than {MOST_PICTURE_BYTES:,} bytes of input pictures with the jobs; make fewer jobs,"
                " or smaller pictures"
            )
            raise Unstorable(f"The batch {message}.", errors=[FieldError("inputs", message)])


class Unstorable(InvalidRequest):
    """More input pictures, or more work, than a batch may have: no other job can mend that."""


def _placed(request: GenerationRequest, known: GenerationRequest) -> GenerationRequest:
    """`request` with the size and the references of the pictures of `known`."""
    return request.model_copy(update={"width": known.width, "height": known.height, "pictures": known.pictures})


def _field_error(complaint: Any) -> FieldError:
    path = ".".join(str(part)[:100] for part in complaint["loc"])
    return FieldError(path, _WORDS.get(complaint["type"]) or complaint["msg"].removeprefix("Value error, "))

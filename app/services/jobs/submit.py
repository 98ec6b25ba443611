"""Submit a request: check it against the model, the queue and the disk, store it, wake a worker."""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic_core import to_json

from app.config import Settings
from app.core.catalog import Media, ModelSpec
from app.core.inputs import CONTROL_FIELDS, InputChoice
from app.core.prompt_reading import FIELDS as PROMPT_FIELDS
from app.core.prompt_screening import DEFAULT_PATTERNS, Patterns, compiled, find_attack, refusal_message
from app.core.repaint import FIELDS as REPAINT_FIELDS
from app.core.request import GenerationInput, GenerationRequest
from app.core.rerun import RerunOf
from app.core.resolve import DRAWN_SEED_MAX, resolve
from app.core.schedulers.choice import FIELDS as SCHEDULER_FIELDS
from app.errors import QueueFull
from app.monitoring.tracing import current_header
from app.services.context import AppContext
from app.services.jobs.eta import EtaEstimator
from app.services.media.disk import refuse_when_full
from app.services.media.input_images import Fetched, Prepared, prepare
from app.services.models.auxiliaries import with_auxiliaries
from app.services.models.capabilities import check_known_task, known_spec
from app.services.models.embeddings import with_embeddings
from app.services.models.fleet import Fleet, fleet_of, informed
from app.services.models.loras import check_loras
from app.services.models.runnable import check_runnable
from app.services.models.upscalers import with_upscaler
from app.services.remote.models import RemoteModels
from app.services.remote.requests import prepare_remote
from app.services.remote.spending import charge_for
from app.services.webhooks.signing import check_url
from app.store.queue.idempotency import IdempotencyKey

USUAL_WAIT_SECONDS = 30.0
LONGEST_WAIT_SECONDS = 300.0

log = logging.getLogger("cyberimage.access")
_LATER_SETTINGS = ("true_cfg_scale", "guidance_scale_2", "upscale", *SCHEDULER_FIELDS, *REPAINT_FIELDS, *PROMPT_FIELDS)
security_log = logging.getLogger("cyberimage.security")


@dataclass(frozen=True)
class Submission:
    """The answer to the client. `is_new` is false for a repeated Idempotency-Key: then it is the first answer."""

    job_id: str
    position: int | None
    warnings: Sequence[str]
    is_new: bool


def submit(
    context: AppContext,
    asked: GenerationInput,
    *,
    client_id: str,
    priority: int = 0,
    idempotency_key: str | None = None,
    webhook_url: str | None = None,
    request_id: str | None = None,
    rerun_of: RerunOf | None = None,
) -> Submission:
    """Enqueue `asked`. Once this returns, the job survives any crash. `rerun_of` is the picture to generate again.

    Raises UnknownModel, InvalidRequest, PromptTooLong, SuspiciousInput, UnsupportedTask, InvalidImage,
    LoraUnavailable, LoraIncompatible, InputModelUnavailable, InputModelIncompatible, EmbeddingUnavailable,
    EmbeddingIncompatible, NoCapableWorker, IdempotencyConflict, QueueFull, SpendLimit or DiskFull; nothing is stored
    then.
    """
    idempotency = keyed(idempotency_key, lambda: request_digest(asked, priority, webhook_url))
    if (earlier := earlier_submission(context, client_id, idempotency)) is not None:
        return earlier
    checked = check(context, asked, client_id=client_id, request_id=request_id, drawn_seed=draw_seed())
    if webhook_url is not None:
        check_url(context, webhook_url)
    refuse_when_no_room(context, checked.request)
    ready = with_pictures(context, checked, client_id=client_id)
    check_runnable(context, checked.fleet, ready.request)
    return store(
        context,
        ready.request.model_copy(update={"rerun_of": rerun_of}),
        checked.spec,
        client_id=client_id,
        priority=priority,
        warnings=(*checked.warnings, *ready.warnings, *(rerun_of.notes if rerun_of is not None else ())),
        webhook_url=webhook_url,
        idempotency=idempotency,
        request_id=request_id,
        pictures=ready.pictures,
    )


@dataclass(frozen=True)
class Checked:
    """A request that its model can run, but for its input pictures, which `asked` names. `fleet`: the workers that it
    was checked for."""

    asked: GenerationInput
    request: GenerationRequest
    spec: ModelSpec
    warnings: Sequence[str]
    fleet: Fleet


def check(
    context: AppContext,
    asked: GenerationInput,
    *,
    client_id: str,
    request_id: str | None,
    drawn_seed: int,
    known: KnownModel | None = None,
) -> Checked:
    """Check `asked` by all rules that need neither its pictures nor the queue. `known` is the answer of `known_model`
    for its model, which takes as long as all else, if it is at hand. Raises as `submit` does."""
    settings = context.settings
    spec, fleet = known or known_model(context, asked.model_id)
    screen_prompts(settings, _prompts(asked, settings), client_id=client_id, request_id=request_id)
    resolved = resolve(asked, spec, prompt_max_chars=settings.prompt_max_chars, drawn_seed=drawn_seed)
    check_known_task(spec, resolved.request.task)
    loras = check_loras(context, spec, resolved.request.loras, fleet) if resolved.request.loras else ()
    request, read = with_embeddings(context, spec, resolved.request.model_copy(update={"loras": loras}), fleet)
    asked = with_auxiliaries(context, spec, asked, request.task, fleet)
    second = with_upscaler(context, request.upscale, "settings.upscale.model", drawn_by=spec.id, fleet=fleet)
    return Checked(asked, request.model_copy(update={"upscale": second}), spec, (*resolved.warnings, *read), fleet)


KnownModel = tuple[ModelSpec, Fleet]


def known_model(context: AppContext, model_id: str | None) -> KnownModel:
    """The model called `model_id` with what is known of its files, and the workers of its lane. Raises UnknownModel."""
    spec = context.catalog.get(model_id)
    fleet = fleet_of(context, spec.lane)
    return known_spec(context, informed(context, fleet, spec)), fleet


def with_pictures(context: AppContext, checked: Checked, *, client_id: str, fetched: Fetched | None = None) -> Prepared:
    """The request with its input pictures, read and scaled; those from URLs are kept in `fetched`. Raises
    InvalidImage."""
    if not checked.asked.pictures:
        return Prepared(checked.request)
    return prepare(context, checked.asked, checked.request, checked.spec, client_id=client_id, fetched=fetched)


def submit_remote(
    context: AppContext,
    models: RemoteModels,
    media: Media,
    model: str,
    input: Mapping[str, Any],
    *,
    client_id: str,
    source_image_id: str | None = None,
    priority: int = 0,
    idempotency_key: str | None = None,
    webhook_url: str | None = None,
    request_id: str | None = None,
) -> Submission:
    """Enqueue a generation by the provider's `model` with `input` in its native schema, optionally starting from a
    gallery picture.

    Raises what `submit` does, ProviderError if the model's schema cannot be fetched, and ModelUnavailable without a
    provider.
    """
    asked = [media, model, input, priority, webhook_url or "", source_image_id]
    idempotency = keyed(idempotency_key, lambda: hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest())
    if (earlier := earlier_submission(context, client_id, idempotency)) is not None:
        return earlier
    ready = prepare_remote(
        context,
        models,
        media,
        model,
        input,
        client_id=client_id,
        drawn_seed=draw_seed(),
        source_image_id=source_image_id,
    )
    screen_prompts(context.settings, ready.prompts, client_id=client_id, request_id=request_id)
    if webhook_url is not None:
        check_url(context, webhook_url)
    check_runnable(context, fleet_of(context, "remote"), ready.request)
    refuse_when_no_room(context, ready.request)
    return store(
        context,
        ready.request,
        ready.spec,
        client_id=client_id,
        priority=priority,
        warnings=ready.warnings,
        webhook_url=webhook_url,
        idempotency=idempotency,
        request_id=request_id,
    )


def keyed(key: str | None, digest: Callable[[], str]) -> IdempotencyKey | None:
    """The Idempotency-Key of a request with the `digest` of what it asks for; None without a key."""
    return None if key is None else IdempotencyKey(key, digest())


def earlier_submission(context: AppContext, client_id: str, idempotency: IdempotencyKey | None) -> Submission | None:
    """The first answer to a request that is repeated: it was accepted, so the limits for new jobs do not apply. Raises
    IdempotencyConflict."""
    if idempotency is None or (earlier := context.jobs.first_answer(client_id, idempotency)) is None:
        return None
    return Submission(earlier.job_id, earlier.position, earlier.warnings, is_new=False)


def store(
    context: AppContext,
    request: GenerationRequest,
    spec: ModelSpec,
    *,
    client_id: str,
    idempotency: IdempotencyKey | None,
    **more: Any,
) -> Submission:
    """Enqueue a validated request and wake a worker."""
    job, is_new = context.jobs.enqueue(
        request,
        client_id=client_id,
        lane=spec.lane,
        max_attempts=context.settings.max_attempts,
        idempotency=idempotency,
        charge=charge_for(context, spec, request),
        traceparent=current_header(),
        **more,
    )
    if is_new:
        if context.settings.auth_mode != "none":
            log.info("%s submitted a job", client_id, extra={"job_id": job.id, "request_id": job.request_id})
        context.notifications.publish("work")
        context.notifications.publish("news", job.id)
    if idempotency is not None and (first := context.jobs.first_answer(client_id, idempotency)) is not None:
        return Submission(first.job_id, first.position, first.warnings, is_new)
    return Submission(job.id, context.jobs.position(job), job.warnings, is_new)


def draw_seed() -> int:
    """A random seed."""
    return secrets.randbelow(DRAWN_SEED_MAX + 1)


def _prompts(asked: GenerationInput, settings: Settings) -> dict[str, str]:
    """The texts to screen. Longer ones are refused by `resolve` anyway and would only cost time."""
    given = {"prompt": asked.prompt.strip(), "negative_prompt": (asked.negative_prompt or "").strip()}
    given["settings.prompt_2"] = (asked.settings.prompt_2 or "").strip()
    return {field: text for field, text in given.items() if len(text) <= settings.prompt_max_chars}


def request_digest(asked: GenerationInput, priority: int, webhook_url: str | None) -> str:
    """Digest of the whole request: pictures as sent, URLs as written. The same by every route: what a route's own class
    adds to GenerationInput is not part of it."""
    pictures = (hashlib.sha256((text or "").encode()).hexdigest() for text in (asked.image, asked.mask))
    own = asked.model_dump(mode="json", include=set(GenerationInput.model_fields) - {"image", "mask", "inputs"})
    for name in _LATER_SETTINGS:  # keys that were stored before there were these still match
        if own["settings"][name] is None:
            del own["settings"][name]
    if asked.inputs:
        own["inputs"] = [_digest_of_input(each) for each in asked.inputs]
    fields = to_json(own | {"priority": priority, "webhook_url": webhook_url}).decode()
    return hashlib.sha256("|".join([fields, *pictures, str(priority), webhook_url or ""]).encode()).hexdigest()


def _digest_of_input(picture: InputChoice) -> tuple[Any, ...]:
    """What is the default adds nothing: keys that were stored before there was a choice still match."""
    digest = hashlib.sha256(picture.source.encode()).hexdigest()
    extend = () if picture.extend is None else (picture.extend.model_dump(),)
    channel = () if picture.channel == "luminance" else (picture.channel,)
    control = {name: getattr(picture, name) for name in CONTROL_FIELDS if getattr(picture, name) is not None}
    return (picture.role, digest, *channel, *extend, *([control] if control else ()))


def refuse_when_no_room(context: AppContext, request: GenerationRequest) -> None:
    """Raises QueueFull or DiskFull."""
    settings = context.settings
    refuse_when_full(context, request)
    if context.jobs.count_pending() >= settings.queue_max_pending:
        raise QueueFull(
            f"{settings.queue_max_pending} jobs are waiting already. Try again when some have finished.",
            retry_after=_seconds_until_space(context),
        )


def _seconds_until_space(context: AppContext) -> float:
    """Estimated seconds until the first running job ends."""
    seconds = EtaEstimator(context).next_end()
    return USUAL_WAIT_SECONDS if seconds is None else min(max(seconds, 1.0), LONGEST_WAIT_SECONDS)


def screen_prompts(settings: Settings, texts: Mapping[str, str], *, client_id: str, request_id: str | None) -> None:
    """Match `texts`, by field, against the patterns. Raises SuspiciousInput if SUSPICIOUS_INPUT=refuse. The caller
    bounds their length."""
    if settings.suspicious_input == "off":
        return
    for field, text in texts.items():
        found = find_attack(text, _patterns(settings.suspicious_patterns))
        if found is None:
            continue
        security_log.warning(
            "Suspicious %s (%s, %s characters) from %s: %s",
            *(field, found.pattern, len(text), client_id),
            "refused" if settings.suspicious_input == "refuse" else "let through",
            extra={"request_id": request_id},
        )
        if settings.suspicious_input == "refuse":
            raise refusal_message(field, found)


@lru_cache(maxsize=4)
def _patterns(written: str) -> Patterns:
    """The compiled SUSPICIOUS_PATTERNS (validated with the settings), or the built-in ones if empty."""
    return compiled(json.loads(written) if written else DEFAULT_PATTERNS)

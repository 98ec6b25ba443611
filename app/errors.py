"""Errors of all layers: a stable code, a message for people, an HTTP status.

A message says what is wrong *and what to do about it*; it never contains a stack trace, a secret or a path outside the
project. The codes are part of the API: clients branch on them, so a code is never renamed or reused. This module is
independent of Flask; `app.api.http.problems` turns an error into an RFC 9457 problem document.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class FieldError:
    """A problem with one field of a request. `field` is a dotted path, e.g. `settings.width`."""

    field: str
    message: str


class CyberImageError(Exception):
    """Base class of errors that are shown to clients.

    `detail` is a sentence for people. `errors` lists invalid fields, if any. `retry_after` is in seconds and becomes
    the `Retry-After` header.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    headers: ClassVar[Mapping[str, str]] = {}  # further ones of the response

    def __init__(
        self, detail: str = "", *, errors: Iterable[FieldError] = (), retry_after: float | None = None
    ) -> None:
        self.detail = detail or self.title
        self.errors = tuple(errors)
        self.retry_after = retry_after
        super().__init__(self.detail)


# --- invalid requests -------------------------------------------------------------------------------------------------


class InvalidRequest(CyberImageError):
    code, status, title = "invalid_request", 400, "The request is not valid"


class PromptTooLong(InvalidRequest):
    code, title = "prompt_too_long", "The prompt is too long"


class SuspiciousInput(InvalidRequest):
    code, title = "suspicious_input", "The input looks like an attack"


class InvalidImage(InvalidRequest):
    """An input picture that cannot be decoded, fetched or used."""

    code, title = "invalid_image", "The input picture cannot be used"


class UnsupportedTask(InvalidRequest):
    code, title = "unsupported_task", "The model does not support this task"


class UnsupportedScheduler(InvalidRequest):
    """The model cannot be used with this scheduler, as its worker found out."""

    code, title = "unsupported_scheduler", "The model does not support this scheduler"


class NoCapableWorker(CyberImageError):
    """No worker has all that the job needs."""

    code, status, title = "no_capable_worker", 400, "No worker can run this"


class UnknownModel(CyberImageError):
    code, status, title = "unknown_model", 400, "There is no such model"


class NoSuchModel(UnknownModel):
    """UnknownModel, where the model is in the URL."""

    status = 404


class NotFound(CyberImageError):
    code, status, title = "not_found", 404, "There is no resource at this URL"


class JobNotFound(NotFound):
    code, title = "job_not_found", "There is no such job"


class ImageNotFound(NotFound):
    code, title = "image_not_found", "There is no such image"


class BatchNotFound(NotFound):
    code, title = "batch_not_found", "There is no such batch"


class DeliveryNotFound(NotFound):
    code, title = "delivery_not_found", "There is no such webhook delivery"


class KeyNotFound(NotFound):
    title = "There is no such key"


class KeysNotUsed(CyberImageError):
    code, status, title = "keys_not_used", 409, "This server does not use API keys"


class OwnKey(CyberImageError):
    code, status, title = "own_key", 409, "A key cannot revoke itself"


class UntrustedHost(CyberImageError):
    code, status, title = "untrusted_host", 400, "The host name is not allowed"


class MethodNotAllowed(CyberImageError):
    code, status, title = "method_not_allowed", 405, "The method is not allowed for this URL"


class UpgradeRequired(CyberImageError):
    code, status, title = "upgrade_required", 426, "This URL is a WebSocket"
    headers: ClassVar[Mapping[str, str]] = {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}  # RFC 6455, 4.4


class Conflict(CyberImageError):
    code, status, title = "conflict", 409, "The state of the job does not allow this"


class JobCancelled(Conflict):
    code, title = "job_cancelled", "The job was cancelled"


class LoadCancelled(Conflict):
    code, title = "load_called_off", "Loading was cancelled because the model was unloaded"


class Gone(CyberImageError):
    code, status, title = "gone", 410, "The resource was removed"


class PreconditionFailed(CyberImageError):
    code, status, title = "precondition_failed", 412, "The resource has another version"


class PayloadTooLarge(CyberImageError):
    code, status, title = "payload_too_large", 413, "The request body is too large"


class UriTooLong(CyberImageError):
    code, status, title = "uri_too_long", 414, "The URL is too long"


class ExpectationFailed(CyberImageError):
    code, status, title = "expectation_failed", 417, "The expectation cannot be met"


class HeadersTooLarge(CyberImageError):
    code, status, title = "headers_too_large", 431, "The request's headers are too large"


class NotImplementedHere(CyberImageError):
    code, status, title = "not_implemented", 501, "The transfer coding is not supported"


class NotProvided(NotImplementedHere):
    """A function of another product's interface that this server does not have."""

    title = "This server does not do this"


class UnsupportedMediaType(CyberImageError):
    code, status, title = "unsupported_media_type", 415, "The content type is not supported"


class IdempotencyConflict(CyberImageError):
    code, status, title = "idempotency_conflict", 422, "The Idempotency-Key was used with another request"


class RateLimited(CyberImageError):
    code, status, title = "rate_limited", 429, "Too many requests"


class SpendLimit(CyberImageError):
    """A client's remote generations have reached the limit of a day; `retry_after` is until the next."""

    code, status, title = "spend_limit", 429, "The limit for remote generations is reached"


class QueueFull(CyberImageError):
    code, status, title = "queue_full", 429, "The queue is full"


class Unauthorized(CyberImageError):
    code, status, title = "unauthorized", 401, "Authentication is required"
    headers: ClassVar[Mapping[str, str]] = {"WWW-Authenticate": 'Bearer realm="CyberImage"'}  # RFC 6750


class InvalidToken(Unauthorized):
    title = "The token is not valid"
    headers: ClassVar[Mapping[str, str]] = {"WWW-Authenticate": 'Bearer realm="CyberImage", error="invalid_token"'}


class Forbidden(CyberImageError):
    code, status, title = "forbidden", 403, "This is not allowed"


class InvalidSignature(Forbidden):
    code, title = "invalid_signature", "The signature of the URL is not valid"

    def __init__(self) -> None:
        super().__init__("The signature does not belong to this URL, or was revoked. Ask for a new signed URL.")


class UrlExpired(Forbidden):
    code, title = "url_expired", "The URL has expired"

    def __init__(self) -> None:
        super().__init__("The time of this signed URL is over. Ask for a new one.")


class ForeignOrigin(Forbidden):
    """A browser sent this from a page of another site."""


# --- temporarily unavailable ------------------------------------------------------------------------------------------


class Unavailable(CyberImageError):
    code, status, title = "unavailable", 503, "The server cannot do this at the moment"


class NoWorker(Unavailable):
    code, title = "no_worker", "No worker is running"


class AuthUnavailable(Unavailable):
    """The hub does not answer and the cache has no answer, so the token cannot be checked."""

    code, title = "auth_unavailable", "The token cannot be checked at the moment"


class DatabaseUnavailable(Unavailable):
    """The database does not answer, or is locked for too long. Committed data is safe."""

    code, title = "database_unavailable", "The database does not answer"


class DatabaseReadOnly(DatabaseUnavailable):
    """Reads work, but no job can be accepted or finished until the database is writable again."""

    code, title = "database_read_only", "The database is read-only"


class DatabaseDamaged(DatabaseUnavailable):
    """The content of the database is damaged; a backup has to be restored."""

    code, title = "database_damaged", "The database is damaged"


class DatabaseFull(DatabaseUnavailable):
    """The disk of the database is full: no job can be accepted or finished until there is space."""

    code, status, title = "disk_full", 507, "The disk is full"


class SnapshotFailed(CyberImageError):
    """Backup or restore failed; the detail says why."""

    code, title = "snapshot_failed", "The database could not be copied"


class DiskFull(CyberImageError):
    code, status, title = "disk_full", 507, "The disk is full"


# --- failed jobs ------------------------------------------------------------------------------------------------------


class GenerationError(CyberImageError):
    """A generation failed. `transient` errors may pass and are retried while attempts are left; after one that is not
    `counted`, the attempt does not count and the job waits for as long as the fault lasts."""

    code, status, title = "generation_failed", 500, "The generation failed"
    transient: ClassVar[bool] = False
    counted: ClassVar[bool] = True


class ModelUnavailable(GenerationError):
    code, status, title = "model_unavailable", 503, "The model cannot be loaded"


class GpuRequired(ModelUnavailable):
    """The worker runs on the CPU because it found no usable GPU, and the model would take hours there."""

    code, title = "gpu_required", "The model needs a GPU"


class ModelDownloadFailed(ModelUnavailable):
    """The hub did not answer or the transfer broke; retried."""

    transient = True


class ModelRequiresAuth(GenerationError):
    code, status, title = "model_requires_auth", 403, "The model needs a Hugging Face account with access"


class LoraUnavailable(GenerationError):
    """The LoRA is missing, cannot be fetched, or is not a complete safetensors file."""

    code, status, title = "lora_unavailable", 400, "The LoRA cannot be used"


class LoraIncompatible(GenerationError):
    code, status, title = "lora_incompatible", 400, "The LoRA was made for another model"


class InputModelUnavailable(GenerationError):
    """The ControlNet, adapter or detector that a picture of `inputs` needs is missing or damaged, or there is none."""

    code, status, title = "input_model_unavailable", 400, "The model for an input picture cannot be used"


class InputModelIncompatible(GenerationError):
    code, status, title = "input_model_incompatible", 400, "The model for an input picture was made for another model"


class EmbeddingUnavailable(GenerationError):
    """An embedding that a prompt names is missing, or is not a complete safetensors file."""

    code, status, title = "embedding_unavailable", 400, "The embedding cannot be used"


class EmbeddingIncompatible(GenerationError):
    code, status, title = "embedding_incompatible", 400, "The embedding was made for another model"


class OutOfMemory(GenerationError):
    code, status, title = "out_of_memory", 507, "There is not enough memory for this"


class NoRoom(OutOfMemory):
    """The model fits under no memory plan of this device; it was not loaded."""


class GenerationTimeout(GenerationError):
    code, status, title = "timeout", 504, "The job exceeded its time limit"


class StillRunning(GenerationTimeout):
    """The call waited as long as it may; its job goes on."""

    title = "The picture is not ready yet"


class ContentBlocked(GenerationError):
    code, status, title = "content_blocked", 422, "The safety filter blocked the result"


class DeviceFailed(GenerationError):
    """The device or the worker process failed while it ran the job; the job is given back, and fails only when that
    happens to it again and again."""

    code, status, title = "device_failed", 503, "The device failed while it ran this job"


class WorkerDied(GenerationError):
    code, status, title = "worker_died", 500, "The worker died while it ran this job"


class ProviderError(GenerationError):
    code, status, title = "provider_error", 502, "The remote provider reported an error"


class ResultPending(ProviderError):
    """A finished prediction's files cannot be fetched yet. The job waits in the queue; it costs no attempt."""

    transient, counted = True, False


class ResultExpired(ProviderError):
    """The provider has deleted the files of a finished prediction before they could be fetched."""

    code, status, title = "result_expired", 410, "The provider no longer has the result"


class StorageFull(GenerationError):
    """A download does not fit on its disk; retried."""

    code, status, title = "disk_full", 507, "The disk is full"
    transient = True


class MediaUnavailable(GenerationError):
    """The picture could not be written: its folder is read-only, its disk is broken, its mount is gone."""

    code, status, title = "storage_unavailable", 503, "The picture could not be written"
    transient, counted = True, False


class MediaUnreadable(MediaUnavailable):
    """The disk or the store of a picture does not answer; whether the picture is there is unknown."""

    title = "The picture cannot be read at the moment"


class MediaDamaged(MediaUnreadable):
    """The file is not the one that was stored: waiting will not help."""

    title = "The file of the picture is damaged"
    transient, counted = False, True


class MediaFull(MediaUnavailable):
    """The picture could not be written because its disk is full."""

    code, status, title = "disk_full", 507, "The disk is full"


# --- control flow -----------------------------------------------------------------------------------------------------


class Cancelled(Exception):
    """The client cancelled the job; the engine stopped early and there is nothing to publish."""


class LeaseLost(Exception):
    """Another worker owns the job now: stop, delete your files, change nothing else."""


class ConfigurationError(Exception):
    """The configuration is wrong. `problems` lists every mistake, each naming its setting and what to do."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class DatabaseTooNew(ConfigurationError):
    """The database is from a newer version of CyberImage."""


def error_of(code: str, detail: str) -> CyberImageError:
    """The error for a job's stored `code`; for an unknown code `internal`."""
    return error_codes().get(code, CyberImageError)(detail)


def error_codes() -> Mapping[str, type[CyberImageError]]:
    """All stable codes with the first class that has each, for the API documentation."""
    found: dict[str, type[CyberImageError]] = {}
    for kind in _kinds(CyberImageError):
        found.setdefault(kind.code, kind)
    return dict(sorted(found.items()))


def codes_of(base: type[CyberImageError]) -> tuple[str, ...]:
    """The codes of `base` and of all its kinds, sorted."""
    return tuple(sorted({kind.code for kind in _kinds(base)}))


def _kinds(base: type[CyberImageError]) -> list[type[CyberImageError]]:
    """`base` and its subclasses, the nearer ones first."""
    found = [base]
    for kind in found:
        found.extend(kind.__subclasses__())
    return found

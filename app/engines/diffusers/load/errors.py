"""Maps exceptions of torch, diffusers and huggingface_hub to errors that say what to do."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import huggingface_hub.errors as hub

from app.core.catalog import ModelSpec
from app.core.faults import is_out_of_memory
from app.errors import GenerationError, ModelDownloadFailed, ModelRequiresAuth, ModelUnavailable, StorageFull

# What the libraries raise when files are missing, damaged, or of an unknown kind. HTTPError is the base class of the
# HTTP library that huggingface_hub uses.
DOWNLOAD_ERRORS = (OSError, ValueError, hub.HTTPError, hub.EntryNotFoundError, hub.RevisionResolutionError)
LOAD_ERRORS = (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError, RuntimeError)
_UNREACHABLE = (hub.HTTPError, ConnectionError, TimeoutError, hub.EntryNotFoundError)
MEMORY_ERRORS = (RuntimeError, MemoryError, OSError)  # what may mean that memory ran out: app.core.faults decides


@dataclass(frozen=True)
class Advice:
    """What to do about a kind of file that cannot be downloaded: `by_hand` without the hub, `name` to look up when the
    hub has no such repository. `kind` is what the repository should be."""

    kind: str
    by_hand: str
    name: str


MODEL = Advice(
    "a diffusers model", "copy the model here and configure its folder as a local model", "the repo in the MODEL_ line"
)
LORA = Advice("a LoRA", "put its .safetensors file into the folder LORAS_DIR", "the LoRA's name in the request")
CHECKER = Advice("a safety checker", "copy its folder into MODEL_CACHE_DIR", "the name in SAFETY_CHECKER")


def download_error(error: BaseException, spec: ModelSpec, advice: Advice = MODEL) -> GenerationError:
    """The error for a repository that could not be downloaded from the hub."""
    repo, causes = spec.repo, list(_chain(error))
    if any(isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT) for cause in causes):
        return StorageFull(f"The disk is full; {repo} could not be downloaded. Free some space in MODEL_CACHE_DIR.")
    for cause in causes:
        known = _hub_answer(cause, spec, advice)
        if known is not None:
            return known
    if any(isinstance(cause, hub.OfflineModeIsEnabled) for cause in causes):
        return ModelUnavailable(
            f"{repo} is not on this machine and HF_HUB_OFFLINE forbids a download. Unset it, or {advice.by_hand}."
        )
    unreachable = [cause for cause in causes if isinstance(cause, _UNREACHABLE)]
    if unreachable:
        return ModelDownloadFailed(
            f"{repo} is not on this machine and the hub could not be reached ({first_line(unreachable[-1])})."
            f" Check the network, or {advice.by_hand}."
        )
    if "safetensors" in str(error):
        return ModelUnavailable(
            f"{repo} does not have all its weights as .safetensors. Pickles can run code and are never loaded;"
            f" use a version of {repo} with .safetensors files."
        )
    return ModelUnavailable(f"{repo} cannot be used: {first_line(error)}")


def _hub_answer(error: BaseException, spec: ModelSpec, advice: Advice) -> GenerationError | None:
    """The error for a hub response, None when `error` is not one. The order matters: gated is also not found."""
    repo = spec.repo
    if isinstance(error, hub.GatedRepoError):
        return ModelRequiresAuth(
            f"{repo} is gated. Accept its licence on its page on the hub, put a token of that account into .env as"
            " HF_TOKEN, and restart the worker."
        )
    if isinstance(error, hub.RepositoryNotFoundError):
        if spec.requires_auth:
            return ModelRequiresAuth(f"The hub denies access to {repo}. Put a token with access into .env as HF_TOKEN.")
        return ModelUnavailable(
            f"The hub has no {repo}, or it is private. Check {advice.name}; if it is private, set HF_TOKEN."
        )
    if isinstance(error, hub.RevisionNotFoundError):
        return ModelUnavailable(f"{repo} has no revision {spec.options.revision!r}. Correct it in the MODEL_ line.")
    if isinstance(error, hub.RemoteEntryNotFoundError):
        return ModelUnavailable(f"{repo} is not {advice.kind}: the hub has no such file ({first_line(error)}).")
    if isinstance(error, hub.HfHubHTTPError) and error.response is not None:
        status = error.response.status_code
        if status in (401, 403):
            return ModelRequiresAuth(f"The hub refused access to {repo} ({status}). Check HF_TOKEN and its rights.")
        return ModelDownloadFailed(f"The hub answered {status} for {repo}. Try again later.")
    return None


def load_error(error: BaseException, spec: ModelSpec) -> ModelUnavailable:
    """The error for local files that could not be loaded as a pipeline."""
    missing = f"{error.filename} is missing" if isinstance(error, FileNotFoundError) and error.filename else None
    return ModelUnavailable(f"{spec.id} ({spec.repo}) cannot be loaded: {missing or first_line(error)}")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """`error` and its causes; libraries wrap the hub's response in an EnvironmentError."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def first_line(error: BaseException) -> str:
    """The first line of its message, or its class; at most 300 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]


log = logging.getLogger("cyberimage.models")


@cache
def warn_once(message: str) -> None:
    """Log `message` as a warning on the first call with it."""
    log.warning(message)


def fits_in_memory(work: Callable[[], None]) -> bool:
    """Run `work`; False if memory ran out. The exception and its frames are released on return."""
    try:
        work()
    except MEMORY_ERRORS as error:
        if not is_out_of_memory(error):
            raise
        log.warning("out of memory: %s", str(error).splitlines()[0] if str(error) else type(error).__name__)
        return False
    return True

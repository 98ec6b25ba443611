"""Whether the repositories of the catalogue exist on the hub: `cyberimage models check`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from app.core.catalog import ModelSpec
from app.files.hub_cache import is_repo_id

TIMEOUT_SECONDS = 15.0


@dataclass(frozen=True)
class RepositoryState:
    """`state` is `there`, `gated` (it is there, for accounts that accepted its licence), `moved` (the hub answers with
    another id), `gone` (or private: the hub tells them apart for its owner only), `incomplete` (it lacks a file that
    its line names, or has no .safetensors) or `unknown` (no answer)."""

    repo: str
    state: str
    detail: str = ""

    @property
    def is_usable(self) -> bool:
        return self.state in ("there", "gated")


def companion_states(api: HfApi, spec: ModelSpec) -> list[RepositoryState]:
    """Of the repositories that an auxiliary model or upscaler is made of."""
    second, states = spec.options.second, list[RepositoryState]()
    names: list[str] = []
    if spec.source == "huggingface":
        states.append(state_of(api, spec.repo, names))
        if states[0].state == "there":
            states = [_complete(spec, names)]
    beside = any(name.startswith(f"{second}/") for name in names)
    if second is not None and is_repo_id(second) and not beside and spec.source == "huggingface":
        states.append(state_of(api, second))
    return states


def _complete(spec: ModelSpec, names: Collection[str]) -> RepositoryState:
    if spec.options.file is not None and spec.options.file not in names:
        return RepositoryState(spec.repo, "incomplete", f"it has no {spec.options.file}: correct the line of {spec.id}")
    if not any(name.lower().endswith(".safetensors") for name in names):
        return RepositoryState(spec.repo, "incomplete", f"it has no .safetensors file, which {spec.id} is loaded from")
    return RepositoryState(spec.repo, "there")


def state_of(api: HfApi, repo: str, names: list[str] | None = None) -> RepositoryState:
    """Ask the hub about `repo`. The names of its files are added to `names`."""
    try:
        found: Any = api.model_info(repo, timeout=TIMEOUT_SECONDS)
        if names is not None:
            names += [each.rfilename for each in found.siblings or ()]
    except GatedRepoError:
        return RepositoryState(repo, "gated")
    except RepositoryNotFoundError:
        return RepositoryState(repo, "gone", "or private")
    except (HfHubHTTPError, OSError) as error:  # its HTTP client's errors are OSErrors
        return RepositoryState(repo, "unknown", str(error).partition("\n")[0][:200] or type(error).__name__)
    if found.id.lower() != repo.lower():
        return RepositoryState(repo, "moved", f"to {found.id}")
    return RepositoryState(repo, "gated" if found.gated else "there")

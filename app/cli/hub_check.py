"""Whether the repositories of the catalogue exist on the hub: `cyberimage models check`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

TIMEOUT_SECONDS = 15.0


@dataclass(frozen=True)
class RepositoryState:
    """`state` is `there`, `gated` (it is there, for accounts that accepted its licence), `moved` (the hub answers with
    another id), `gone` (or private: the hub tells them apart for its owner only) or `unknown` (no answer)."""

    repo: str
    state: str
    detail: str = ""

    @property
    def is_usable(self) -> bool:
        return self.state in ("there", "gated")


def state_of(api: HfApi, repo: str) -> RepositoryState:
    """Ask the hub about `repo`."""
    try:
        found: Any = api.model_info(repo, timeout=TIMEOUT_SECONDS)
    except GatedRepoError:
        return RepositoryState(repo, "gated")
    except RepositoryNotFoundError:
        return RepositoryState(repo, "gone", "or private")
    except (HfHubHTTPError, OSError) as error:  # its HTTP client's errors are OSErrors
        return RepositoryState(repo, "unknown", str(error).partition("\n")[0][:200] or type(error).__name__)
    if found.id.lower() != repo.lower():
        return RepositoryState(repo, "moved", f"to {found.id}")
    return RepositoryState(repo, "gated" if found.gated else "there")

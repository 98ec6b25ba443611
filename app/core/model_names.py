"""Names of models: the id, aliases of the catalogue line, and the repository, case ignored.

Clients come with the names of other programs and of the hub; each of them leads to the same id, which is what jobs,
pictures and metrics have.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_ALIKE = 0.6  # of difflib's ratio, from which a name is suggested


@dataclass(frozen=True)
class NamedModel:
    """A model and its other names."""

    id: str
    aliases: Sequence[str]
    repo: str


class ModelNames:
    """Ids by name. An id wins over an alias, an alias over a repository, an earlier model over a later one."""

    def __init__(self, models: Iterable[NamedModel]) -> None:
        models = list(models)
        self._ids: dict[str, str] = {model.id.casefold(): model.id for model in models}
        for model in models:
            for alias in model.aliases:
                self._ids.setdefault(alias.casefold(), model.id)
        for model in models:
            self._ids.setdefault(model.repo.casefold(), model.id)

    def find(self, name: str) -> str | None:
        """The id that `name` means; None if there is none."""
        return self._ids.get(name.strip().casefold())

    def closest(self, name: str) -> str | None:
        """The id of the model whose name resembles `name` most, if one does."""
        alike = difflib.get_close_matches(name[:100].casefold(), self._ids, n=1, cutoff=_ALIKE)
        return self._ids[alike[0]] if alike else None

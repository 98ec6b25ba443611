"""Lineage of a gallery picture, as far as a client may see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.core.lineage import MadeFrom
from app.core.output import Output
from app.services.auth.permissions import may_use
from app.services.context import AppContext


@dataclass(frozen=True)
class Lineage:
    """`ancestors` oldest first, `children` newest first. `sources` has what each was made from directly, by id; only
    pictures that the client may see are in any of them."""

    output: Output
    ancestors: Sequence[Output]
    children: Sequence[Output]
    sources: Mapping[str, Sequence[MadeFrom]]


def lineage_of(context: AppContext, image_id: str, *, client_id: str) -> Lineage:
    """Raises ImageNotFound or Gone. The caller has checked whose picture it is."""
    output = context.outputs.get(image_id)
    owners: dict[str, bool] = {}

    def visible(found: Sequence[Output]) -> list[Output]:
        for each in found:
            if each.owner not in owners:
                owners[each.owner] = may_use(context, client_id, each.owner)
        return [each for each in found if owners[each.owner]]

    ancestors, children = visible(context.lineage.ancestors(image_id)), visible(context.lineage.children(image_id))
    shown = {image_id, *(each.id for each in ancestors), *(each.id for each in children)}
    sources = {
        each: [source for source in made_from if source.image_id in shown]
        for each, made_from in context.lineage.sources(shown).items()
    }
    return Lineage(output, ancestors, children, sources)

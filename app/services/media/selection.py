"""What is done to many pictures at once: chosen by their ids, or by a filter of the gallery."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from app.core.tags import MOST_TAGS, Tag
from app.services.context import AppContext
from app.services.media.gallery import Filter, picture_query
from app.services.media.removal import remove_files
from app.store.db.ids import new_id
from app.store.media.retention import OldOutput
from app.store.media.selections import PORTION

Action = Literal["delete", "restore", "purge", "favorite", "unfavorite", "tag", "untag"]
IN_BIN: frozenset[Action] = frozenset({"restore", "purge"})  # these work on what lies in the bin
MOST_IDS_TOLD = 1000


@dataclass(frozen=True)
class Selection:
    """`ids`, or all that match `filter` but for `excluded` ids; those of the client `owner` alone, unless that is
    None."""

    owner: str | None
    ids: Sequence[str] | None = None
    filter: Filter = field(default_factory=Filter)
    excluded: frozenset[str] = frozenset()


@dataclass
class Result:
    """`matched` are the pictures that the action could work on, `changed` those that were not so before; `missing` are
    the ids that name no picture of the caller's where the action looks. `ids` are those that changed, MOST_IDS_TOLD at
    most. `deletion_id` restores all that one deletion put into the bin."""

    action: Action
    matched: int = 0
    changed: int = 0
    missing: int = 0
    ids: list[str] = field(default_factory=list)
    deletion_id: str | None = None


def act(context: AppContext, action: Action, selection: Selection, tags: Sequence[Tag] = ()) -> Result:
    """Do `action` to the pictures of `selection`. In portions: one that fails leaves the earlier ones done."""
    result = Result(action, deletion_id=new_id() if action == "delete" else None)
    for portion in _portions(context, selection, binned=action in IN_BIN):
        # A transaction writes about as many rows, also with many tags: other writers wait for it.
        most = max(1, PORTION // max(1, len(tags)))
        for start in range(0, len(portion), most):
            _act_on(context, result, portion[start : start + most], selection.owner, tags)
    return result


def _act_on(context: AppContext, result: Result, asked: Sequence[str], owner: str | None, tags: Sequence[Tag]) -> None:
    there = context.selections.visible(asked, owner, binned=result.action in IN_BIN)
    changed = _change(context, result.action, there, owner, tags, result.deletion_id)
    result.matched += len(there)
    result.missing += len(asked) - len(there)
    result.changed += len(changed)
    result.ids += changed[: MOST_IDS_TOLD - len(result.ids)]


def chosen(context: AppContext, selection: Selection, *, most: int) -> list[str]:
    """The ids of the pictures of `selection`, of the first `most` and one more at most."""
    found: list[str] = []
    for asked in _portions(context, selection, binned=False):
        found += context.selections.visible(asked, selection.owner)
        if len(found) > most:
            break
    return found[: most + 1]


def _portions(context: AppContext, selection: Selection, *, binned: bool) -> Iterator[Sequence[str]]:
    if selection.ids is not None:
        ids = list(dict.fromkeys(selection.ids))
        return (ids[start : start + PORTION] for start in range(0, len(ids), PORTION))
    wanted = replace(selection.filter, owner=selection.owner, binned=binned)
    found = context.selections.matching(picture_query(context, wanted))
    return ([each for each in portion if each not in selection.excluded] for portion in found)


def _change(
    context: AppContext,
    action: Action,
    ids: Sequence[str],
    owner: str | None,
    tags: Sequence[Tag],
    deletion_id: str | None,
) -> Sequence[str]:
    store = context.selections
    if action == "delete":
        return store.move_to_bin(ids, owner, str(deletion_id))
    if action == "restore":
        return store.restore(ids, owner)
    if action == "purge":
        return _purge(context, ids)
    if action in ("favorite", "unfavorite"):
        return store.mark(ids, owner, favorite=action == "favorite")
    return store.tag(ids, owner, tags, most=MOST_TAGS) if action == "tag" else store.untag(ids, owner, tags)


def _purge(context: AppContext, ids: Sequence[str]) -> Sequence[str]:
    """Remove pictures in the bin for good: the rows first, then the files."""
    old: Sequence[OldOutput] = context.retention.in_bin(ids)
    gone = context.retention.delete(old, (), binned=True).outputs
    remove_files(context, (name for each in gone for name in (each.path, each.thumbnail_path)))
    return [each.id for each in gone]

"""Removes orphans of dead runs, and journals of a tree's changes that are of no use any more."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import Any

from batten.errors import BusyError, RefusedError
from batten.inspect.diagnose import describe
from batten.inspect.diagnosis import Diagnosis, Orphan
from batten.inspect.kinds.deleting_landed import delete_landed
from batten.inspect.kinds.landings import describe_landing, find_landing
from batten.inspect.kinds.trees import (
    describe_orphan,
    diagnose_tree,
    find_tree,
    list_throwaway,
    observe_tree,
    refuse_unfinished,
)
from batten.inspect.paths.output_path import Place, has_tree
from batten.inspect.paths.owning import hold_lock, refuse_pending
from batten.ledger.facts.observe import observe_output
from batten.ledger.generations import sweep
from batten.ledger.judge import judge
from batten.ledger.needless_changes import list_needless, remove_needless
from batten.model.rules.tree_recovery import JournalState
from batten.model.value_class import value_class
from batten.model.words import State
from batten.storage.base import Entry
from batten.storage.changing.orphans import delete_orphans, delete_staged_orphans
from batten.storage.local.locking.locks import busy_error
from batten.transactions.entry import TreePlace, hold_unrecovered, locate_tree


@value_class
class Cleaning:
    """The orphans that were removed, or would be, and how many were too young for it; `needless`
    are the journals that were. Of landed files, `why_kept` says what they are needed for."""

    removed: tuple[Orphan, ...]
    needless: tuple[Orphan, ...]
    kept: int
    is_dry_run: bool
    diagnosis: Diagnosis
    of_landed: bool = False
    why_kept: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Of what was removed."""
        return sum(orphan.bytes for orphan in self.removed)

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            "path": self.diagnosis.path,
            "dry_run": self.is_dry_run,
            "removed": [dict(vars(orphan)) for orphan in self.removed],
            "bytes": self.bytes,
            "needless": [dict(vars(journal)) for journal in self.needless],
            "kept": self.kept,
            "why_kept": list(self.why_kept),
            "found": self.diagnosis.state.value,
        }


def clean_output(place: Place, *, older_than_seconds: float, is_dry_run: bool) -> Cleaning:
    """Remove orphans of at least that age, under the lock, so that none is of a live run.

    Raises `BusyError`, or `RefusedError` for what is not batten's. If there is damage, nothing is
    removed: a staged file may be the only good copy."""
    if (tree := find_tree(place)) is not None:
        return _clean_tree(place, tree, older_than_seconds, is_dry_run=is_dry_run)
    observation = observe_output(place.storage, place.layout)
    if observation.holder is not None and is_dry_run:
        raise busy_error(place.control, observation.holder)
    if is_dry_run or judge(observation).verdict.state is State.NEW:
        return _clean(place, older_than_seconds, is_dry_run=True)
    with hold_lock(place, observation):
        return _clean(place, older_than_seconds, is_dry_run=False)


def clean_landed(place: Place, *, older_than_seconds: float, is_dry_run: bool) -> Cleaning:
    """Delete the landed files of which all that was made is complete. Raises `BusyError` while
    somebody lands there, and `RefusedError` for what is no landing."""
    observation = observe_output(place.storage, place.layout)
    landing = find_landing(place, observation)
    if landing is None:
        raise RefusedError(
            f"{place.path} holds no landed items, so none can be deleted.",
            safe="Nothing was changed.",
            next="Name the folder that is given as into=…",
        )
    done = [
        delete_landed(each, older_than_seconds=older_than_seconds, is_dry_run=is_dry_run)
        for each in landing.streams
        if each.files
    ]
    plain = describe(place, observation, judge(observation), now_seconds=time.time())
    return Cleaning(
        removed=tuple(orphan for each in done for orphan in each.removed),
        needless=(),
        kept=sum(each.kept for each in done),
        is_dry_run=is_dry_run,
        diagnosis=describe_landing(place, landing, plain),
        of_landed=True,
        why_kept=tuple(dict.fromkeys(why for each in done for why in each.why_kept)),
    )


def _clean_tree(
    place: Place, tree: TreePlace, older_than_seconds: float, *, is_dry_run: bool
) -> Cleaning:
    with nullcontext() if is_dry_run else hold_unrecovered(tree):
        refuse_unfinished(place, tree, is_mine=not is_dry_run)
        diagnosis = diagnose_tree(place, tree)
        found = list_throwaway(place, tree, is_mine=not is_dry_run)
        chosen = [each for each in found if each[1].age_seconds >= older_than_seconds]
        needless = _find_needless(place, tree, older_than_seconds)
        if not is_dry_run:
            # The journal that is gone must not come back to staged files that are gone, too.
            tree.tree.sync_names(tree.layout.control)
            delete_orphans(tree.tree, [name for name, _ in chosen])
            remove_needless(tree.tree, tree.layout, [entry for entry, _ in needless])
    return Cleaning(
        removed=tuple(orphan for _, orphan in chosen),
        needless=tuple(orphan for _, orphan in needless),
        kept=len(found) - len(chosen),
        is_dry_run=is_dry_run,
        diagnosis=diagnosis,
    )


def _clean(place: Place, older_than_seconds: float, *, is_dry_run: bool) -> Cleaning:
    observation = observe_output(place.storage, place.layout, is_mine=True)
    judgement = judge(observation)
    refuse_pending(place, judgement)
    now = time.time()
    diagnosis = describe(place, observation, judgement, now_seconds=now)
    is_damaged = judgement.verdict.state in (State.INCONSISTENT, State.CORRUPT)
    chosen = [
        (entry, orphan)
        for entry, orphan in zip(judgement.orphans, diagnosis.orphans, strict=True)
        if max(0.0, now - entry.modified_seconds) >= older_than_seconds and not is_damaged
    ]
    if not is_dry_run:
        names = [entry.name for entry, _ in chosen]
        delete_staged_orphans(place.storage, place.layout, names)
    left = () if is_damaged else _sweep(place, is_dry_run=is_dry_run)
    needless = () if is_damaged else _clean_changes(place, older_than_seconds, is_dry_run)
    return Cleaning(
        removed=(*(orphan for _, orphan in chosen), *left),
        needless=needless,
        kept=len(judgement.orphans) - len(chosen),
        is_dry_run=is_dry_run,
        diagnosis=diagnosis,
    )


def _sweep(place: Place, *, is_dry_run: bool) -> tuple[Orphan, ...]:
    """The datasets of a store whose place another one has taken, each as one; whatever their age:
    nobody can use them any more."""
    if place.storage.folder is not None:
        return ()
    left = sweep(place.storage, place.layout, is_dry_run=is_dry_run)
    return tuple(
        Orphan(path=place.show(each.folder), bytes=each.bytes, age_seconds=0, owner=None)
        for each in left
    )


def _clean_changes(place: Place, older_than_seconds: float, is_dry_run: bool) -> tuple[Orphan, ...]:
    """Of the tree that is the output of a job; none while somebody else changes it."""
    if not has_tree(place):
        return ()
    tree = locate_tree(f"{place.storage.place}/{place.layout.output}")
    try:
        with nullcontext() if is_dry_run else hold_unrecovered(tree):
            found = _find_needless(place, tree, older_than_seconds)
            if not is_dry_run:
                remove_needless(tree.tree, tree.layout, [entry for entry, _ in found])
    except BusyError:
        return ()
    return tuple(orphan for _, orphan in found)


def _find_needless(
    place: Place, tree: TreePlace, older_than_seconds: float
) -> list[tuple[Entry, Orphan]]:
    """None if a change may be half done."""
    seen = observe_tree(tree, is_mine=True)
    if seen.misplaced or seen.is_doubtful or seen.found.state is not JournalState.NONE:
        return []
    before_seconds = time.time() - older_than_seconds
    found = list_needless(tree.tree, tree.layout, before_seconds=before_seconds)
    return [(entry, describe_orphan(place, entry)) for entry in found]

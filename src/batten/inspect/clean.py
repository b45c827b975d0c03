"""Removes orphans of dead runs, and nothing else."""

from __future__ import annotations

import time
from contextlib import nullcontext

from batten.dataset.judge import judge
from batten.dataset.observe import observe_output
from batten.inspect.diagnose import describe
from batten.inspect.diagnosis import Diagnosis, Orphan
from batten.inspect.owning import hold_lock, refuse_pending
from batten.inspect.place import Place
from batten.inspect.trees import diagnose_tree, find_tree, list_throwaway, refuse_unfinished
from batten.model.value_class import value_class
from batten.model.words import State
from batten.storage.locks import busy_error
from batten.storage.upkeep import delete_orphans
from batten.transactions.entry import TreePlace, hold_unrecovered


@value_class
class Cleaning:
    """The orphans that were removed, or would be, and how many were too young for it."""

    removed: tuple[Orphan, ...]
    kept: int
    is_dry_run: bool
    diagnosis: Diagnosis


def clean_output(place: Place, *, older_than_seconds: float, is_dry_run: bool) -> Cleaning:
    """Remove orphans of at least that age, under the lock, so that none is of a live run.

    Raises `BusyError`, or `RefusedError` for what is not batten's. Where there is damage nothing
    is removed: what is staged may be the only good copy."""
    if (tree := find_tree(place)) is not None:
        return _clean_tree(place, tree, older_than_seconds, is_dry_run=is_dry_run)
    observation = observe_output(place.storage, place.layout)
    if observation.holder is not None and is_dry_run:
        raise busy_error(place.control, observation.holder)
    if is_dry_run or judge(observation).verdict.state is State.NEW:
        return _clean(place, older_than_seconds, is_dry_run=True)
    with hold_lock(place, observation):
        return _clean(place, older_than_seconds, is_dry_run=False)


def _clean_tree(
    place: Place, tree: TreePlace, older_than_seconds: float, *, is_dry_run: bool
) -> Cleaning:
    with nullcontext() if is_dry_run else hold_unrecovered(tree):
        refuse_unfinished(place, tree, is_mine=not is_dry_run)
        diagnosis = diagnose_tree(place, tree)
        found = list_throwaway(place, tree, is_mine=not is_dry_run)
        chosen = [each for each in found if each[1].age_seconds >= older_than_seconds]
        if not is_dry_run:
            delete_orphans(tree.tree, [name for name, _ in chosen])
    return Cleaning(
        removed=tuple(orphan for _, orphan in chosen),
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
        delete_orphans(place.storage, [entry.name for entry, _ in chosen])
    return Cleaning(
        removed=tuple(orphan for _, orphan in chosen),
        kept=len(judgement.orphans) - len(chosen),
        is_dry_run=is_dry_run,
        diagnosis=diagnosis,
    )

"""Completes or undoes the change of a tree that a crash has left."""

from __future__ import annotations

from collections.abc import Iterator

from batten.errors import CorruptError
from batten.inspect.advising.words_of_states import HALF_DONE
from batten.inspect.diagnose import diagnose_place
from batten.inspect.kinds.trees import TreeObservation, describe_tree, observe_tree
from batten.inspect.paths.output_path import Place
from batten.inspect.recover import Recovery, RecoveryStep, RecoveryVerb
from batten.model.rules.tree_recovery import REMEDIES, JournalState, Remedy, RollStep
from batten.storage.local.locking.locks import busy_error
from batten.transactions.entry import TreePlace, hold_unrecovered
from batten.transactions.recovery import recover_tree, set_journal_aside


def recover_place(
    place: Place, tree: TreePlace, *, is_dry_run: bool, should_set_aside: bool
) -> Recovery:
    """Complete or undo what a crash left of a change. With `should_set_aside` its journal is moved
    to the evidence instead, with all that belongs to it. Raises `BusyError`, and `RefusedError`
    if a person has to decide."""
    seen = observe_tree(tree)
    steps = tuple(_list_steps(tree, seen, should_set_aside))
    if seen.misplaced:
        first = seen.misplaced[0]
        raise CorruptError(
            f"{place.show(first.path)}: {first.evidence}.",
            safe="Nothing was changed.",
            next=f"{first.safe_action[:1].upper()}{first.safe_action[1:]}.",
        )
    if is_dry_run:
        if seen.holder is not None:
            raise busy_error(tree.tree.place + "/" + tree.layout.control, seen.holder)
        diagnosis = describe_tree(place, seen)
        return Recovery(place=place, steps=steps, is_dry_run=True, diagnosis=diagnosis)
    with hold_unrecovered(tree):
        seen = observe_tree(tree, is_mine=True)
        steps = tuple(_list_steps(tree, seen, should_set_aside))
        if should_set_aside and seen.found.state is not JournalState.NONE:
            set_journal_aside(tree.tree, tree.layout, seen.found)
        recover_tree(tree.tree, tree.layout)
    diagnosis = diagnose_place(place)
    return Recovery(place=place, steps=steps, is_dry_run=False, diagnosis=diagnosis)


def _list_steps(
    tree: TreePlace, seen: TreeObservation, should_set_aside: bool
) -> Iterator[RecoveryStep]:
    layout = tree.layout
    remedy = REMEDIES[seen.found.state]
    if seen.is_unsynced:
        why = "a sync failed; its names are made anew"
        yield RecoveryStep(kind=RecoveryVerb.RENEW, path=layout.unsynced, why=why)
    if remedy is Remedy.SET_ASIDE or (should_set_aside and remedy is not Remedy.NOTHING):
        why = seen.found.problem or "as was asked for"
        told = f"{why}; what belongs to it goes along; {HALF_DONE}"
        yield RecoveryStep(kind=RecoveryVerb.SET_ASIDE, path=layout.journal, why=told)
        return
    for decision in seen.decisions:
        if decision.step is not RollStep.NOTHING:
            yield RecoveryStep(
                kind=RecoveryVerb(remedy.value),
                path=layout.target(decision.operation.path),
                why=decision.step.value,
            )
    if remedy is Remedy.NOTHING:
        for entry in seen.leftovers:
            why = "no journal needs it"
            yield RecoveryStep(kind=RecoveryVerb.DELETE_ORPHAN, path=entry.name, why=why)
    elif remedy is not Remedy.REFUSE:
        why = "the change is done with"
        yield RecoveryStep(kind=RecoveryVerb.REMOVE_JOURNAL, path=layout.journal, why=why)

"""Trees that are changed by transactions: named, recovered and cleaned like outputs of jobs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from batten.errors import RefusedError
from batten.inspect.advising.words_of_states import Kind, TreeFacts, say
from batten.inspect.diagnosis import Diagnosis, Orphan
from batten.inspect.paths.output_path import Place, has_tree
from batten.model.disk.runs.holders import Holder
from batten.model.disk.trees.tree_names import TREE_FOLDER, TreeLayout, is_change_throwaway
from batten.model.rules.findings import Code, Finding
from batten.model.rules.states import Damage, Facts, Ground, Verdict, decide_state
from batten.model.rules.tree_recovery import REMEDIES, JournalState, Remedy, RollStep
from batten.model.value_class import value_class
from batten.storage.base import Entry, describe_kind
from batten.storage.changing.orphans import find_throwaway
from batten.storage.local.tree import Tree
from batten.storage.relative import last_piece
from batten.transactions.entry import TreePlace, locate_tree
from batten.transactions.journals import FoundJournal, find_journal
from batten.transactions.roll_forward import DecidedOperation, decide


@value_class
class TreeObservation:
    """What is there of a tree's transactions. `decisions` are what recovery would do; `given_up`
    are the folders of journals that were set aside, whose changes may be half done. `is_unsynced`:
    a sync failed, and names must be made anew. If anything is `misplaced`, nothing else was looked
    at."""

    holder: Holder | None
    found: FoundJournal
    decisions: tuple[DecidedOperation, ...]
    leftovers: tuple[Entry, ...]
    evidence: tuple[Entry, ...]
    given_up: tuple[str, ...]
    misplaced: tuple[Finding, ...] = ()
    is_unsynced: bool = False

    @property
    def lost(self) -> list[DecidedOperation]:
        return [each for each in self.decisions if each.step is RollStep.FAIL]

    @property
    def is_doubtful(self) -> bool:
        """Whether a change may be half done, and nothing here can tell."""
        is_illegible = self.found.state in (JournalState.UNREADABLE, JournalState.NEWER)
        return is_illegible or bool(self.given_up)


def find_tree(place: Place) -> TreePlace | None:
    """The tree at the place, or None. None is also for a tree that holds the output of a job, if
    nothing is to be done about the tree, or if the job's next run does it."""
    if not has_tree(place):
        return None
    tree = locate_tree(f"{place.storage.place}/{place.layout.output}")
    if not _has_dataset(place):
        return tree
    seen = observe_tree(tree)
    is_left = bool(seen.leftovers) and place.storage.find(place.layout.complete) is not None
    is_at_rest = seen.found.state is JournalState.NONE and not is_left and not seen.is_unsynced
    return None if is_at_rest or seen.holder is not None else tree


def _has_dataset(place: Place) -> bool:
    """Whether there are records of a job, be it that some were lost."""
    records = (place.layout.config, place.layout.plan)
    return any(place.storage.find(name) is not None for name in records)


def observe_tree(place: TreePlace, *, is_mine: bool = False) -> TreeObservation:
    """Reads only, and takes no lock. `is_mine`: the caller holds it."""
    tree, layout = place.tree, place.layout
    if misplaced := tuple(_find_misplaced(tree, layout)):
        return TreeObservation(
            holder=None,
            found=FoundJournal(state=JournalState.NONE),
            decisions=(),
            leftovers=(),
            evidence=(),
            given_up=(),
            misplaced=misplaced,
        )
    holder = None if is_mine else tree.observe_lock(layout.lock)
    found = find_journal(tree, layout)
    if holder is None and not is_mine and found.state is not JournalState.NONE:
        # A process that began the change between the two looks is not dead.
        holder = tree.observe_lock(layout.lock)
    journal = found.journal
    evidence = tuple(tree.list(layout.set_aside))
    is_rolled = REMEDIES[found.state] in (Remedy.ROLL_BACK, Remedy.ROLL_FORWARD) and not holder
    return TreeObservation(
        holder=holder,
        is_unsynced=tree.find(layout.unsynced) is not None,
        found=found,
        decisions=tuple(decide(tree, layout, journal)) if journal and is_rolled else (),
        leftovers=tuple(find_throwaway(tree, layout.staging, is_change_throwaway)),
        evidence=evidence,
        given_up=tuple(each.name for each in evidence if _has_journal(tree, each)),
    )


def _find_misplaced(tree: Tree, layout: TreeLayout) -> Iterator[Finding]:
    """What is not of the kind that its name says: a link in the place of a folder."""
    folders = (layout.control, layout.staging, layout.tokens, layout.set_aside)
    for name in (*folders, layout.lock, layout.journal, layout.unsynced):
        expected = "folder" if name in folders else "file"
        code = Code.UNREADABLE_FOLDER if name in folders else Code.UNREADABLE_FILE
        entry = tree.find(name)
        if entry is not None and entry.kind != expected:
            evidence = f"{describe_kind(entry)}, where a {expected} should be"
            yield Finding(code=code, path=name, evidence=evidence)
            if name == layout.control:
                return


def _has_journal(tree: Tree, evidence: Entry) -> bool:
    is_own = evidence.is_folder and last_piece(evidence.name).startswith("journal-")
    return is_own and tree.find(f"{evidence.name}/JOURNAL") is not None


def refuse_tree(place: Place) -> None:
    """Raises `RefusedError` if a change of the tree was begun and not finished, and where only
    transactions change the place: there is nothing that a job recorded."""
    if (tree := find_tree(place)) is None:
        return
    refuse_unfinished(place, tree)
    if not _has_dataset(place):
        raise RefusedError(
            f"{place.path} is a tree of files that only transactions change: there is no dataset.",
            safe="Nothing was changed.",
            next=f"See whether a change is pending: {place.command('diagnose')}",
        )


def refuse_unfinished(place: Place, tree: TreePlace, *, is_mine: bool = False) -> None:
    """Raises `RefusedError` if a change of the tree was begun and not finished. `is_mine`: the
    lock is held by the caller."""
    seen = observe_tree(tree, is_mine=is_mine)
    if seen.holder is None and seen.found.state is not JournalState.NONE:
        raise RefusedError(
            f"{_name_journal(place)}: a change was begun and not finished.",
            safe="Nothing was changed, and nothing was looked at: it may be half old and half new.",
            next=f"See what is left of it: {place.command('diagnose')}; then finish it: "
            f"{place.command('recover')}",
        )


def find_given_up(place: Place) -> TreePlace | None:
    """The tree beside the output of a job, if a change of it was given up, and may be half done."""
    tree = locate_tree(f"{place.storage.place}/{place.layout.output}")
    return tree if _find_ground(observe_tree(tree)) is Ground.GIVEN_UP else None


def diagnose_tree(place: Place, tree: TreePlace) -> Diagnosis:
    """What `batten diagnose` says of a tree."""
    return describe_tree(place, observe_tree(tree))


def list_throwaway(place: Place, tree: TreePlace, *, is_mine: bool) -> list[tuple[str, Orphan]]:
    """What dead transactions left that no journal needs, by its name in the storage. `is_mine`:
    the lock is held by the caller."""
    seen = observe_tree(tree, is_mine=is_mine)
    return [(entry.name, describe_orphan(place, entry)) for entry in _list_leftovers(seen)]


def describe_tree(place: Place, seen: TreeObservation) -> Diagnosis:
    """The diagnosis of what was seen."""
    verdict = _judge(seen)
    findings = tuple(_list_findings(place, seen))
    facts = TreeFacts(
        path=place.path,
        control=place.control + TREE_FOLDER,
        worst=f"{findings[0].path}: {findings[0].evidence}" if findings else "",
        journal=seen.found.state.value,
        has_journal=seen.found.state is not JournalState.NONE,
        is_unreadable=seen.found.state is JournalState.UNREADABLE,
        operations=len(seen.decisions),
        given_up=tuple(place.show(name) for name in seen.given_up),
        is_unsynced=seen.is_unsynced,
    )
    said = say(Kind.TREE, verdict.state, facts)
    return Diagnosis(
        state=verdict.state,
        path=place.path,
        action=verdict.action,
        next=said.next,
        risky=said.risky,
        reason=said.why,
        orphans=tuple(describe_orphan(place, entry) for entry in _list_leftovers(seen)),
        holder=seen.holder,
        missing=tuple(each.operation.path for each in seen.lost),
        findings=findings,
        exit_code=verdict.exit_code,
        readers=_tell_readers(seen),
    )


def _tell_readers(seen: TreeObservation) -> str:
    if seen.lost:
        return "what is damaged: keep them from it"
    if seen.misplaced:
        return "a tree in which a change may be half done"
    if seen.holder is not None:
        return "a tree that may be changing; under batten.read_lock they wait"
    if any(decision.step is not RollStep.NOTHING for decision in seen.decisions):
        return "a change half done; batten.read_lock finishes or undoes it first"
    return "a tree in which a change may be half done" if seen.is_doubtful else "the whole tree"


def _judge(seen: TreeObservation) -> Verdict:
    state = seen.found.state
    return decide_state(
        Facts(
            ground=_find_ground(seen),
            is_locked=seen.holder is not None,
            damage=_find_damage(seen),
            has_journal=(state is not JournalState.NONE and not seen.lost) or seen.is_unsynced,
            is_complete=True,
            has_orphans=state is JournalState.NONE and bool(seen.leftovers),
        )
    )


def _find_damage(seen: TreeObservation) -> Damage:
    if seen.misplaced:
        return Damage.CORRUPT
    return Damage.INCONSISTENT if seen.lost else Damage.NONE


def _find_ground(seen: TreeObservation) -> Ground:
    """A change that was given up is asked about when nothing else is left to do."""
    if seen.found.state is JournalState.NEWER:
        return Ground.NEWER
    is_at_rest = (
        seen.found.state is JournalState.NONE and seen.holder is None and not seen.is_unsynced
    )
    return Ground.GIVEN_UP if is_at_rest and seen.given_up else Ground.OURS


def _list_findings(place: Place, seen: TreeObservation) -> Iterator[Finding]:
    journal = _name_journal(place)
    for finding in seen.misplaced:
        yield replace(finding, path=place.show(finding.path))
    if seen.found.state is JournalState.NEWER:
        yield Finding(code=Code.NEWER_FORMAT, path=journal, evidence=seen.found.problem)
    if seen.found.state is JournalState.UNREADABLE:
        yield Finding(code=Code.UNREADABLE_JOURNAL, path=journal, evidence=seen.found.problem)
    for decision in seen.decisions:
        path = place.show(f"{place.layout.output}/{decision.operation.path}")
        if decision.step is RollStep.FAIL:
            yield Finding(code=Code.LOST_STAGED, path=path, evidence=decision.step.value)
        elif decision.step is not RollStep.NOTHING:
            yield Finding(code=Code.UNFINISHED_CHANGE, path=path, evidence=decision.step.value)
    for entry in seen.evidence:
        evidence = "kept as evidence: it could not be understood, or was changed by someone else"
        yield Finding(code=Code.SET_ASIDE, path=place.show(entry.name), evidence=evidence)


def _name_journal(place: Place) -> str:
    return place.show(f"{place.layout.control}{TREE_FOLDER}/JOURNAL")


def _list_leftovers(seen: TreeObservation) -> tuple[Entry, ...]:
    is_needed = seen.found.state is not JournalState.NONE or seen.holder is not None
    return () if is_needed else seen.leftovers


def describe_orphan(place: Place, entry: Entry) -> Orphan:
    """A file of the control folder that is of no use."""
    return Orphan(
        path=place.show(entry.name),
        bytes=entry.size,
        age_seconds=max(0, int(time.time() - entry.modified_seconds)),
        owner=None,
    )

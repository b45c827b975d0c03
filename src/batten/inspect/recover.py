"""Does the safe action: observe, decide (a list of steps), apply under the lock.

Killed anywhere and run again, it does what is left. Nothing is deleted but throwaway files: damaged
parts and their records are moved to `set-aside/`, and where a part has to be computed again, a file
in `recompute/` says so (decision 0009).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence, Set
from datetime import UTC, datetime
from enum import Enum
from itertools import groupby
from typing import Any

from batten.errors import CorruptError, InconsistentError
from batten.inspect.advising.again import find_again
from batten.inspect.diagnose import describe, find_missing
from batten.inspect.diagnosis import Diagnosis
from batten.inspect.kinds.landings import refuse_landing
from batten.inspect.paths.output_path import Place
from batten.inspect.paths.owning import hold_lock, refuse_unknown
from batten.inspect.verifying.verify import find_faults
from batten.ledger.commit_records import rebuild_records, retire_earlier
from batten.ledger.facts.observation import Observation
from batten.ledger.facts.observe import observe_output
from batten.ledger.files.schema_file import rebuild_schema
from batten.ledger.judge import judge
from batten.ledger.replacement import roll_forward
from batten.model.disk.names import Layout
from batten.model.disk.records import Config, decode_record
from batten.model.disk.staged_names import find_staged
from batten.model.rules.findings import DAMAGE, UNRECOVERABLE, Code, Finding, Severity
from batten.model.value_class import value_class
from batten.model.words import State
from batten.storage.base import Entry, Folder, Store
from batten.storage.changing.orphans import delete_staged_orphans
from batten.storage.changing.publishing import create, make_folders
from batten.storage.changing.setting_aside import set_aside
from batten.storage.local.locking.locks import busy_error
from batten.storage.relative import folder_of

RUN = "recover"
"""What a record that was made by recover gives as its run."""


class RecoveryVerb(Enum):
    """What a step does; the value is the verb for people."""

    RENEW = "make durable"
    ROLL_FORWARD = "roll forward"
    ROLL_BACK = "roll back"
    FORGET = "forget"
    SET_ASIDE = "set aside"
    GIVE_UP = "have computed again"
    REBUILD_RECORD = "rebuild"
    REBUILD_SCHEMA = "rebuild the columns"
    RETIRE_MARKER = "retire"
    DELETE_ORPHAN = "delete"
    REMOVE_JOURNAL = "remove"


@value_class
class RecoveryStep:
    """One change. `path` is relative to the storage; `batch` where the step is of one."""

    kind: RecoveryVerb
    path: str
    why: str
    batch: int = -1


@value_class
class Recovery:
    """What was done, or would be, at the place, and the diagnosis afterwards (or now)."""

    place: Place
    steps: tuple[RecoveryStep, ...]
    is_dry_run: bool
    diagnosis: Diagnosis

    def list_steps(self) -> list[dict[str, str]]:
        """The steps as people and the JSON are told them."""
        return [
            {"do": each.kind.value, "path": self.place.show(each.path), "why": each.why}
            for each in self.steps
        ]

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        extra = {"dry_run": self.is_dry_run, "steps": self.list_steps()}
        return {**self.diagnosis.to_json(), **extra}


def recover_output(place: Place, *, should_recompute: bool, is_dry_run: bool) -> Recovery:
    """Recover the output. Raises `BusyError`, `RefusedError` if it is not batten's, and
    `InconsistentError` or `CorruptError` if only a copy, or computing again, can mend it."""
    observation = observe_output(place.storage, place.layout, is_thorough=True)
    if not observation.is_unsynced:
        refuse_landing(place, observation)
    if judge(observation).verdict.state is State.NEW:
        return _tell(place, (), observation, is_dry_run=is_dry_run)
    if is_dry_run:
        if observation.holder is not None:
            raise busy_error(place.control, observation.holder)
        steps = _decide(place, observation, should_recompute)
        return _tell(place, steps, observation, is_dry_run=True)
    # Whoever takes the lock makes anew what could not be made durable.
    renewed = [_renew_step(place)] if observation.is_unsynced else []
    with hold_lock(place, observation):
        mine = _observe_mine(place)
        rolled = [_roll_step(place)] if mine.has_journal else []
        if rolled and place.storage.folder is not None:
            roll_forward(place.storage.folder, place.layout)
            mine = _observe_mine(place)
        steps = _decide(place, mine, should_recompute)
        apply_steps(place.storage, place.layout, steps, now=datetime.now(UTC))
        after = _observe_mine(place)
    return _tell(place, (*renewed, *rolled, *steps), after, is_dry_run=False)


def _renew_step(place: Place) -> RecoveryStep:
    return RecoveryStep(
        kind=RecoveryVerb.RENEW,
        path=place.layout.unsynced,
        why="a sync failed; the names that it was of are made anew",
    )


def _roll_step(place: Place) -> RecoveryStep:
    return RecoveryStep(
        kind=RecoveryVerb.ROLL_FORWARD,
        path=place.layout.replacing,
        why="the new dataset is complete, and takes the place of the old one",
    )


def _observe_mine(place: Place) -> Observation:
    """As `observe_output`, by the holder of the lock: nobody else is at work."""
    return observe_output(place.storage, place.layout, is_thorough=True, is_mine=True)


def _tell(
    place: Place, steps: Sequence[RecoveryStep], seen: Observation, *, is_dry_run: bool
) -> Recovery:
    diagnosis = describe(place, seen, judge(seen), now_seconds=time.time())
    return Recovery(place=place, steps=tuple(steps), is_dry_run=is_dry_run, diagnosis=diagnosis)


def _decide(place: Place, observation: Observation, should_recompute: bool) -> list[RecoveryStep]:
    judgement = judge(observation)
    refuse_unknown(place, judgement)
    if observation.is_unsynced:
        return [_renew_step(place)]
    if observation.has_journal:
        return [_roll_step(place)]
    findings = list(judgement.findings)
    if should_recompute:
        findings = find_faults(place.storage, observation, judgement)
    _refuse_unmendable(place, observation, findings, should_recompute)
    return decide_steps(observation, findings, judgement.orphans)


def _refuse_unmendable(
    place: Place, observation: Observation, findings: Sequence[Finding], should_recompute: bool
) -> None:
    damage = [finding for finding in findings if finding.severity in DAMAGE]
    blocked = [finding for finding in damage if finding.code in UNRECOVERABLE]
    told = blocked or damage
    is_store = place.storage.folder is None
    if not told or (should_recompute and not blocked and not is_store):
        return
    first = told[0]
    more = f" (and {len(told) - 1} more: {place.command('verify')})" if len(told) > 1 else ""
    recompute = place.command("recover", "--recompute-missing")
    next_step = f"Restore what is damaged from a copy. {_AGAIN.format(recompute)}"
    if blocked:
        advice = first.advise(place.path, observation.deliveries)
        next_step = f"For {place.show_found(first)}: {advice}. Then: {place.command('diagnose')}"
    elif is_store:
        again = find_again(place, observation, "--fresh").told
        next_step = (
            "Restore what is damaged from an earlier version of the object, or a copy. In a store "
            f"nothing is set aside or computed again by itself; to compute all anew: {again}"
        )
    kind = CorruptError if first.severity is Severity.CORRUPT else InconsistentError
    raise kind(
        f"{place.show_found(first)}: {first.evidence}{more}.",
        safe="Nothing was changed.",
        next=next_step,
        missing=find_missing(place, observation, judge(observation)),
    )


_AGAIN = "Without one: {} sets it aside, deletes nothing, and the next run computes it again."


def decide_steps(
    observation: Observation, findings: Sequence[Finding], orphans: Sequence[Entry]
) -> list[RecoveryStep]:
    """What to do about the findings, in an order in which a kill between any two steps leaves what
    the next recovery understands. Pure."""
    layout = observation.layout
    damage = [finding for finding in findings if finding.severity in DAMAGE]
    by_batch: dict[int, set[Code]] = {}
    for finding in damage:
        if finding.batch is not None:
            by_batch.setdefault(finding.batch, set()).add(finding.code)
    steps = []
    records_only = {batch for batch, codes in by_batch.items() if codes <= _OF_RECORDS}
    files_only = {batch for batch, codes in by_batch.items() if codes <= _OF_FILES}
    given_up = sorted(by_batch.keys() - records_only - files_only)
    is_open = bool(given_up or files_only) or any(
        finding.path == layout.complete for finding in damage
    )
    if observation.has_complete and is_open:
        steps.append(_set_aside(layout.complete, "the accounts are open again"))
    for batch in given_up:
        steps += _give_up(observation, batch, by_batch[batch])
    steps += _give_up_files(layout, damage, files_only)
    steps += [
        _set_aside(layout.commit(batch), "it can't be read; the part says the same", batch)
        for batch in sorted(records_only & observation.recorded)
    ]
    rebuilt = (set(observation.unrecorded) | records_only).difference(given_up)
    steps += [
        _step(
            RecoveryVerb.REBUILD_RECORD,
            layout.commit(batch, observation.versions.get(batch, "")),
            "from what the part says of itself",
            batch,
        )
        for batch in sorted(rebuilt)
    ]
    whole = observation.parts.keys() - set(given_up)
    if observation.lacks_schema and whole:
        why = "from what the part says of itself"
        steps.append(_step(RecoveryVerb.REBUILD_SCHEMA, layout.schema, why, min(whole)))
    steps += _retire_markers(observation, set(by_batch))
    steps += _delete_orphans(observation, orphans, set(by_batch))
    return steps


_OF_RECORDS = frozenset({Code.UNREADABLE_RECORD, Code.LOST_RECORD})
"""Findings of a batch whose part may be whole."""


_OF_FILES = frozenset({Code.LOST_ITEM_FILE, Code.CHANGED_ITEM_FILE})
"""Findings of a batch whose part is whole: files of its items are not."""


def _give_up_files(
    layout: Layout, damage: Sequence[Finding], batches: Set[int]
) -> Iterator[RecoveryStep]:
    """The part stays: the next run finds out which of its items lack a file."""
    for finding in damage:
        if finding.code is Code.CHANGED_ITEM_FILE:
            yield _set_aside(finding.path, "it is not as batten made it", finding.batch or 0)
    why = "the next run computes the items again that lack a file"
    for batch in sorted(batches):
        yield _step(RecoveryVerb.GIVE_UP, layout.recomputed(batch), why, batch)


def _give_up(observation: Observation, batch: int, codes: Set[Code]) -> Iterator[RecoveryStep]:
    """The part goes first: a part that can't be trusted, without its record, would be adopted."""
    layout = observation.layout
    if batch in observation.parts or Code.UNREADABLE_PART in codes:
        yield _set_aside(layout.part(batch), "it is damaged", batch)
    if batch in observation.quarantine:
        yield _set_aside(layout.quarantined(batch), "it belongs to that part", batch)
    why = "the next run computes these items again"
    yield _step(RecoveryVerb.GIVE_UP, layout.recomputed(batch), why, batch)


def _set_aside(path: str, why: str, batch: int = -1) -> RecoveryStep:
    return _step(RecoveryVerb.SET_ASIDE, path, why, batch)


def _step(kind: RecoveryVerb, path: str, why: str, batch: int = -1) -> RecoveryStep:
    return RecoveryStep(kind=kind, path=path, why=why, batch=batch)


def _retire_markers(observation: Observation, damaged: Set[int]) -> Iterator[RecoveryStep]:
    there_again = observation.given_up & observation.recorded & observation.parts.keys()
    for batch in sorted(there_again - damaged):
        marker = observation.layout.recomputed(batch)
        yield _step(RecoveryVerb.RETIRE_MARKER, marker, "the part is there again", batch)


def _delete_orphans(
    observation: Observation, orphans: Sequence[Entry], damaged: Set[int]
) -> Iterator[RecoveryStep]:
    """What is staged of a damaged batch may be the only good copy, so it stays."""
    for entry in orphans:
        staged = None
        if entry.name.startswith(observation.layout.staged + "/"):
            staged = find_staged(entry.name.rpartition("/")[2])
        if staged is None or staged.batch not in damaged:
            yield _step(RecoveryVerb.DELETE_ORPHAN, entry.name, "no live run owns it")


def apply_steps(
    storage: Store, layout: Layout, steps: Sequence[RecoveryStep], *, now: datetime
) -> None:
    """Do the steps in order; those of a kind that follow each other share their syncs."""
    if steps:
        folders = (layout.staging, layout.commits, layout.recompute, layout.set_aside)
        make_folders(storage, folders)
    stamp = f"{now:%Y%m%dT%H%M%S.%fZ}"
    for kind, group in groupby(steps, key=lambda step: step.kind):
        same = list(group)
        batches = [step.batch for step in same]
        if kind is RecoveryVerb.REBUILD_RECORD:
            rebuild_records(storage, layout, batches, run=RUN, time=f"{now:%Y-%m-%dT%H:%M:%SZ}")
        elif kind is RecoveryVerb.REBUILD_SCHEMA:
            rebuild_schema(storage, layout, batches, _find_key_column(storage, layout))
        elif kind is RecoveryVerb.DELETE_ORPHAN:
            delete_staged_orphans(storage, layout, [step.path for step in same])
        elif storage.folder is None:
            raise ValueError(f"a step that needs a folder: {kind}")
        elif kind is RecoveryVerb.RETIRE_MARKER:
            retire_earlier(storage.folder, layout, batches, run=stamp)
        else:
            for step in same:
                _move(storage.folder, layout, step, stamp)


def _find_key_column(storage: Store, layout: Layout) -> str:
    return decode_record(Config, storage.read(layout.config)).key_column


_PIECE_CHARACTERS_MAX = 150


def _as_piece(place: str) -> str:
    """A path as one piece of a name, which can't be as long as a path."""
    piece = place.replace("/", "-")
    if len(piece.encode(errors="surrogateescape")) <= _PIECE_CHARACTERS_MAX:
        return piece
    digest = hashlib.sha256(place.encode(errors="surrogateescape")).hexdigest()
    return f"{piece[:20]}-{digest[:32]}"


def _move(storage: Folder, layout: Layout, step: RecoveryStep, stamp: str) -> None:
    place = step.path.removeprefix(layout.data + "/").removeprefix(layout.control + "/")
    evidence = f"{layout.set_aside}/{stamp}-{_as_piece(place)}"
    if step.kind is RecoveryVerb.SET_ASIDE:
        entry = storage.find(step.path)
        if entry is not None and not entry.is_file:
            # A folder or a link, which somebody has put in the place of an item's file.
            storage.replace(step.path, evidence)
            for folder in (layout.set_aside, folder_of(step.path)):
                storage.sync_names(folder)
            return
        set_aside(storage, step.path, evidence)
        return
    record = layout.commit(step.batch)
    has_record = storage.find(record) is not None
    if storage.find(step.path) is None and has_record:
        set_aside(storage, record, step.path)
    else:
        create(storage, layout.staging, step.path, b"{}\n")
        if has_record:
            set_aside(storage, record, f"{layout.set_aside}/{stamp}-commits-{step.batch:06}.json")

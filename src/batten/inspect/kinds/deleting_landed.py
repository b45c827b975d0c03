"""Deletes landed files of which all that was made is complete: `batten clean --landed`.

A record takes the place of each first, and keeps its offsets. Then the notes of who reads here are
read once more. An output that was noted meanwhile has seen the record, or it is seen here (decision
0144).
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import replace as replaced

from batten.errors import BattenError, BusyError
from batten.inspect.diagnose import diagnose_place
from batten.inspect.diagnosis import Orphan
from batten.inspect.items.plan_keys import PlanKeys
from batten.inspect.kinds.landings import LandedStream
from batten.inspect.paths.output_path import locate_output
from batten.ledger.facts.observe import observe_output
from batten.ledger.judge import judge
from batten.model.disk.landed import (
    LandedFile,
    LandedUse,
    encode_deleted,
    find_landed,
    find_offset,
)
from batten.model.disk.names import find_replaced
from batten.model.disk.outcomes import decode_outcomes
from batten.model.disk.records import name_dataset
from batten.model.value_class import value_class
from batten.model.words import Outcome, State
from batten.sources.landed import read_whole
from batten.sources.landed_uses import find_use, list_uses
from batten.storage.base import Entry
from batten.storage.changing.publishing import delete, replace, sync_names
from batten.storage.local.locking.output_lock import take_lock
from batten.storage.relative import last_piece

_DONE = frozenset({State.COMPLETE, State.COMPLETE_WITH_ORPHANS})
_OTHER = "its note here is not of the dataset that is there"


@value_class
class LandedDeletion:
    """What was deleted of one folder, or would be; how many files were kept, and why."""

    removed: tuple[Orphan, ...]
    kept: int
    why_kept: tuple[str, ...]


def delete_landed(
    stream: LandedStream, *, older_than_seconds: float, is_dry_run: bool
) -> LandedDeletion:
    """Raises `BusyError` while somebody lands there."""
    place = stream.place
    with ExitStack() as locks:
        if not is_dry_run:
            locks.enter_context(take_lock(place.storage, place.layout, place.path))
        return _delete(stream, older_than_seconds, locks, is_dry_run=is_dry_run)


def _delete(
    stream: LandedStream, older_than_seconds: float, locks: ExitStack, *, is_dry_run: bool
) -> LandedDeletion:
    storage = stream.place.storage
    present = _list_present(stream)
    uses = list_uses(stream.folder)
    done, why = _find_done(stream, uses, locks, is_dry_run=is_dry_run)
    before = time.time() - older_than_seconds
    chosen: dict[LandedFile, bytes] = {}
    # The newest says how far it was landed, also to an older batten.
    for file in list(present)[:-1]:
        if done is None or present[file].modified_seconds > before:
            continue
        try:
            offsets, places = read_whole(stream.folder, file)
            if done.issuperset(offsets):
                chosen[file] = encode_deleted(offsets, places)
        except ValueError as error:
            why.append(f"{stream.place.show(stream.find_name(file))}: {error}")
    removed = tuple(_as_orphan(stream, file, present[file]) for file in chosen)
    if is_dry_run:
        return LandedDeletion(
            removed=removed, kept=len(present) - len(removed), why_kept=tuple(why)
        )
    for file, told in chosen.items():
        replace(storage, stream.place.layout.staging, _name_record(stream, file), told)
    if list_uses(stream.folder) != uses:
        why.append("another output has begun to read there")
        chosen, removed = {}, ()
    for file in present:
        # Of a deletion that a crash cut off, too.
        delete(storage, stream.find_name(file) if file in chosen else _name_record(stream, file))
    sync_names(storage, [stream.place.layout.output])
    return LandedDeletion(removed=removed, kept=len(present) - len(removed), why_kept=tuple(why))


def _list_present(stream: LandedStream) -> dict[LandedFile, Entry]:
    """The files that are there, in order, whatever is told of them."""
    folder = stream.place.layout.output
    found = {
        find_landed(last_piece(entry.name)): entry for entry in stream.place.storage.list(folder)
    }
    files = sorted(file for file in found if file is not None and not file.is_deleted)
    return {file: found[file] for file in files}


def _find_done(
    stream: LandedStream, uses: Sequence[LandedUse], locks: ExitStack, *, is_dry_run: bool
) -> tuple[set[int] | None, list[str]]:
    """The offsets of which all that was made is complete; None if that can be said of none. And
    why, in words. No run of an output begins while its lock is held."""
    if not uses:
        return None, ["no output is noted as made of it"]
    noted: dict[tuple[str, str], list[LandedUse]] = {}
    for use in uses:
        try:
            output = _follow(use.output)
        except BattenError as error:
            return None, [f"{use.output}: {_first_line(error)}"]
        noted.setdefault((output, use.prefix), []).append(use)
    done: set[int] | None = None
    for (output, prefix), of_output in noted.items():
        datasets = {use.dataset for use in of_output}
        try:
            found = _find_done_of(output, prefix, datasets, locks, is_dry_run=is_dry_run)
        except BusyError:
            return None, [f"a run of {output} is at work"]
        except BattenError as error:
            found = _first_line(error)
        if isinstance(found, str):
            return None, [f"{output}: {found}{_advise(stream, of_output, found)}"]
        done = found if done is None else done & found
    return done, []


def _first_line(error: BattenError) -> str:
    return str(error).partition("\n")[0]


def _advise(stream: LandedStream, noted: Sequence[LandedUse], found: str) -> str:
    """How its notes come to be no hindrance. Those of an output that is to go on keep what it has
    not read."""
    real = os.path.realpath(stream.place.storage.place)
    notes = [os.path.relpath(find_use(stream.folder, use), real) for use in noted]
    names = " and ".join(stream.place.folder + note for note in notes)
    if found == _OTHER:
        return f". Run its job again; or if it is made of something else now, delete {names}"
    is_gone = found.endswith((State.NEW.value, State.INCONSISTENT.value))
    return f". If it is gone for good, delete {names}" if is_gone else ""


def _follow(noted: str) -> str:
    """The output, or where it was made beside one and is there no more, that one: it has taken its
    place, or was given up."""
    output = find_replaced(noted)
    if output is None or diagnose_place(locate_output(noted)).state is not State.NEW:
        return noted
    return output


def _find_done_of(
    output: str, prefix: str, datasets: Collection[str], locks: ExitStack, *, is_dry_run: bool
) -> set[int] | str:
    """The offsets, or why there are none. Only what `datasets` name was made of what was landed:
    another one may have the same keys, of other items."""
    place = locate_output(output)
    state = diagnose_place(place).state
    if state not in _DONE:
        return f"it is {state.value}"
    if not is_dry_run:
        locks.enter_context(take_lock(place.storage, place.layout, place.path))
    observation = observe_output(
        place.storage, place.layout, is_thorough=True, is_mine=not is_dry_run
    )
    judgement = judge(observation)
    if judgement.verdict.state not in _DONE or judgement.plan is None:
        return f"it is {judgement.verdict.state.value}"
    if name_dataset(observation.config) not in datasets:
        return _OTHER
    keys = PlanKeys(place.storage, place.layout, judgement.plan)
    done: set[int] = set()
    for planned in judgement.plan:
        found, claim = keys.find(planned), observation.claims.get(planned.batch)
        if found is None or claim is None:
            return f"what became of batch {planned.batch} can't be read"
        for key, outcome in zip(found, decode_outcomes(claim.outcomes), strict=True):
            offset = find_offset(str(key), prefix)
            if offset is not None and outcome is not Outcome.QUARANTINED:
                done.add(offset)
    return done


def _name_record(stream: LandedStream, file: LandedFile) -> str:
    return stream.find_name(replaced(file, is_deleted=True))


def _as_orphan(stream: LandedStream, file: LandedFile, entry: Entry) -> Orphan:
    age = max(0, int(time.time() - entry.modified_seconds))
    path = stream.place.show(stream.find_name(file))
    return Orphan(path=path, bytes=entry.size, age_seconds=age, owner=None)

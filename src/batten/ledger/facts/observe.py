"""Reads what is there, and writes nothing: no lock is taken, no Parquet library is needed.

Runs and inspections use the same look (decision 0010). Whatever can't be read becomes a finding,
also the place as a whole; `failure` then says that it may pass.
"""

from __future__ import annotations

from dataclasses import replace

from batten.errors import MisplacedError, StorageError
from batten.ledger.facts.control_folder import Reading
from batten.ledger.facts.observation import Observation
from batten.ledger.facts.reasons import name_reason
from batten.ledger.generations import refuse_replaced
from batten.ledger.replacement import load_journal
from batten.model.disk.names import Layout, find_part
from batten.model.disk.records import Unreadable
from batten.model.rules.findings import Code, Finding
from batten.model.rules.states import Ground
from batten.storage.base import Store, describe_kind


def observe_output(
    storage: Store, layout: Layout, *, is_thorough: bool = False, is_mine: bool = False
) -> Observation:
    """What is at the output now. A live run may change it meanwhile: see `holder`. With
    `is_thorough` all records are read, whatever `COMPLETE` says. `is_mine` is said by the holder
    of the lock: nobody else is at work, so there is no `holder`, and destinations are looked at.
    Raises `BusyError` where another dataset has taken its place in a store."""
    try:
        ground, findings = _find_ground(storage, layout)
        is_replacing = ground is Ground.OURS and storage.find(layout.replacing) is not None
        unsynced = storage.find(layout.unsynced) if ground is Ground.OURS else None
        fault = _find_journal_fault(storage, layout) if is_replacing else ""
    except StorageError as error:
        finding = Finding(
            code=Code.UNREADABLE_PLACE, path=layout.output, evidence=name_reason(error)
        )
        return Observation(layout=layout, ground=Ground.FOREIGN, findings=(finding,), failure=error)
    if ground is not Ground.OURS:
        return Observation(layout=layout, ground=ground, findings=tuple(findings))
    if unsynced is None and not is_replacing:
        found = Reading(storage, layout).observe(is_thorough=is_thorough, is_mine=is_mine)
        if layout.is_shared:
            refuse_replaced(storage, layout)
        return found
    journal = layout.replacing if unsynced is None else layout.unsynced
    if unsynced is not None:
        is_file = unsynced.kind == "file"
        fault = "" if is_file else f"{describe_kind(unsynced)}, where a file should be"
    found = _observe_unfinished(storage, layout, journal, fault, is_mine=is_mine)
    if found.holder is None and found.failure is None and _is_gone(storage, journal):
        # Whoever was at work ended between the two looks.
        return observe_output(storage, layout, is_thorough=is_thorough, is_mine=is_mine)
    return replace(found, is_unsynced=unsynced is not None)


def _is_gone(storage: Store, name: str) -> bool:
    try:
        return storage.find(name) is None
    except StorageError:
        return False


def _find_journal_fault(storage: Store, layout: Layout) -> str:
    """Why a replacement that was begun can't go on; empty if it can."""
    try:
        load_journal(storage, layout)
    except (Unreadable, MisplacedError) as error:
        return name_reason(error)
    except FileNotFoundError:
        pass  # It ended meanwhile.
    return ""


def _observe_unfinished(
    storage: Store, layout: Layout, journal: str, fault: str, *, is_mine: bool
) -> Observation:
    findings = []
    try:
        holder = None if is_mine else storage.observe_lock(layout.lock)
    except StorageError as error:
        holder, fault = None, fault or name_reason(error)
    if fault and holder is None:
        code = Code.UNREADABLE_REPLACING
        findings.append(Finding(code=code, path=journal, evidence=fault))
    return Observation(
        layout=layout,
        ground=Ground.OURS,
        holder=holder,
        has_journal=True,
        findings=tuple(findings),
    )


def _find_ground(storage: Store, layout: Layout) -> tuple[Ground, list[Finding]]:
    # A run makes the control folder first, so that is looked for last.
    output = storage.find(layout.output)
    control = storage.find(layout.control)
    for entry in (control,) if layout.is_inside else (control, output):
        if entry is not None and not entry.is_folder:
            evidence = f"{describe_kind(entry)}, where a folder should be"
            if control is None:
                evidence = (
                    f"{describe_kind(entry)}, not a folder of parts, "
                    f"and there is no {layout.control}"
                )
            finding = Finding(code=Code.NOT_A_FOLDER, path=entry.name, evidence=evidence)
            return Ground.FOREIGN, [finding]
    if control is not None:
        return Ground.OURS, []
    if output is None or layout.is_inside:
        return Ground.NOTHING, []
    first = next(iter(storage.list(layout.output)), None)
    if first is None:
        return Ground.NOTHING, []
    has_parts = find_part(first.name.rpartition("/")[2]) is not None
    evidence = "it holds files, and there is no " + layout.control
    if has_parts:
        evidence += "; the files look like batten's: restore that folder"
    return Ground.FOREIGN, [Finding(code=Code.NOT_BATTENS, path=layout.output, evidence=evidence)]

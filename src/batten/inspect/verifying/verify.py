"""Reads every byte and holds it against what was recorded. Changes nothing, and takes no lock."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from batten.inspect.absent import refuse_absent
from batten.inspect.diagnose import describe
from batten.inspect.diagnosis import Diagnosis, list_finding
from batten.inspect.kinds.landings import (
    Landing,
    describe_landing,
    find_landed_faults,
    find_landing,
)
from batten.inspect.kinds.trees import refuse_tree
from batten.inspect.paths.output_path import Place, locate_output
from batten.inspect.paths.owning import refuse_pending, refuse_unknown
from batten.inspect.verifying.control_folder import find_control_faults
from batten.inspect.verifying.missing_rows import name_missing, tell_missing
from batten.inspect.verifying.parts import PartVerifier
from batten.ledger.delivered import find_changed_files, list_in_place
from batten.ledger.facts.observation import Observation
from batten.ledger.facts.observe import observe_output
from batten.ledger.facts.placed_files import find_changed_item_files, list_item_file_sizes
from batten.ledger.judge import Judgement, judge
from batten.model.rules.findings import DAMAGE, DOUBT, MADE_AGAIN, Code, Finding, find_blocking
from batten.model.value_class import value_class
from batten.storage.base import Store
from batten.storage.local.locking.locks import busy_error


@value_class
class Verification:
    """What was found. `findings` are all, also those that `diagnosis` does not know of; `files` are
    how many single files were read beside the parts, or landed files, and `bytes` what was read of
    both."""

    diagnosis: Diagnosis
    findings: tuple[Finding, ...]
    is_quick: bool
    parts: int
    files: int
    bytes: int

    @property
    def damage(self) -> list[Finding]:
        """What is damaged or gone, or can't be read by this batten: also what the next run makes
        again. What is not published yet is no damage."""
        return [
            finding
            for finding in self.findings
            if finding.severity in DOUBT or finding.code in MADE_AGAIN
        ]

    @property
    def is_sound(self) -> bool:
        return not self.damage

    @property
    def next(self) -> str:
        """What the diagnosis says, unless it knows of no damage and reading has found some."""
        diagnosis, damage = self.diagnosis, self.damage
        if diagnosis.exit_code == 4 or all(each.code in MADE_AGAIN for each in damage):
            return diagnosis.next
        return (find_blocking(damage) or damage[0]).advise(diagnosis.path, diagnosis.destinations)

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        diagnosis = self.diagnosis.to_json()
        return {
            "status": "sound" if self.is_sound else "damaged",
            "state": diagnosis["state"],
            "path": diagnosis["path"],
            "quick": self.is_quick,
            "next": self.next,
            "items": diagnosis["items"],
            "parts": self.parts,
            "files": self.files,
            "rows": diagnosis["rows"],
            "bytes": self.bytes,
            "destinations": diagnosis["destinations"],
            "missing": diagnosis["missing"],
            "findings": [list_finding(finding, self.diagnosis) for finding in self.findings],
        }


def verify(
    path: str | os.PathLike[str], *, is_quick: bool = False, should_ask: bool = False
) -> Verification:
    """Verify the output at `path`; quickly, only sizes, counts and what parts say of themselves.
    `should_ask`: servers are asked which batches they have; raises `StorageError` where one does
    not answer.

    While a run is at work, what is published so far is verified (decision 0041). Raises
    `UsageError` if there is none, `RefusedError` if it is not batten's, `BusyError` while a
    dataset takes the place of another one."""
    place = locate_output(path)
    refuse_tree(place)
    observation = observe_output(place.storage, place.layout, is_thorough=True)
    if (landing := find_landing(place, observation)) is not None:
        return _verify_landing(place, observation, landing, is_quick=is_quick)
    judgement = judge(observation)
    refuse_unknown(place, judgement)
    refuse_absent(place, judgement)
    if observation.holder is not None:
        if place.storage.find(place.layout.replacing) is not None:
            raise busy_error(place.control, observation.holder)
        findings = _find_lasting_faults(place, observation, judgement, is_quick=is_quick)
    else:
        refuse_pending(place, judgement)
        findings = find_faults(place.storage, observation, judgement, is_quick=is_quick)
    if not is_quick:
        findings = name_missing(place.storage, observation, findings)
    asked = dict(_ask_servers(place, observation)) if should_ask else {}
    findings += [finding for told in asked.values() for finding in told]
    files = [] if is_quick else _list_read_sizes(place, observation)
    unread = {
        place.show(each.target): finding.evidence
        for each in list_in_place(observation)
        for finding in findings
        if finding.code is Code.NOT_LOOKED_AT and finding.path == each.target
    }
    diagnosis = describe(place, observation, judgement, now_seconds=time.time())
    return Verification(
        diagnosis=replace(
            diagnosis,
            contents=replace(
                diagnosis.contents, unseen=_tell_unseen(diagnosis.contents.unseen | unread, asked)
            ),
        ),
        findings=tuple(replace(each, path=place.show_found(each), kind="") for each in findings),
        is_quick=is_quick,
        parts=len(observation.parts),
        files=len(files),
        bytes=0 if is_quick else sum(observation.parts.values()) + sum(files),
    )


def _verify_landing(
    place: Place, observation: Observation, landing: Landing, *, is_quick: bool
) -> Verification:
    plain = describe(place, observation, judge(observation), now_seconds=time.time())
    return Verification(
        diagnosis=describe_landing(place, landing, plain),
        findings=() if is_quick else tuple(find_landed_faults(landing)),
        is_quick=is_quick,
        parts=0,
        files=landing.files,
        bytes=0 if is_quick else sum(each.bytes for each in landing.streams),
    )


def _list_read_sizes(place: Place, observation: Observation) -> list[int]:
    """Of the files beside the parts that were read."""
    sizes = [observation.placed[each.target] for each in list_in_place(observation)]
    if observation.holder is None:
        sizes += list_item_file_sizes(place.storage, observation)
    return sizes


def _ask_servers(place: Place, observation: Observation) -> Iterator[tuple[str, list[Finding]]]:
    """What each says, by its target."""
    from batten.inspect.verifying.ask_servers import ask_server

    for given in observation.deliveries:
        if not given.is_here and given.batches:
            tell = partial(tell_missing, place.storage, observation)
            yield (
                given.target,
                ask_server(
                    given,
                    place=place.storage.place,
                    path=place.path,
                    tell_missing=tell,
                    is_closed=observation.completion is not None,
                ),
            )


def _tell_unseen(unseen: Mapping[str, str], asked: Mapping[str, list[Finding]]) -> dict[str, str]:
    """Why it is not known of destinations that they have all, when servers were asked."""
    told = {
        target: "asked, it does not have all of it"
        if any(each.severity in DAMAGE for each in found)
        else found[0].evidence
        for target, found in asked.items()
        if found
    }
    return {target: why for target, why in unseen.items() if target not in asked} | told


def _find_lasting_faults(
    place: Place, observation: Observation, judgement: Judgement, *, is_quick: bool
) -> list[Finding]:
    """The faults of what is published while a run goes on. The run changes files between two looks
    of ours. So only what a second look sees again is a fault. What the run has yet to do is no
    fault."""
    found = _list_faults(place.storage, observation, judgement, is_quick=is_quick)
    if not found:
        return []
    again = observe_output(place.storage, place.layout, is_thorough=True)
    told = _list_faults(place.storage, again, judge(again), is_quick=is_quick)
    seen = {(each.code, each.path) for each in found}
    return [each for each in told if (each.code, each.path) in seen]


def _list_faults(
    storage: Store, observation: Observation, judgement: Judgement, *, is_quick: bool
) -> list[Finding]:
    known = list(judgement.findings)
    faults = _add_faults_of_parts(storage, observation, judgement, known, is_quick=is_quick)
    return [each for each in faults if each.severity in DAMAGE]


def find_faults(
    storage: Store, observation: Observation, judgement: Judgement, *, is_quick: bool = False
) -> list[Finding]:
    """Everything that a thorough observation and reading all files shows, worst or not."""
    findings = [_tell_lost_record(observation, finding) for finding in judgement.findings]
    findings += find_control_faults(storage, observation, is_quick=is_quick)
    if not is_quick:
        findings += find_changed_files(storage, observation)
        findings += find_changed_item_files(storage, observation)
    return _add_faults_of_parts(storage, observation, judgement, findings, is_quick=is_quick)


def _add_faults_of_parts(
    storage: Store,
    observation: Observation,
    judgement: Judgement,
    findings: list[Finding],
    *,
    is_quick: bool,
) -> list[Finding]:
    """The known faults, and the faults of all other parts."""
    if judgement.plan is not None:
        told = {finding.batch for finding in findings if finding.severity in DAMAGE}
        verifier = PartVerifier(storage, observation, judgement.plan, is_quick=is_quick)
        for batch in sorted(set(observation.parts) - told):
            findings += verifier.verify(batch)
    return findings


def _tell_lost_record(observation: Observation, finding: Finding) -> Finding:
    """`COMPLETE` comes after all records. So if a record is missing beside it, it was lost. The
    schema comes before all parts."""
    is_lost = finding.code is Code.MISSING_RECORD and observation.has_complete
    if is_lost or finding.code is Code.MISSING_SCHEMA:
        return replace(finding, code=Code.LOST_RECORD)
    return finding

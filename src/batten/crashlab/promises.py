"""What must hold of an output whatever happened to it, and what once its run says that it is done.

Broken promises are told as texts; none means that all are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from batten.inspect.verifying.verify import find_faults
from batten.ledger.facts.observation import Observation
from batten.ledger.facts.observe import observe_output
from batten.ledger.judge import Judgement, judge
from batten.model.disk.names import Layout, find_part
from batten.model.rules.findings import Code, Severity
from batten.model.value_class import value_class
from batten.model.words import State
from batten.storage.base import Store
from batten.storage.relative import last_piece

UNHARMED = frozenset(
    {
        State.NEW,
        State.INTERRUPTED,
        State.COMPLETE,
        State.COMPLETE_WITH_ORPHANS,
        State.RECOVERY_PENDING,
    }
)

Parts = Mapping[int, bytes]


def raise_first(told: Iterator[str]) -> None:
    """Raise `AssertionError` with the first of the broken promises, if there is one."""
    for each in told:
        raise AssertionError(each)


@value_class
class Expected:
    """The parts that there may be: those of before, if any, and those of an undisturbed run."""

    layout: Layout
    before: Parts
    after: Parts

    def is_one_of_two(self, parts: Parts) -> bool:
        """Whether each part is the old or the new one of its batch, and none is missing."""
        is_whole = parts.keys() in (self.before.keys(), self.after.keys())
        return is_whole and not any(self.find_strange(parts))

    def find_strange(self, parts: Parts) -> Iterator[int]:
        """The batches whose part is neither the old nor the new one."""
        for batch, data in parts.items():
            if data not in (self.before.get(batch), self.after.get(batch)):
                yield batch


def read_parts(storage: Store, layout: Layout) -> dict[int, bytes]:
    """The bytes of every part by its batch."""
    names = sorted(entry.name for entry in storage.list(layout.data))
    found = ((find_part(last_piece(name)), name) for name in names)
    return {batch: storage.read(name) for batch, name in found if batch is not None}


def find_broken(storage: Store, expected: Expected, committed: frozenset[int]) -> Iterator[str]:
    """What does not hold, although it must at any moment."""
    layout = expected.layout
    observation = observe_output(storage, layout, is_thorough=True)
    for judgement in (judge(observation), judge(observe_output(storage, layout))):
        if judgement.verdict.state not in UNHARMED:
            yield f"the state is {judgement.verdict.state}: {_tell(judgement)}"
    parts = read_parts(storage, layout)
    for batch in expected.find_strange(parts):
        yield f"part {batch} is neither the old nor the new one"
    if observation.is_unsynced:
        return  # A name that is made anew may be away for a moment; what it means is kept.
    for batch in sorted(committed.difference(parts)):
        yield f"part {batch} was committed, and is lost"
    is_settled = observation.completion is not None or observation.has_journal
    if is_settled and not expected.is_one_of_two(parts):
        yield "it is not to be worked on any more, and parts are missing"
    if observation.has_journal:
        return
    for batch in sorted(committed - observation.recorded - observation.given_up):
        yield f"the record of batch {batch} is lost"


def find_undone(storage: Store, expected: Expected, *, may_be_old: bool = False) -> Iterator[str]:
    """What does not hold of an output whose run says that it is complete."""
    observation = observe_output(storage, expected.layout, is_thorough=True)
    judgement = judge(observation)
    if judgement.verdict.state is not State.COMPLETE:
        yield f"the state is {judgement.verdict.state}: {_tell(judgement)}"
    parts = read_parts(storage, expected.layout)
    if parts != expected.after and not (may_be_old and expected.is_one_of_two(parts)):
        yield "the parts are not those of an undisturbed run"
    for finding in find_faults(storage, observation, judgement):
        if finding.code is not Code.DAMAGED_LOG:
            yield f"{finding.code.value}: {finding.path}: {finding.evidence}"
    yield from _find_remains(observation)


def _find_remains(observation: Observation) -> Iterator[str]:
    """What should not be there any more, and what should be."""
    if set(observation.recorded) != set(observation.parts):
        yield "parts and records are not of the same batches"
    if observation.given_up:
        yield f"batches {sorted(observation.given_up)} are marked for computing again"
    for entry in (*observation.staged, *observation.staging):
        yield f"{entry.name} was left"
    failed = observation.claims.list_failed()
    if observation.quarantine.keys() != failed:
        yield f"quarantine files are of {sorted(observation.quarantine)}, not {sorted(failed)}"


def find_lost_evidence(
    before: Mapping[str, bytes | None], after: Store, layout: Layout
) -> Iterator[str]:
    """Files that had been set aside and are there no more, given a snapshot of before."""
    for name, data in before.items():
        if not name.startswith(layout.set_aside + "/") or data is None:
            continue
        if after.find(name) is None or after.read(name) != data:
            yield f"{name} was set aside, and is gone"


def _tell(judgement: Judgement) -> str:
    told = [
        f"{finding.path}: {finding.evidence}"
        for finding in judgement.findings
        if finding.severity is not Severity.NOTE
    ]
    return "; ".join(told) or f"{len(judgement.orphans)} orphans"

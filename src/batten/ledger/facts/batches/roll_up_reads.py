"""Reads roll-ups in the place of the records that they hold (decision 0135).

A roll-up is used if its name bears the versions of the parts that are there, and if what it holds
fits them and the plan. Else it is passed over, and the records are read. A thorough look reads all
records, and holds the roll-ups against them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from batten.errors import StorageError
from batten.ledger.facts.batches.claims import ClaimReads
from batten.ledger.facts.batches.listed_parts import PartSizes
from batten.ledger.facts.noted_reads import ODD_NAME
from batten.ledger.facts.reasons import name_reason
from batten.model.disk.bounds import RECORD_BYTES_MAX
from batten.model.disk.names import Layout, find_described
from batten.model.disk.published import Published
from batten.model.disk.records import Segment, Unreadable
from batten.model.disk.rolled import decode_rolled, span_of
from batten.model.rules.accounting import PlannedBatches, find_mismatch
from batten.model.rules.findings import Code
from batten.model.telling.counts import count_of
from batten.storage.base import Store
from batten.storage.relative import last_piece

SIX_DIGITS = 10**6


class RollUpReads(ClaimReads):
    """Of one output. `_rolled` is what fitting roll-ups say, by their numbers."""

    def __init__(self, storage: Store, layout: Layout) -> None:
        super().__init__(storage, layout)
        self._roll_ups: frozenset[str] = frozenset()
        self._said: dict[str, Sequence[Published] | str | None] = {}
        self._rolled: dict[int, Sequence[Published]] = {}

    def _list_roll_ups(self) -> None:
        found = set()
        for entry in self._list(self.layout.rolled):
            if entry.is_file and find_described(last_piece(entry.name), "jsonl") is not None:
                found.add(entry.name)
            else:
                self._note(Code.FOREIGN_FILE, entry.name, ODD_NAME)
        self._roll_ups = frozenset(found)

    def _count_leading(self) -> int:
        """How many of the first thousands have a roll-up, which may fit or not."""
        numbers, count = self._list_numbers_of_roll_ups(), 0
        while count in numbers:
            count += 1
        return count

    def _name_start(self, leading: int) -> str:
        """Where a listing of records begins if those of so many thousands are known; empty if it is
        to begin at the first."""
        return f"{min(span_of(leading).start, SIX_DIGITS - 1):06}" if leading else ""

    def _are_told(self, leading: int, parts: PartSizes) -> bool:
        """Whether no record of so many thousands has to be looked for. Names of seven digits are
        listed among those of six, so then a listing can't begin at a number."""
        if not leading:
            return True
        is_in_order = max(parts, default=0) < SIX_DIGITS
        return is_in_order and all(number in self._rolled for number in range(leading))

    def _read_roll_ups(self, parts: PartSizes, segments: tuple[Segment, ...]) -> None:
        """What those say that fit these parts."""
        self._rolled = {}
        if not self._roll_ups:
            return
        for number, name in self._find_fitting(parts):
            if name not in self._said:
                self._said[name] = self._load_roll_up(number, name)
            said = self._said[name]
            if said is None:
                continue
            fault = said if isinstance(said, str) else _find_fault(said, parts, segments)
            if isinstance(said, str) or fault:
                self._note(Code.UNREADABLE_ROLL_UP, name, fault)
            else:
                self._rolled[number] = said

    def _find_fitting(self, parts: PartSizes) -> Iterator[tuple[int, str]]:
        for number in self._list_numbers_of_roll_ups():
            if all(batch in parts for batch in span_of(number)):
                name = self._name_of(number)
                if name in self._roll_ups:
                    yield number, name

    def _list_numbers_of_roll_ups(self) -> list[int]:
        numbers = {find_described(last_piece(name), "jsonl") for name in self._roll_ups}
        return sorted(number for number in numbers if number is not None)

    def _name_of(self, number: int) -> str:
        return self.layout.rolled_up(number, [self._versions[each] for each in span_of(number)])

    def _load_roll_up(self, number: int, name: str) -> Sequence[Published] | str | None:
        """What it says, or why it can't be read; None if it is gone."""
        try:
            data = self.storage.read(name, bytes_max=RECORD_BYTES_MAX["rolled"])
            return decode_rolled(number, data)
        except FileNotFoundError:
            return None
        except (Unreadable, StorageError) as error:
            return name_reason(error)

    def _compare_roll_ups(
        self, claims: Mapping[int, Published], recorded: frozenset[int]
    ) -> frozenset[int]:
        """Note those that say something else than the records. The batches of the others whose
        records are gone."""
        lost = set()
        for number, said in self._rolled.items():
            differing = [
                each.batch
                for each in said
                if each.batch in recorded and _is_other(each, claims.get(each.batch))
            ]
            if differing:
                name = self._name_of(number)
                evidence = f"of batch {differing[0]} it does not say what the record says"
                self._note(Code.ROLL_UP_DIFFERS, name, evidence)
            else:
                lost.update(set(span_of(number)) - recorded)
        return frozenset(lost)

    def _take_rolled(self) -> dict[int, Published]:
        """What the roll-ups say, by batch."""
        return {claim.batch: claim for said in self._rolled.values() for claim in said}


def _find_fault(said: Sequence[Published], parts: PartSizes, segments: tuple[Segment, ...]) -> str:
    """In which way it does not fit the parts and the plan."""
    first, last = said[0].batch, said[-1].batch
    plan = PlannedBatches(
        segments=tuple(
            each
            for each in segments
            if each.first_batch <= last and each.first_batch + each.batches > first
        )
    )
    for claim in said:
        planned = plan.find(claim.batch)
        size = parts[claim.batch]
        fault = find_mismatch(planned, claim) if planned is not None else None
        if claim.size != size:
            fault = f"the part has {count_of(size, 'byte')}, and not what the roll-up says"
        if fault:
            return f"batch {claim.batch}: {fault}"
    return ""


def _is_other(said: Published, record: Published | None) -> bool:
    """A record that was made anew from its part lacks the slowest items. One that can't be read is
    a finding of its own."""
    if record is None or record.digest is None:
        return False
    return said._replace(slowest="") != record._replace(slowest="")

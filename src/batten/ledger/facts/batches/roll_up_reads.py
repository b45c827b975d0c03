"""Reads roll-ups in the place of the records that they hold (decision 0135).

A roll-up is used if its name bears the versions of the parts that are there, and if what it holds
fits them and the plan. Of most only the last line is read, which has the sum of all records
(decision 0163). If that does not fit, or there is none, all its lines are read. If they can't be
used, it is passed over, and the records are read. A thorough look reads all records, and holds the
roll-ups against them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from batten.errors import StorageError
from batten.ledger.facts.batches.claims import ClaimReads
from batten.ledger.facts.batches.listed_parts import PartSizes, list_parts
from batten.ledger.facts.batches.rolled_sums import digest_plan, digest_sizes, sum_up
from batten.ledger.facts.noted_reads import ODD_NAME
from batten.ledger.facts.reasons import name_reason
from batten.model.disk.bounds import RECORD_BYTES_MAX
from batten.model.disk.names import Layout, find_described
from batten.model.disk.published import Published
from batten.model.disk.records import Segment, Unreadable
from batten.model.disk.rolled import RolledUp, decode_end, decode_rolled, find_end, span_of
from batten.model.rules.accounting import PlannedBatches, find_mismatch
from batten.model.rules.findings import Code
from batten.model.telling.counts import count_of
from batten.storage.base import Store
from batten.storage.relative import last_piece

SIX_DIGITS = 10**6
END_BYTES = 1 << 12
"""So much of a roll-up's end has its last line, unless many items of it failed."""


class RollUpReads(ClaimReads):
    """Of one output. `_sums` is what the last lines of fitting roll-ups say, by their numbers;
    `_rolled` what all lines say of those whose last line does not do."""

    def __init__(self, storage: Store, layout: Layout) -> None:
        super().__init__(storage, layout)
        self._roll_ups: dict[str, int] = {}
        self._said: dict[str, Sequence[Published] | str | None] = {}
        self._rolled: dict[int, Sequence[Published]] = {}
        self._ends: dict[str, RolledUp | None] = {}
        self._sums: dict[int, RolledUp] = {}
        self._sizes, _ = list_parts(())
        self._segments: tuple[Segment, ...] = ()

    def _list_roll_ups(self) -> None:
        found = {}
        for entry in self._list(self.layout.rolled):
            if entry.is_file and find_described(last_piece(entry.name), "jsonl") is not None:
                found[entry.name] = entry.size
            else:
                self._note(Code.FOREIGN_FILE, entry.name, ODD_NAME)
        self._roll_ups = found

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
        known = self._rolled.keys() | self._sums.keys()
        return is_in_order and all(number in known for number in range(leading))

    def _read_roll_ups(
        self, parts: PartSizes, segments: tuple[Segment, ...], *, is_thorough: bool
    ) -> None:
        """What those say that fit these parts. A thorough look reads all lines of each."""
        self._rolled, self._sums = {}, {}
        self._sizes, self._segments = parts, segments
        for number, name in self._find_fitting(parts) if self._roll_ups else ():
            end = self._load_end(number, name)
            if end is not None and end.is_summed and self._fits(end):
                self._sums[number] = end
            if is_thorough or number not in self._sums:
                self._read_whole(number, name)

    def _read_whole(self, number: int, name: str) -> None:
        if name not in self._said:
            self._said[name] = self._load_roll_up(number, name)
        said = self._said[name]
        if said is None:
            return
        fault = said if isinstance(said, str) else self._find_fault(said)
        if isinstance(said, str) or fault:
            self._note(Code.UNREADABLE_ROLL_UP, name, fault)
        else:
            self._rolled[number] = said

    def _find_fitting(self, parts: PartSizes) -> Iterator[tuple[int, str]]:
        for number in self._list_numbers_of_roll_ups():
            if parts.has_all(span_of(number)):
                name = self._name_of(number)
                if name in self._roll_ups:
                    yield number, name

    def _list_numbers_of_roll_ups(self) -> list[int]:
        numbers = {find_described(last_piece(name), "jsonl") for name in self._roll_ups}
        return sorted(number for number in numbers if number is not None)

    def _name_of(self, number: int) -> str:
        return self.layout.rolled_up(number, self._versions.of_all(span_of(number)))

    def _load_end(self, number: int, name: str) -> RolledUp | None:
        """What its last line says; None where that can't be read, of which the rest may tell."""
        if name not in self._ends:
            self._ends[name] = None
            with suppress(FileNotFoundError, Unreadable, StorageError):
                self._ends[name] = decode_end(number, self._read_end(name))
        return self._ends[name]

    def _read_end(self, name: str) -> bytes:
        """Its last line, and some of what comes before it. Raises `Unreadable` if it is too large
        for any roll-up."""
        size = self._roll_ups[name]
        if size > RECORD_BYTES_MAX["rolled"]:
            raise Unreadable(f"it has {count_of(size, 'byte')}")
        offset = max(0, size - END_BYTES)
        data = self.storage.read(name, offset=offset, length=END_BYTES)
        if offset and not find_end(data):
            offset = max(0, size - RolledUp.bytes_max)
            data = self.storage.read(name, offset=offset, length=RolledUp.bytes_max)
        return data

    def _load_roll_up(self, number: int, name: str) -> Sequence[Published] | str | None:
        """What it says, or why it can't be read; None if it is gone."""
        try:
            data = self.storage.read(name, bytes_max=RECORD_BYTES_MAX["rolled"])
            return decode_rolled(number, data)
        except FileNotFoundError:
            return None
        except (Unreadable, StorageError) as error:
            return name_reason(error)

    def _fits(self, end: RolledUp) -> bool:
        """Whether the parts have the sizes that it says, and the plan these batches."""
        span = range(end.first_batch, end.first_batch + end.batches)
        sizes = self._sizes.of_all(span)
        if sizes is None or digest_sizes(sizes) != end.sizes:
            return False
        planned = PlannedBatches(self._segments).within(span)
        return digest_plan(planned) == end.planned

    def _find_fault(self, said: Sequence[Published]) -> str:
        """In which way all its lines do not fit the parts and the plan."""
        plan = PlannedBatches(self._segments).within(range(said[0].batch, said[-1].batch + 1))
        by_batch = {planned.batch: planned for planned in plan}
        for claim in said:
            planned = by_batch.get(claim.batch)
            size = self._sizes[claim.batch]
            fault = find_mismatch(planned, claim) if planned is not None else None
            if claim.size != size:
                fault = f"the part has {count_of(size, 'byte')}, and not what the roll-up says"
            if fault:
                return f"batch {claim.batch}: {fault}"
        return ""

    def _take_sums(self, quarantine_names: Mapping[str, int]) -> dict[int, RolledUp]:
        """Those of which nothing is to be told: the files of their failed items are there, too. Of
        the others all lines are read."""
        layout = self.layout
        for number, end in [*self._sums.items()]:
            failed = end.failed_batches.items()
            if not all(layout.quarantined(*each) in quarantine_names for each in failed):
                del self._sums[number]
                self._read_whole(number, self._name_of(number))
        return self._sums

    def _take_rolled(self) -> dict[int, Published]:
        """What the lines of roll-ups say, by batch."""
        return {claim.batch: claim for said in self._rolled.values() for claim in said}

    def _load_thousand(self, number: int) -> dict[int, Published]:
        """What each batch of a thousand says that is held as a sum. Raises `StorageError`."""
        said = self._load_roll_up(number, self._name_of(number))
        if said is not None and not isinstance(said, str) and not self._find_fault(said):
            return {claim.batch: claim for claim in said}
        # It was damaged or deleted; the sum was right, and the records say the same.
        self.failure = None
        claims = self.read_claims(span_of(number), ())
        if self.failure is not None:
            raise self.failure
        return claims

    def _compare_roll_ups(
        self, claims: Mapping[int, Published], recorded: frozenset[int]
    ) -> frozenset[int]:
        """Note those that say something else than the records. The batches of the others whose
        records are gone."""
        lost = set()
        for number in self._rolled.keys() | self._sums.keys():
            evidence = self._find_difference(number, claims, recorded)
            if evidence:
                self._note(Code.ROLL_UP_DIFFERS, self._name_of(number), evidence)
            elif number in self._rolled:
                lost.update(set(span_of(number)) - recorded)
        return frozenset(lost)

    def _find_difference(
        self, number: int, claims: Mapping[int, Published], recorded: frozenset[int]
    ) -> str:
        said = self._rolled.get(number)
        for each in said or ():
            if each.batch in recorded and _is_other(each, claims.get(each.batch)):
                return f"of batch {each.batch} it does not say what the record says"
        end = self._ends.get(self._name_of(number))
        told = said or [claims[batch] for batch in span_of(number) if batch in claims]
        is_known = len(told) == len(span_of(number)) and all(claim.digest for claim in told)
        if end is None or not end.is_summed or not is_known:
            return ""
        made = sum_up(number, told, end.digest)
        return "" if made == end else "its last line does not say what the records say together"


def _is_other(said: Published, record: Published | None) -> bool:
    """A record that was made anew from its part lacks the slowest items. One that can't be read is
    a finding of its own."""
    if record is None or record.digest is None:
        return False
    return said._replace(slowest="") != record._replace(slowest="")

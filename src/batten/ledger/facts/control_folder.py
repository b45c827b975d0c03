"""Reads the control folder of an output once, and the names of its parts.

What can't be read, or is not what it should be, becomes a finding (decision 0032).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from batten.errors import StorageError
from batten.ledger.facts.batches.described import find_quarantined, find_recorded
from batten.ledger.facts.batches.held_claims import Claims, Recorded, list_unsummed
from batten.ledger.facts.batches.listed_parts import PartSizes, PartVersions, list_parts
from batten.ledger.facts.batches.part_footers import (
    PublishedBatches,
    find_early,
    is_vouched,
)
from batten.ledger.facts.delivered import DeliveryReads
from batten.ledger.facts.noted_reads import ODD_NAME
from batten.ledger.facts.observation import Observation
from batten.ledger.facts.revised import list_revised
from batten.ledger.facts.secrecy import conceal_config, find_clear
from batten.ledger.facts.strays import find_stray, is_hidden
from batten.model.disk.bounds import RECORD_BYTES_MAX
from batten.model.disk.names import (
    FILE_NAMES,
    FOLDER_NAMES,
    Layout,
    find_number,
    find_part,
)
from batten.model.disk.records import (
    Completion,
    Config,
    Segment,
    decode_record,
)
from batten.model.disk.rolled import RolledUp
from batten.model.disk.runs.holders import Holder
from batten.model.disk.staged_names import find_staged
from batten.model.disk.throwaway_names import is_throwaway, is_workroom
from batten.model.rules.findings import Code, Severity, find_worst
from batten.model.rules.states import Ground
from batten.model.telling.counts import count_of
from batten.model.telling.sizes import tell_written
from batten.storage.base import Entry, Store, describe_kind
from batten.storage.listing import list_names_after
from batten.storage.relative import last_piece


class _PlanAndParts(NamedTuple):
    """`complete` is the name of what would close the accounts of these."""

    segments: tuple[Segment, ...]
    has_whole_plan: bool
    parts: PartSizes
    complete: str
    completion: Completion | None


class Reading(DeliveryReads):
    """One pass over an output that is batten's, collecting findings as it goes."""

    def __init__(self, storage: Store, layout: Layout) -> None:
        super().__init__(storage, layout)
        self._config_version = ""
        self._revised: dict[str, str] = {}
        self._has_completion = self._has_roll_ups = False

    def observe(self, *, is_thorough: bool, is_mine: bool) -> Observation:
        layout = self.layout
        self._misplaced = tuple(self._find_misplaced())
        holder = None if is_mine else self._observe_lock()
        # Where others may write meanwhile, what rests on something else is looked for before it.
        is_shared = layout.is_shared
        closed = self._find_closed() if is_shared and not is_thorough else None
        is_asked = is_shared and closed is None
        staged = self._list_known(layout.staged, find_staged) if is_shared else ()
        config = None if is_shared else self._read_config()
        names, found = self._find_records(is_thorough) if is_asked else (None, closed)
        found = found or self._read_plan_and_parts()
        segments, has_whole_plan, parts, complete, completion = found
        quarantine_names, quarantine = self._list_quarantine()
        given_up = self._list_numbers(layout.recompute)
        sums = {} if is_thorough else self._take_sums(quarantine_names)
        published = self._read_published(
            parts, given_up, completion, segments, is_thorough=is_thorough, names=names, sums=sums
        )
        if is_shared:
            quarantine = find_quarantined(layout, quarantine_names, published.claims, parts)
            config = self._read_config()
        else:
            staged = self._list_known(layout.staged, find_staged)
        if parts or published.recorded or completion or staged:
            self._note_what_is_gone(config, completion, len(segments))
        lacks_schema = self._find_lack_of_schema(parts)
        deliveries = self._read_deliveries()
        placed = self._find_placed(deliveries, config, completion)
        if holder is None:
            self._look_at_destinations(deliveries, completion, is_thorough=is_thorough)
            self._look_at_files(config, deliveries, published)
        own_files = {last_piece(target) for target in (layout.output, *placed)}
        return Observation(
            layout=layout,
            ground=self._find_ground(),
            holder=holder,
            config=config,
            segments=segments,
            has_whole_plan=has_whole_plan,
            parts=parts.without(published.early),
            early=published.early,
            recorded=published.recorded,
            claims=published.claims,
            is_vouched=published.is_vouched,
            given_up=given_up,
            quarantine=quarantine,
            staged=staged,
            staging=self._list_known(layout.staging, partial(is_throwaway, also=own_files)),
            completion=completion,
            deliveries=deliveries,
            placed=placed,
            has_complete=completion is not None or self._is_there(complete),
            lacks_schema=lacks_schema,
            findings=tuple(self.findings),
            failure=self.failure,
            versions=self._versions,
            config_version=self._config_version,
            revised=self._revised,
            lost_records=published.lost_records,
        )

    def _find_ground(self) -> Ground:
        """By what was found, so it is asked last."""
        is_newer = find_worst(self.findings) is Severity.UNKNOWN
        return Ground.NEWER if is_newer else Ground.OURS

    def _read_plan_and_parts(self) -> _PlanAndParts:
        layout = self.layout
        before = self._list_parts() if layout.is_shared else None
        entries = list(self._list(self.layout.plan))
        segments, has_whole_plan = self._read_plan(entries)
        self._revised = list_revised(layout, entries, segments)
        parts, versions = before or self._list_parts()
        self._versions = versions
        complete = layout.complete_of(len(segments), versions.in_order(), self._revised)
        return _PlanAndParts(
            segments=segments,
            has_whole_plan=has_whole_plan,
            parts=parts,
            complete=complete,
            completion=self._read_completion(complete),
        )

    def _find_closed(self) -> _PlanAndParts | None:
        """If a `COMPLETE` of a store vouches for the parts that are there, no record is asked for:
        the names alone would be a thousand requests of a million. Else nothing is noted yet."""
        if not self._has_completion:
            return None
        before = list(self.findings), self.failure
        found = self._read_plan_and_parts()
        if found.completion is not None and is_vouched(found.completion, found.parts):
            return found
        self.findings, self.failure = before
        return None

    def _find_records(self, is_thorough: bool) -> tuple[list[str], _PlanAndParts]:
        """Names of records, then the plan and the parts. Of the first thousands no record is looked
        for, as long as each has a roll-up. If one of them does not fit after all, nothing is noted
        yet, and all is looked for."""
        if self._has_roll_ups:
            self._list_roll_ups()
        leading = 0 if is_thorough else self._count_leading()
        while True:
            before = list(self.findings), self.failure
            names = self._list_folder(self.layout.commits, after=self._name_start(leading))
            found = self._read_plan_and_parts()
            self._read_roll_ups(found.parts, found.segments, is_thorough=is_thorough)
            if self._are_told(leading, found.parts):
                return names, found
            self.findings, self.failure = before
            leading = 0

    def _read_completion(self, name: str) -> Completion | None:
        decode = partial(decode_record, Completion)
        return self._decode(name, Code.UNREADABLE_COMPLETE, decode, is_required=False)

    def _find_lack_of_schema(self, parts: Collection[int]) -> bool:
        name = self.layout.schema
        if not parts or self._is_there(name):
            return False
        evidence = "it is gone; each part says itself which columns it has"
        self._note(Code.MISSING_SCHEMA, name, evidence)
        return True

    def _read_config(self) -> Config | None:
        name = self.layout.config
        config = self._decode(
            name, Code.UNREADABLE_CONFIG, partial(decode_record, Config), is_required=False
        )
        if config is None:
            return None
        if clear := find_clear(config):
            evidence = f"it holds what looks like a secret in clear: {', '.join(clear)}"
            self._note(Code.CLEAR_SECRET, name, evidence)
        return conceal_config(config)

    def _read_published(
        self,
        parts: PartSizes,
        given_up: frozenset[int],
        completion: Completion | None,
        segments: tuple[Segment, ...],
        *,
        is_thorough: bool,
        names: Collection[str] | None,
        sums: Mapping[int, RolledUp],
    ) -> PublishedBatches:
        """What records or parts say of themselves, unless `COMPLETE` vouches for them. `names` are
        those of records, where they are known; `sums` those of roll-ups."""
        if not is_thorough and completion is not None and is_vouched(completion, parts):
            return PublishedBatches(is_vouched=True)
        early: frozenset[int] = frozenset()
        rolled = {} if is_thorough else self._take_rolled()
        if names is None:
            recorded = self._list_numbers(self.layout.commits)
            early = find_early(parts, recorded | given_up, segments)
        else:
            recorded = find_recorded(self.layout, names, self._versions, rolled, sums)
        others = (n for n in list_unsummed(parts, sums) if not (n in early or n in rolled))
        claims = rolled | self.read_claims(recorded - rolled.keys(), others)
        return PublishedBatches(
            recorded=Recorded(recorded, sums),
            claims=Claims(claims, sums, self._load_thousand),
            early=early,
            lost_records=self._compare_roll_ups(claims, recorded) if is_thorough else frozenset(),
        )

    def _find_misplaced(self) -> list[str]:
        """What in the control folder is not of the kind that its name says, each a finding."""
        places = []
        listed = list(self._list(self.layout.control))
        start = f"{self.layout.complete}-"
        self._has_completion = any(entry.name.startswith(start) for entry in listed)
        self._has_roll_ups = any(entry.name == self.layout.rolled for entry in listed)
        if any(entry.name == self.layout.fresh_folder and entry.is_folder for entry in listed):
            listed += self._list(self.layout.fresh_folder)
        for entry in listed:
            name = last_piece(entry.name)
            is_in_fresh = entry.name.startswith(self.layout.fresh_folder + "/")
            if is_in_fresh or name in FOLDER_NAMES:
                expected, code = "folder", Code.UNREADABLE_FOLDER
            elif name in FILE_NAMES:
                expected, code = "file", _UNREADABLE.get(name, Code.UNREADABLE_FILE)
            else:
                continue
            evidence = ""
            if entry.kind != expected:
                evidence = f"{describe_kind(entry)}, where a {expected} should be"
            elif name in _RECORDS and entry.size > RECORD_BYTES_MAX[_RECORDS[name]]:
                evidence = f"it has {count_of(entry.size, 'byte')}, more than any file of its kind"
            if evidence:
                self._note(code, entry.name, evidence)
                places.append(entry.name)
        return places

    def _observe_lock(self) -> Holder | None:
        try:
            return self.storage.observe_lock(self.layout.lock)
        except StorageError as error:
            self._note_error(Code.UNREADABLE_FILE, self.layout.lock, error)
            return None

    def _read_plan(self, entries: Collection[Entry]) -> tuple[tuple[Segment, ...], bool]:
        """The segments up to the first that can't be read, and whether those are all."""
        numbers = sorted(_number(entries, "json"))
        sizes = {entry.name: entry.size for entry in entries if entry.is_file}
        segments: list[Segment] = []
        for number in range(numbers[-1] + 1 if numbers else 0):
            name = self.layout.segment(number)
            if number not in numbers:
                self._note(Code.PLAN_GAP, name, "it is gone, and later ones are there")
                return tuple(segments), False
            segment = self._decode(name, Code.UNREADABLE_PLAN, partial(decode_record, Segment))
            if segment is None:
                return tuple(segments), False
            keys = self.layout.segment_keys(number, segment.keys_digest)
            size = sizes.get(keys)
            if segment.keys_size and size != segment.keys_size:
                found = "no file is there" if size is None else f"it has {count_of(size, 'byte')}"
                evidence = f"{found}; {tell_written(segment.keys_size)}"
                self._note(Code.UNREADABLE_PLAN, keys, evidence)
            segments.append(segment)
        return tuple(segments), True

    def _list_parts(self) -> tuple[PartSizes, PartVersions]:
        return list_parts(self._find_parts())

    def _find_parts(self) -> Iterator[tuple[int, int, str]]:
        start = len(self.layout.data) + 1
        for entry in self._list(self.layout.data):
            batch = find_part(entry.name[start:])
            if batch is None:
                self._tell_foreign(entry)
            elif not entry.is_file:
                evidence = f"{describe_kind(entry)}, not a file"
                self._note(Code.UNREADABLE_PART, entry.name, evidence, batch)
            else:
                yield batch, entry.size, entry.version

    def _tell_foreign(self, entry: Entry) -> None:
        """The parts of a control folder are nobody's but batten's to read."""
        stray = "" if self.layout.is_inside else find_stray(self.storage, entry)
        if stray:
            evidence = "it is not a part, and readers of the folder take it for one: rows twice"
            self._note(Code.STRAY_FILE, stray, evidence)
        elif not is_hidden(entry.name):
            self._note(Code.FOREIGN_FILE, entry.name, "not a part")

    def _list_quarantine(self) -> tuple[dict[str, int], dict[int, int]]:
        """Sizes of the files, by their names and by batch."""
        entries = list(self._list(self.layout.quarantine))
        for entry in entries:
            batch = find_number(last_piece(entry.name), "parquet")
            if batch is not None and not entry.is_file:
                evidence = f"{describe_kind(entry)}, not a file"
                self._note(Code.UNREADABLE_QUARANTINE, entry.name, evidence, batch)
        return {entry.name: entry.size for entry in entries}, _number(entries, "parquet")

    def _list_numbers(self, folder: str) -> frozenset[int]:
        """The numbers of the records `000042.json` in the folder."""
        numbers = (find_number(name, "json") for name in self._list_folder(folder))
        return frozenset(number for number in numbers if number is not None)

    def _list_folder(self, folder: str, after: str = "") -> list[str]:
        try:
            if after:
                return list(list_names_after(self.storage, folder, after))
            return list(self.storage.list_names(folder))
        except StorageError as error:
            self._note_error(Code.UNREADABLE_FOLDER, folder, error)
            return []

    def _load(self, name: str) -> bytes:
        if not (self.layout.is_shared and name == self.layout.config):
            return super()._load(name)
        data, self._config_version = self.storage.get(name)
        return data

    def _note_what_is_gone(
        self, config: Config | None, completion: Completion | None, segments: int
    ) -> None:
        """Results without what says what they are results of."""
        told = {finding.path for finding in self.findings}
        if config is None and self.layout.config not in told:
            self._note(Code.MISSING_CONFIG, self.layout.config, "it is gone, and results are there")
        expected = max(1, completion.segments if completion else 0)
        name = self.layout.segment(segments)
        if segments < expected and name not in told:
            self._note(Code.PLAN_GAP, name, "it is gone, and results of its items are there")

    def _list_known(self, folder: str, find: Callable[[str], object | None]) -> tuple[Entry, ...]:
        known = []
        for entry in self._list(folder):
            name = entry.name[len(folder) + 1 :]
            if not (find(name) if entry.is_file else entry.is_folder and is_workroom(name)):
                self._note(Code.FOREIGN_FILE, entry.name, ODD_NAME)
            else:
                known.append(entry)
        return tuple(sorted(known, key=lambda entry: entry.name))


_UNREADABLE = {
    "dataset.json": Code.UNREADABLE_CONFIG,
    "schema.json": Code.UNREADABLE_SCHEMA,
    "COMPLETE": Code.UNREADABLE_COMPLETE,
}


_RECORDS = {
    "dataset.json": "config",
    "schema.json": "schema",
    "COMPLETE": "completion",
    "REPLACING": "replacing",
    "CURRENT": "generations",
}
"""Those whose content counts; the text of a lock may be anything."""


def _number(entries: Iterable[Entry], suffix: str) -> dict[int, int]:
    """Sizes of the files `000042.suffix` among them, by number."""
    sizes = {}
    for entry in entries:
        number = find_number(entry.name.rpartition("/")[2], suffix)
        if number is not None and entry.is_file:
            sizes[number] = entry.size
    return sizes

"""Reads what is there, and writes nothing: no lock is taken, no Parquet library is needed.

Whatever can't be read becomes a finding, also the place as a whole; `failure` then says that it may
pass.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import field, replace
from functools import partial
from itertools import count
from typing import TypeVar

from batten.dataset.destinations import look_at_destination
from batten.dataset.secrecy import conceal_config, find_clear
from batten.dataset.strays import find_stray, is_hidden
from batten.errors import MisplacedError, StorageError
from batten.model.bounds import RECORD_BYTES_MAX
from batten.model.findings import Code, Finding, Severity, find_worst
from batten.model.footer import TAIL_SIZE, decode_footer, find_footer_size
from batten.model.names import (
    FILE_NAMES,
    FOLDER_NAMES,
    Layout,
    find_number,
    find_part,
    find_staged,
    is_throwaway,
)
from batten.model.published import Published, decode_published, published_by_footer
from batten.model.records import (
    Completion,
    Config,
    Delivery,
    Holder,
    NewerFormat,
    Segment,
    Unreadable,
    decode_record,
)
from batten.model.states import Ground
from batten.model.value_class import value_class
from batten.model.words import FILE_KINDS
from batten.sinks.located import locate_read
from batten.storage.base import READ_BYTES_MAX, Entry, Storage, describe_kind
from batten.storage.failures import is_of_wrong_kind
from batten.storage.relative import last_piece
from batten.storage.replacement import load_journal

Value = TypeVar("Value")


@value_class
class Observation:
    """What was found of one output. Files are by batch where they are of one.

    `claims` are what records say, or footers of parts without one; with `is_vouched`, `COMPLETE`
    and the sizes of all parts agree, and records were not read. `findings` are those of reading
    alone; `failure` is the first error of the system among them, which may pass. `early` are parts
    without a record that appeared before one that comes before them: a power cut can leave so what
    was published together. With `has_journal` a replacement was begun, or, `is_unsynced`, names
    that could not be made durable must be made anew; then nothing else was read.
    `lacks_schema`: there are parts, and what pinned their columns is gone.
    `placed` are the sizes in bytes of the output and of files that `deliveries` name, where they
    are files and are there.
    """

    layout: Layout
    ground: Ground
    holder: Holder | None = None
    config: Config | None = None
    segments: tuple[Segment, ...] = ()
    has_whole_plan: bool = True
    parts: dict[int, int] = field(default_factory=dict)
    early: frozenset[int] = frozenset()
    recorded: frozenset[int] = frozenset()
    claims: dict[int, Published] = field(default_factory=dict)
    is_vouched: bool = False
    given_up: frozenset[int] = frozenset()
    quarantine: dict[int, int] = field(default_factory=dict)
    staged: tuple[Entry, ...] = ()
    staging: tuple[Entry, ...] = ()
    completion: Completion | None = None
    deliveries: tuple[Delivery, ...] = ()
    placed: dict[str, int] = field(default_factory=dict)
    has_journal: bool = False
    is_unsynced: bool = False
    has_complete: bool = False
    lacks_schema: bool = False
    findings: tuple[Finding, ...] = ()
    failure: StorageError | None = None

    @property
    def reopened(self) -> frozenset[int]:
        """Batches whose part is there and is about to be replaced, its quarantined items retried:
        their record was given up on purpose."""
        return self.given_up.intersection(self.parts) - self.recorded

    @property
    def holds_clear_secrets(self) -> bool:
        """Whether an older batten kept secrets in clear there."""
        return any(finding.code is Code.CLEAR_SECRET for finding in self.findings)

    @property
    def unrecorded(self) -> list[int]:
        """Batches whose part was published by a run that was killed before it wrote the record."""
        without = set(self.claims).intersection(self.parts) - self.recorded
        return sorted(without - self.reopened)


def observe_output(
    storage: Storage, layout: Layout, *, is_thorough: bool = False, is_mine: bool = False
) -> Observation:
    """What is at the output now. A live run may change it meanwhile: see `holder`. With
    `is_thorough` all records are read, whatever `COMPLETE` says. `is_mine` is said by the holder
    of the lock: nobody else is at work, so there is no `holder`, and destinations are looked at."""
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
        return _Reading(storage, layout).observe(is_thorough=is_thorough, is_mine=is_mine)
    journal = layout.replacing if unsynced is None else layout.unsynced
    if unsynced is not None:
        fault = "" if unsynced.kind == "file" else f"a {unsynced.kind}, where a file should be"
    found = _observe_unfinished(storage, layout, journal, fault, is_mine=is_mine)
    if found.holder is None and found.failure is None and _is_gone(storage, journal):
        # Whoever was at work ended between the two looks.
        return observe_output(storage, layout, is_thorough=is_thorough, is_mine=is_mine)
    return replace(found, is_unsynced=unsynced is not None)


def _is_gone(storage: Storage, name: str) -> bool:
    try:
        return storage.find(name) is None
    except StorageError:
        return False


def _find_journal_fault(storage: Storage, layout: Layout) -> str:
    """Why a replacement that was begun can't go on; empty where it can."""
    try:
        load_journal(storage, layout)
    except (Unreadable, MisplacedError) as error:
        return name_reason(error)
    except FileNotFoundError:
        pass  # It ended meanwhile.
    return ""


def _observe_unfinished(
    storage: Storage, layout: Layout, journal: str, fault: str, *, is_mine: bool
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


def _find_ground(storage: Storage, layout: Layout) -> tuple[Ground, list[Finding]]:
    control, output = storage.find(layout.control), storage.find(layout.output)
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


class _Reading:
    """One pass over an output that is batten's, collecting findings as it goes."""

    def __init__(self, storage: Storage, layout: Layout) -> None:
        self.storage = storage
        self.layout = layout
        self.findings: list[Finding] = []
        self.failure: StorageError | None = None
        self._misplaced: tuple[str, ...] = ()

    def observe(self, *, is_thorough: bool, is_mine: bool) -> Observation:
        layout = self.layout
        self._misplaced = tuple(self._find_misplaced())
        holder = None if is_mine else self._observe_lock()
        config = self._decode(
            layout.config, Code.UNREADABLE_CONFIG, _decode_config, is_required=False
        )
        if config is not None:
            if clear := find_clear(config):
                evidence = f"it holds what looks like a secret in clear: {', '.join(clear)}"
                self._note(Code.CLEAR_SECRET, layout.config, evidence)
            config = conceal_config(config)
        segments, has_whole_plan = self._read_plan()
        parts = self._list_parts()
        completion = self._decode(
            layout.complete, Code.UNREADABLE_COMPLETE, _decode_completion, is_required=False
        )
        quarantine = self._list_quarantine()
        recorded: frozenset[int] = frozenset()
        claims: dict[int, Published] = {}
        given_up = self._list_numbers(layout.recompute)
        early: frozenset[int] = frozenset()
        is_vouched = not is_thorough and completion is not None and _is_vouched(completion, parts)
        if not is_vouched:
            recorded = self._list_numbers(layout.commits)
            planned = sum(segment.batches for segment in segments)
            early = _find_early(parts, recorded | given_up, planned)
            parts = {batch: size for batch, size in parts.items() if batch not in early}
            claims = self._read_claims(recorded, parts)
        staged = self._list_known(layout.staged, find_staged)
        if parts or early or recorded or completion or staged:
            self._note_what_is_gone(config, completion, len(segments))
        lacks_schema = bool(parts or early) and not self._is_there(layout.schema)
        if lacks_schema:
            evidence = "it is gone; each part says itself which columns it has"
            self._note(Code.MISSING_SCHEMA, layout.schema, evidence)
        deliveries = self._read_deliveries()
        placed = self._find_placed(deliveries, config)
        for delivery in deliveries if holder is None else ():
            try:
                self.findings += look_at_destination(
                    self.storage, delivery, is_thorough=is_thorough
                )
            except StorageError as error:
                self._note_error(Code.UNREADABLE_DESTINATION, delivery.target, error)
        own_files = {last_piece(target) for target in (layout.output, *placed)}
        worst = find_worst(self.findings)
        return Observation(
            layout=layout,
            ground=Ground.NEWER if worst is Severity.UNKNOWN else Ground.OURS,
            holder=holder,
            config=config,
            segments=segments,
            has_whole_plan=has_whole_plan,
            parts=parts,
            early=early,
            recorded=recorded,
            claims=claims,
            is_vouched=is_vouched,
            given_up=given_up,
            quarantine=quarantine,
            staged=staged,
            staging=self._list_known(layout.staging, partial(is_throwaway, also=own_files)),
            completion=completion,
            deliveries=deliveries,
            placed=placed,
            has_complete=completion is not None or self._is_there(layout.complete),
            lacks_schema=lacks_schema,
            findings=tuple(self.findings),
            failure=self.failure,
        )

    def _find_misplaced(self) -> list[str]:
        """What in the control folder is not of the kind that its name says, each a finding."""
        places = []
        listed = list(self._list(self.layout.control))
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
                evidence = f"it has {entry.size} bytes, more than any file of its kind"
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

    def _read_plan(self) -> tuple[tuple[Segment, ...], bool]:
        """The segments up to the first that can't be read, and whether those are all."""
        entries = list(self._list(self.layout.plan))
        numbers = sorted(_number(entries, "json"))
        key_files = _number(entries, "arrow")
        segments: list[Segment] = []
        for number in range(numbers[-1] + 1 if numbers else 0):
            name = self.layout.segment(number)
            if number not in numbers:
                self._note(Code.PLAN_GAP, name, "it is gone, and later ones are there")
                return tuple(segments), False
            segment = self._decode(name, Code.UNREADABLE_PLAN, _decode_segment)
            if segment is None:
                return tuple(segments), False
            size = key_files.get(number)
            if segment.keys_size and size != segment.keys_size:
                found = "no file is there" if size is None else f"it has {size} bytes"
                evidence = f"{found}; {segment.keys_size} bytes were written"
                self._note(Code.UNREADABLE_PLAN, self.layout.segment_keys(number), evidence)
            segments.append(segment)
        return tuple(segments), True

    def _list_parts(self) -> dict[int, int]:
        parts = {}
        start = len(self.layout.data) + 1
        for entry in self._list(self.layout.data):
            batch = find_part(entry.name[start:])
            if batch is None:
                self._tell_foreign(entry)
            elif not entry.is_file:
                evidence = f"{describe_kind(entry)}, not a file"
                self._note(Code.UNREADABLE_PART, entry.name, evidence, batch)
            else:
                parts[batch] = entry.size
        return parts

    def _tell_foreign(self, entry: Entry) -> None:
        """The parts of a control folder are nobody's but batten's to read."""
        stray = "" if self.layout.is_inside else find_stray(self.storage, entry)
        if stray:
            evidence = "it is not a part, and readers of the folder take it for one: rows twice"
            self._note(Code.STRAY_FILE, stray, evidence)
        elif not is_hidden(entry.name):
            self._note(Code.FOREIGN_FILE, entry.name, "not a part")

    def _list_quarantine(self) -> dict[int, int]:
        entries = list(self._list(self.layout.quarantine))
        for entry in entries:
            batch = find_number(last_piece(entry.name), "parquet")
            if batch is not None and not entry.is_file:
                evidence = f"{describe_kind(entry)}, not a file"
                self._note(Code.UNREADABLE_QUARANTINE, entry.name, evidence, batch)
        return _number(entries, "parquet")

    def _list_numbers(self, folder: str) -> frozenset[int]:
        """The numbers of the records `000042.json` in the folder."""
        try:
            names = list(self.storage.list_names(folder))
        except StorageError as error:
            self._note_error(Code.UNREADABLE_FOLDER, folder, error)
            return frozenset()
        numbers = (find_number(name, "json") for name in names)
        return frozenset(number for number in numbers if number is not None)

    def _read_deliveries(self) -> tuple[Delivery, ...]:
        names = sorted(entry.name for entry in self._list(self.layout.deliveries))
        found = (self._decode(name, Code.UNREADABLE_DELIVERY, _decode_delivery) for name in names)
        return tuple(delivery for delivery in found if delivery is not None)

    def _find_placed(self, deliveries: Iterable[Delivery], config: Config | None) -> dict[str, int]:
        placed = {}
        targets = {delivery.target for delivery in deliveries if delivery.is_file}
        if (own := find_own_file(self.layout, config)) is not None:
            targets.add(own)
        for target in sorted(targets):
            try:
                storage, name = locate_read(self.storage, target)
                entry = storage.find(name)
            except StorageError as error:
                self._note_error(Code.UNREADABLE_FILE, target, error)
                continue
            if entry is not None and not entry.is_file:
                evidence = f"{describe_kind(entry)} lies where the file should be"
                self._note(Code.UNREADABLE_FILE, name, evidence)
            elif entry is not None:
                placed[target] = entry.size
        return placed

    def _list_known(self, folder: str, find: Callable[[str], object | None]) -> tuple[Entry, ...]:
        known = []
        for entry in self._list(folder):
            if not entry.is_file or not find(entry.name[len(folder) + 1 :]):
                self._note(Code.FOREIGN_FILE, entry.name, "its name is not one that batten gives")
            else:
                known.append(entry)
        return tuple(sorted(known, key=lambda entry: entry.name))

    def _read_claims(self, recorded: Iterable[int], parts: Iterable[int]) -> dict[int, Published]:
        claims = {}
        folder, batches = self.layout.commits, sorted(recorded)
        names = [last_piece(self.layout.commit(batch)) for batch in batches]
        for batch, data in zip(batches, self.storage.read_each(folder, names), strict=True):
            try:
                claim = decode_published(data) if data is not None else self._read_record(batch)
            except Unreadable:
                claim = self._read_record(batch)
            if claim is not None:
                claims[batch] = claim
        for batch in sorted(set(parts).difference(claims)):
            claim = self._read_footer(batch)
            if claim is not None:
                claims[batch] = claim
        return claims

    def _read_record(self, batch: int) -> Published | None:
        name = self.layout.commit(batch)
        return self._decode(name, Code.UNREADABLE_RECORD, decode_published, batch)

    def _read_footer(self, batch: int) -> Published | None:
        name = self.layout.part(batch)
        try:
            return published_by_footer_of(self.storage, name)
        except NewerFormat as error:
            self._note(Code.NEWER_FORMAT, name, str(error), batch)
        except (Unreadable, StorageError, FileNotFoundError) as error:
            self._note_error(Code.UNREADABLE_PART, name, error, batch)
        return None

    def _decode(
        self,
        name: str,
        code: Code,
        decode: Callable[[bytes], Value],
        batch: int | None = None,
        *,
        is_required: bool = True,
    ) -> Value | None:
        try:
            return decode(self.storage.read(name))
        except NewerFormat as error:
            self._note(Code.NEWER_FORMAT, name, str(error), batch)
        except FileNotFoundError as error:
            if is_required:
                self._note_error(code, name, error, batch)
        except (Unreadable, StorageError) as error:
            self._note_error(code, name, error, batch)
        return None

    def _is_there(self, name: str) -> bool:
        """Also of what can't be looked up."""
        try:
            return self.storage.find(name) is not None
        except StorageError as error:
            self.failure = self.failure or error
            return True

    def _list(self, folder: str) -> Iterable[Entry]:
        try:
            yield from self.storage.list(folder)
        except StorageError as error:
            self._note_error(Code.UNREADABLE_FOLDER, folder, error)

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

    def _note_error(
        self, code: Code, path: str, error: Exception, batch: int | None = None
    ) -> None:
        if isinstance(error, StorageError) and not is_of_wrong_kind(error):
            self.failure = self.failure or error
        self._note(code, path, name_reason(error), batch)

    def _note(self, code: Code, path: str, evidence: str, batch: int | None = None) -> None:
        if any(path == each or path.startswith(each + "/") for each in self._misplaced):
            return  # All that is wrong there was told.
        self.findings.append(Finding(code=code, path=path, evidence=evidence, batch=batch))


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
}
"""Those whose content counts; the text of a lock may be anything."""


def find_own_file(layout: Layout, config: Config | None) -> str | None:
    """The output itself, where it is one file that is made of the parts."""
    is_file = layout.is_inside and config is not None and config.sink in FILE_KINDS
    return layout.output if is_file else None


def published_by_footer_of(storage: Storage, name: str) -> Published:
    """What a part says of itself. Raises `Unreadable`, or `StorageError`."""
    size = find_footer_size(storage.read(name, offset=-TAIL_SIZE, length=TAIL_SIZE))
    if size > READ_BYTES_MAX:
        raise Unreadable(f"it says that its footer has {size:,} bytes")
    footer = storage.read(name, offset=-(size + TAIL_SIZE), length=size)
    return published_by_footer(decode_footer(footer))


def _number(entries: Iterable[Entry], suffix: str) -> dict[int, int]:
    """Sizes of the files `000042.suffix` among them, by number."""
    sizes = {}
    for entry in entries:
        number = find_number(entry.name.rpartition("/")[2], suffix)
        if number is not None and entry.is_file:
            sizes[number] = entry.size
    return sizes


def _decode_config(data: bytes) -> Config:
    return decode_record(Config, data)


def _decode_segment(data: bytes) -> Segment:
    return decode_record(Segment, data)


def _decode_delivery(data: bytes) -> Delivery:
    return decode_record(Delivery, data)


def _decode_completion(data: bytes) -> Completion:
    return decode_record(Completion, data)


def _is_vouched(completion: Completion, parts: dict[int, int]) -> bool:
    """Quarantine files are recorded batch by batch, so where there are any the records are read."""
    sizes = completion.part_sizes
    return (
        completion.quarantined == 0
        and len(parts) == len(sizes)
        and all(parts.get(batch) == size for batch, size in enumerate(sizes))
    )


def _find_early(parts: Collection[int], settled: Collection[int], planned: int) -> frozenset[int]:
    """Parts are recorded once all before them are durable, so beyond the first batch of which
    nothing is known, those without a record are not proven to be in their place."""
    gap = next(batch for batch in count() if batch not in parts and batch not in settled)
    return frozenset(batch for batch in parts if gap < batch < planned and batch not in settled)


def name_reason(error: BaseException) -> str:
    """Why something can't be read, as evidence: no full stop at its end."""
    if isinstance(error, FileNotFoundError):
        return "it is gone"
    return (getattr(error, "what", None) or str(error)).splitlines()[0].removesuffix(".")

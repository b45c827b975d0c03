"""Reads a part and its quarantine file, and holds them against record, footer, plan and schema."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import groupby, islice
from typing import Any, BinaryIO

from batten.errors import StorageError
from batten.inspect.items.plan_keys import PlanKeys, select_keys, select_keys_of_rows
from batten.ledger.facts.batches.part_footers import published_by_footer_of
from batten.ledger.facts.observation import Observation
from batten.ledger.facts.reasons import name_reason
from batten.ledger.files.part_rows import PartRows
from batten.ledger.files.schema_file import load_schema
from batten.model.disk.bounds import RECORD_BYTES_MAX
from batten.model.disk.published import Published
from batten.model.disk.records import Unreadable
from batten.model.rules.accounting import PlannedBatch, PlannedBatches
from batten.model.rules.findings import Code, Finding
from batten.model.telling.counts import count_of
from batten.model.words import Outcome
from batten.storage.base import Store
from batten.storage.digests import digest_open


class PartVerifier:
    """Verifies the parts of one output, whose records have been held against the plan already."""

    def __init__(
        self, storage: Store, observation: Observation, plan: PlannedBatches, *, is_quick: bool
    ) -> None:
        self._storage = storage
        self._observation = observation
        self._plan = plan
        self._is_quick = is_quick
        self._keys = PlanKeys(storage, observation.layout, plan)
        self._schema = _find_schema(storage, observation.layout.schema) if not is_quick else None

    def verify(self, batch: int) -> list[Finding]:
        """What is wrong with the part of a batch, its record and its quarantine file."""
        claim, planned = self._observation.claims.get(batch), self._plan.find(batch)
        if claim is None or planned is None:
            return []
        findings = list(self._compare_footer(batch, claim))
        if not self._is_quick:
            if not findings:
                findings = list(self._read_part(claim, planned))
            findings += self._read_quarantine(claim, planned)
        return findings

    def _compare_footer(self, batch: int, claim: Published) -> Iterator[Finding]:
        name = self._observation.layout.part(batch)
        try:
            own = published_by_footer_of(self._storage, name)
        except (Unreadable, StorageError, FileNotFoundError) as error:
            yield _found(Code.UNREADABLE_PART, name, name_reason(error), batch)
            return
        told = [
            f"{field} {getattr(claim, field)!r}, the part itself says {getattr(own, field)!r}"
            for field in ("batch", "items", "rows", "outcomes", "keys", "fingerprint")
            if getattr(claim, field) != getattr(own, field)
        ]
        if told:
            record = self._observation.layout.commit(batch)
            yield _found(Code.ACCOUNTS_DIFFER, record, f"it says {'; '.join(told)}", batch)

    def _read_part(self, claim: Published, planned: PlannedBatch) -> Iterator[Finding]:
        import pyarrow as pa

        batch = claim.batch
        name = self._observation.layout.part(batch)
        try:
            with self._storage.open(name) as file:
                digest = digest_open(file)
                if claim.digest not in (None, digest):
                    evidence = f"its digest is {digest}; its commit record says {claim.digest}"
                    yield _found(Code.DIGEST_DIFFERS, name, evidence, batch)
                    return
                for code, evidence in self._compare_rows(file, claim, planned):
                    yield _found(code, name, evidence, batch)
        except (FileNotFoundError, StorageError) as error:
            yield _found(Code.UNREADABLE_PART, name, name_reason(error), batch)
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            yield _found(Code.UNREADABLE_PART, name, f"it can't be read: {error}", batch)

    def _compare_rows(
        self, file: BinaryIO, claim: Published, planned: PlannedBatch
    ) -> Iterator[tuple[Code, str]]:
        """Rows are read some thousands at a time: a few kilobytes can stand for gigabytes."""
        reader = PartRows(file)
        schema = reader.schema
        if reader.rows != claim.rows:
            found = count_of(reader.rows, "row")
            yield Code.ROWS_DIFFER, f"it has {found}; {claim.rows} were recorded"
            return
        config = self._observation.config
        column = config.key_column if config is not None else schema.names[0]
        if column and column not in schema.names:
            yield Code.SCHEMA_DIFFERS, f"it has no column {column!r}, which holds the keys"
            return
        if self._schema is not None:
            place = schema.get_field_index(column) if column else -1
            rest = schema.remove(place) if place >= 0 else schema
            if not rest.equals(self._schema, check_metadata=False):
                yield Code.SCHEMA_DIFFERS, "its columns are not those of schema.json"
        keys = self._keys.find(planned)
        wanted = select_keys_of_rows(keys, claim) if keys is not None else []
        given: list[Any] = []
        for batch in reader.read_shared():
            if keys is not None and column and len(given) <= 2 * len(wanted):
                given += islice(_list_runs(batch.column(column)), 2 * len(wanted) + 1)
        given = [key for key, _ in groupby(given)]
        if keys is not None and column and given != wanted:
            yield Code.KEYS_DIFFER, _describe_difference(given, wanted)

    def _read_quarantine(self, claim: Published, planned: PlannedBatch) -> Iterator[Finding]:
        import pyarrow as pa

        batch = claim.batch
        keys = self._keys.find(planned)
        wanted = select_keys(keys, claim, Outcome.QUARANTINED) if keys is not None else None
        if not claim.quarantine_digest and (not wanted or batch in self._observation.reopened):
            return
        name = self._observation.layout.quarantined(batch, claim.digest or "")
        try:
            data = self._storage.read(name, bytes_max=RECORD_BYTES_MAX["quarantine"])
            digest = hashlib.sha256(data).hexdigest()
            if claim.quarantine_digest not in (None, digest):
                said = claim.quarantine_digest
                evidence = f"its digest is {digest}; its commit record says {said!r}"
                yield _found(Code.DIGEST_DIFFERS, name, evidence, batch)
                return
            reader = PartRows(data)
            if wanted is not None and reader.rows != len(wanted):
                yield _found(Code.KEYS_DIFFER, name, "its keys are not those recorded", batch)
                return
            found = reader.read_table(["key"])
        except FileNotFoundError:
            yield _found(Code.LOST_QUARANTINE, name, "it is gone", batch)
            return
        except (StorageError, OSError, ValueError, KeyError, pa.ArrowException) as error:
            evidence = f"it can't be read: {name_reason(error)}"
            yield _found(Code.UNREADABLE_QUARANTINE, name, evidence, batch)
            return
        if wanted is not None and found.column("key").to_pylist() != [str(k) for k in wanted]:
            yield _found(Code.KEYS_DIFFER, name, "its keys are not those recorded", batch)


def _find_schema(storage: Store, name: str) -> Any:
    """None if it can't be read; that is another finding."""
    try:
        return load_schema(storage, name)
    except Unreadable:
        return None


def _list_runs(column: Any) -> list[Any]:
    """The values in order, each once where it stands several times in a row."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(column.type):
        return pc.run_end_encode(column).values.to_pylist()  # type: ignore[no-any-return]
    texts = column.dictionary.to_pylist()
    runs = pc.run_end_encode(column.indices).values.to_pylist()
    return [None if place is None else texts[place] for place in runs]


def _describe_difference(found: list[Any], wanted: list[Any]) -> str:
    missing = sorted(set(wanted).difference(found), key=str)
    extra = sorted(set(found).difference(wanted), key=str)
    if missing:
        return f"no row for {count_of(len(missing), 'key')} of the plan, {missing[0]!r} first"
    if extra:
        return f"{count_of(len(extra), 'key')} that the plan has not, {extra[0]!r} first"
    return "its keys are not in the order of the plan"


def _found(code: Code, path: str, evidence: str, batch: int) -> Finding:
    return Finding(code=code, path=path, evidence=evidence, batch=batch)

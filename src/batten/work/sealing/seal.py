"""From the finished pieces of a batch to the bytes of its part: the same, however it was cut."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import replace

import pyarrow as pa

from batten.errors import UsageError
from batten.ledger.files.quarantine_file import encode_quarantine
from batten.model.disk.outcomes import encode_outcomes
from batten.model.disk.records import PartDescription, version_for
from batten.model.telling.type_names import show_literal, show_type
from batten.model.value_class import value_class
from batten.model.words import Outcome
from batten.plan.plan import Plan, PlanBatch
from batten.rows.arrays import integers, long_texts, texts
from batten.rows.columns_of_rows import ITEM
from batten.rows.declared import Declared
from batten.rows.fit_or_unfit import conform_table
from batten.rows.schema import OTHER_TYPE, find_unknown_columns, join_schemas
from batten.run.clock import utc_now
from batten.sinks.parquet import encode_part, find_unfit
from batten.work.calling.calls import Failure
from batten.work.sealing.batch_checks import Rule, check_batch
from batten.work.staged.chunk_files import Piece, TakenOver
from batten.work.unfitting_rows import fail_unfitting


class PinRefusedError(UsageError):
    """The first rows leave the type of a column open, or it is one that no part can have."""


@value_class
class SealedBytes:
    """A batch's part and, if items failed, its quarantine file. `pinned` is the schema that it
    pinned, without the key. `misfits` are those `failures` of items that do not fit the schema."""

    part: pa.Buffer
    quarantine: pa.Buffer | None
    description: PartDescription
    pinned: pa.Schema | None
    failures: tuple[Failure, ...]
    misfits: tuple[Failure, ...]


def seal_pieces(
    batch: PlanBatch,
    pieces: Sequence[Piece],
    schema: pa.Schema | None,
    plan: Plan,
    key_column: str,
    fingerprint: str,
    declared: Declared,
    rules: Sequence[Rule],
) -> SealedBytes | None:
    """None if no schema is pinned yet and the batch has no rows to pin one. `declared` is
    what the job says of its columns. Raises `BatchRefusedError` if the rows do not pass the
    `rules`."""
    # By their first rows, so that what they pin does not depend on what else a piece holds.
    tables = sorted(
        (piece.table for piece in pieces if piece.table is not None),
        key=lambda table: table.column(ITEM)[0].as_py(),
    )
    failures = [failure for piece in pieces for failure in piece.failures]
    pinned = None
    taken_over = _find_taken_over(pieces, batch)
    if schema is None:
        # Rows that are taken over have the columns that are there already.
        are_new = any(piece.table is not None and piece.taken_over is None for piece in pieces)
        schema = pinned = _pin(batch, tables, declared) if are_new else None
        if schema is None:
            return None
    fitted: list[pa.Table] = []
    misfits: list[Failure] = []
    for table in tables:
        own, unfitting = conform_table(table, schema)
        fitted += own
        misfits += fail_unfitting(unfitting)
    misfits.sort(key=lambda failure: failure.item)
    failures = sorted([*failures, *misfits], key=lambda failure: failure.item)
    table = _join(fitted, schema)
    items = table.column(ITEM).to_pylist()
    if items != (in_order := sorted(items)):
        table, items = table.sort_by(ITEM), in_order
    described = _describe(batch, items, failures, plan, fingerprint, _find_adopted(pieces))
    keys = _keys_of_rows(plan, batch, items)
    table = table.drop_columns([ITEM])
    table = table.add_column(0, pa.field(key_column, keys.type, nullable=False), keys)
    # Those of before passed the rules of their time, and stay (decision 0102).
    check_batch(rules if taken_over is None else (), batch, table)
    has_more = any(len(each.schema) < len(schema) + 1 for each in tables)
    part, described = _encode(table, described, taken_over, has_more=has_more)
    return SealedBytes(
        part=part,
        quarantine=_encode_failures(batch, failures, plan) if failures else None,
        description=described,
        pinned=pinned,
        failures=tuple(failures),
        misfits=tuple(misfits),
    )


def _find_adopted(pieces: Sequence[Piece]) -> set[int]:
    """The items whose rows a hand-made job had made."""
    return {
        item
        for piece in pieces
        if piece.adopted and piece.table is not None
        for item in piece.table.column(ITEM).to_pylist()
        if item in piece.adopted
    }


def _encode(
    table: pa.Table,
    described: PartDescription,
    taken_over: TakenOver | None,
    *,
    has_more: bool,
) -> tuple[pa.Buffer, PartDescription]:
    """A part that is taken over and gets no column is the part that it was, byte for byte."""
    if taken_over is None:
        return encode_part(table, described), described
    before, _, digest = taken_over.digests.rpartition(",")
    described = replace(described, fingerprint=taken_over.fingerprint, widens=before)
    if not has_more:
        part = encode_part(table, described)
        if hashlib.sha256(memoryview(part)).hexdigest() == digest:
            return part, described
    described = replace(described, widens=taken_over.digests)
    return encode_part(table, described), described


def _find_taken_over(pieces: Sequence[Piece], batch: PlanBatch) -> TakenOver | None:
    """What the rows are of, if all of the batch is taken over from an earlier part of it."""
    found = pieces[0].taken_over if len(pieces) == 1 else None
    is_whole = found is not None and (pieces[0].start, pieces[0].stop) == (0, batch.items)
    return found if is_whole and pieces[0].some is None else None


def _pin(batch: PlanBatch, tables: Sequence[pa.Table], declared: Declared) -> pa.Schema | None:
    schema = join_schemas(
        table.schema.remove(table.schema.get_field_index(ITEM)).remove_metadata()
        for table in tables
    )
    if schema is None:
        return None
    schema = declared.settle(schema)
    unknown = find_unknown_columns(schema)
    if unknown:
        listed = ", ".join(repr(name) for name in unknown)
        known = ", ".join(
            f"{show_literal(field.name)}: {show_literal(show_type(field.type, is_open=True))}"
            for field in schema
        )
        raise PinRefusedError(
            f"The type of {listed} can't be known: no value in the first {batch.items} items.",
            safe="What was finished stays staged and is used again; nothing was published.",
            next=f"Say the types and run it again: .options(schema={{{known}}})",
        )
    if (unfit := find_unfit(schema)) is not None:
        raise PinRefusedError(
            f"Rows have the column {unfit.name!r} of type {show_type(unfit.type)}, which Parquet "
            "can't hold.",
            safe="What was finished stays staged; nothing was published.",
            next=OTHER_TYPE,
        )
    return schema


def _join(tables: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    if tables:
        return pa.concat_tables(tables)
    return pa.Table.from_batches([], schema.append(pa.field(ITEM, pa.int64())))


def _keys_of_rows(plan: Plan, batch: PlanBatch, items: Sequence[int]) -> pa.Array:
    """The key of each row. If each item has one row, these are the keys of the plan. To take them
    one by one would import Arrow's functions, which is a good part of the time of a short run."""
    keys = plan.key_column(batch)
    return keys if items == list(range(batch.items)) else keys.take(integers(items))


def _describe(
    batch: PlanBatch,
    items: Sequence[int],
    failures: Sequence[Failure],
    plan: Plan,
    fingerprint: str,
    adopted: Collection[int],
) -> PartDescription:
    outcomes = [Outcome.FILTERED] * batch.items
    committed = Outcome.COMMITTED
    for item in items:
        outcomes[item] = committed
    for item in adopted:
        outcomes[item] = Outcome.ADOPTED
    for failure in failures:
        outcomes[failure.item] = Outcome.QUARANTINED
    gone = plan.find_gone(batch)
    for item in gone:
        outcomes[item] = Outcome.REMOVED
    return PartDescription(
        batch=batch.number,
        items=batch.items,
        rows=len(items),
        outcomes=encode_outcomes(outcomes),
        keys=batch.keys_description,
        fingerprint=fingerprint,
        revision=plan.revision(batch),
        format_version=version_for(bool(gone) or bool(adopted)),
    )


def _encode_failures(batch: PlanBatch, failures: Sequence[Failure], plan: Plan) -> pa.Buffer:
    keys = plan.key_texts(batch)
    now = utc_now()
    return encode_quarantine(
        {
            "key": texts([keys[failure.item] for failure in failures]),
            "item": integers(failure.item for failure in failures),
            "error": long_texts([failure.error for failure in failures]),
            "traceback": long_texts([failure.trace for failure in failures]),
            "attempts": integers(failure.attempts for failure in failures),
            "time": texts([now for _ in failures]),
        }
    )

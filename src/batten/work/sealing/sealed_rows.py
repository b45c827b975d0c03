"""What is sealed of a batch, read again when some of its items are tried again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa

from batten.errors import CorruptError
from batten.ledger.files.part_rows import PartRows
from batten.model.disk.bounds import RECORD_BYTES_MAX
from batten.model.disk.footer import decode_part
from batten.model.disk.items.slowest import Slow, decode_slowest
from batten.model.disk.names import Layout
from batten.model.disk.outcomes import count_outcomes
from batten.model.disk.published import decode_published
from batten.model.disk.records import Unreadable
from batten.model.telling.commands import command
from batten.model.value_class import value_class
from batten.plan.plan import Plan, PlanBatch
from batten.rows.arrays import integers
from batten.rows.columns_of_rows import ITEM
from batten.storage.base import Store
from batten.work.calling.calls import Failure
from batten.work.staged.chunk_files import TakenOver, read_failure


@value_class
class SealedRows:
    """Of one batch: `outcomes` and `revision` are those of its footer; `rows` have the numbers of
    their items, and no key. `digest` is that of the part. `taken_over`: what is to be kept of it
    where another dataset gets the rows."""

    digest: str
    outcomes: str
    revision: int
    rows: pa.Table
    taken_over: TakenOver


def load_sealed(
    storage: Store, layout: Layout, name: str, plan: Plan, batch: PlanBatch, key_column: str
) -> SealedRows:
    """`name` is that of the part, which need not be published yet. Raises `CorruptError` if it
    is not one of this batch."""
    with _translated(storage, layout, name):
        data = storage.read(name, bytes_max=None)
        described = decode_part(data)
        if sum(count_outcomes(described.outcomes).values()) != batch.items:
            raise ValueError(f"its outcomes are not those of {batch.items} items")
        table = PartRows(data).read_table()
        rows = table.drop_columns([key_column]).replace_schema_metadata(None)
        items = _find_items(table.column(key_column), plan.key_column(batch))
        rows = rows.append_column(ITEM, integers(items))
    digest = hashlib.sha256(data).hexdigest()
    return SealedRows(
        digest=digest,
        outcomes=described.outcomes,
        revision=described.revision,
        rows=rows,
        taken_over=TakenOver(
            fingerprint=described.fingerprint,
            digests=f"{described.widens},{digest}".removeprefix(","),
        ),
    )


def _find_items(keys: pa.ChunkedArray, planned: pa.Array) -> Sequence[int]:
    """The numbers of the items that have these keys, one for each row. As a rule each item has one
    row."""
    if keys.equals(pa.chunked_array([planned])):
        return range(len(planned))
    numbers = {key: number for number, key in enumerate(planned.to_pylist())}
    return [numbers[key] for key in keys.to_pylist()]


def load_slowest(storage: Store, layout: Layout, number: int, digest: str) -> tuple[Slow, ...]:
    """What is recorded of the slowest items of a published batch, whose part has that digest."""
    for name in (layout.recomputed(number), layout.commit(number)):
        try:
            recorded = decode_published(storage.read(name))
        except (FileNotFoundError, Unreadable):
            continue
        if recorded.digest == digest:
            return decode_slowest(recorded.slowest)
    return ()


def refuse_other_part(storage: Store, layout: Layout, number: int, digest: str) -> None:
    """Raises `CorruptError` if the record of the batch, where there is one, is of another part."""
    try:
        recorded = decode_published(storage.read(layout.commit(number))).digest
    except (FileNotFoundError, Unreadable):
        return
    if recorded != digest:
        raise CorruptError(
            f"{layout.part(number)} is damaged: its digest is not the one that was recorded.",
            safe="Nothing was changed.",
            next=f"See what else is damaged: "
            f"{command('verify', f'{storage.place}/{layout.output}')}",
        )


def load_failures(
    storage: Store, layout: Layout, batch: PlanBatch, part: SealedRows
) -> list[Failure]:
    """Those that are quarantined of the batch that has this part. Raises `CorruptError`."""
    name = layout.quarantined(batch.number, part.digest)
    with _translated(storage, layout, name):
        try:
            data = storage.read(name, bytes_max=RECORD_BYTES_MAX["quarantine"])
        except FileNotFoundError:
            return []
        rows = PartRows(data).read_table().to_pylist()
        found = [read_failure({**row, "trace": row["traceback"]}) for row in rows]
        if not all(0 <= failure.item < batch.items for failure in found):
            raise ValueError("its items are not those of the batch")
    return found


@contextmanager
def _translated(storage: Store, layout: Layout, name: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        why = f"there is no {error}" if isinstance(error, KeyError) else error
        raise CorruptError(
            f"{name} can't be read: {why}.",
            safe="Nothing was changed.",
            next=f"See what else is damaged: "
            f"{command('verify', f'{storage.place}/{layout.output}')}",
        ) from error

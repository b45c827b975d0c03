"""Finished chunks as files: Arrow tables that say which items they hold, and which failed.

A chunk is not synced; its name carries its digest (decision 0003).
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from itertools import chain, groupby
from typing import Any

import pyarrow as pa

from batten.errors import StorageError
from batten.ledger.facts.unpacked import refuse_unpacked
from batten.ledger.files.chunk_failures import CHUNK_KEY
from batten.model.disk.items.slowest import SLOWEST_MAX, Slow
from batten.model.disk.names import Layout
from batten.model.disk.staged_names import DIGEST_CHARACTERS, StagedChunk
from batten.model.json_text import parse_json
from batten.model.rules.coverage import mark_items
from batten.model.value_class import value_class
from batten.rows.arrays import integers
from batten.rows.columns_of_rows import ITEM
from batten.storage.base import Store
from batten.storage.failures import is_too_large
from batten.work.calling.calls import Failure

_END = b"ARROW1"


@value_class
class TakenOver:
    """Rows of a dataset that this one is to replace: the fingerprint that made them, and the
    digests that their part has had, the last one last, with commas."""

    fingerprint: str
    digests: str


@value_class
class Piece:
    """Finished items of a batch, which ones as in a `StagedChunk`: the rows there are, and the
    failures. An item with neither was filtered. `taken_over` if no function of this job made
    them; those of `adopted` items a hand-made job had made. `slowest` are of its items."""

    start: int
    stop: int
    table: pa.Table | None
    failures: tuple[Failure, ...]
    some: int | None = None
    taken_over: TakenOver | None = None
    adopted: frozenset[int] = frozenset()
    slowest: tuple[Slow, ...] = ()


def cut_pieces(
    start: int,
    stop: int,
    tables: Sequence[pa.Table],
    failures: Sequence[Failure],
    slowest: Sequence[Slow],
) -> list[Piece]:
    """A piece for each table, or one without rows; together they hold all items from `start` to
    `stop`."""
    starts = [start, *(table.column(ITEM)[0].as_py() for table in tables[1:])]
    stops = [*starts[1:], stop]
    return [
        Piece(
            start=first,
            stop=last,
            table=tables[number] if tables else None,
            failures=tuple(f for f in failures if first <= f.item < last),
            slowest=tuple(each for each in slowest if first <= each[0] < last),
        )
        for number, (first, last) in enumerate(zip(starts, stops, strict=True))
    ]


def scatter_pieces(
    items: Sequence[int],
    tables: Sequence[pa.Table],
    failures: Sequence[Failure],
    slowest: Sequence[Slow],
) -> list[Piece]:
    """A piece for each table, with the items whose rows are in it, and one for those without
    rows; together they hold all `items`, which are in order."""
    if len(tables) == 1:
        return [_piece(items, tables[0], failures, slowest)]
    owned = [sorted(set(table.column(ITEM).to_pylist())) for table in tables]
    pieces = [_piece(own, table, (), slowest) for own, table in zip(owned, tables, strict=True)]
    rowless = sorted(set(items).difference(*owned))
    return [*pieces, _piece(rowless, None, failures, slowest)] if rowless else pieces


def drop_failures(chunk: StagedChunk, piece: Piece, failed: Collection[int]) -> list[Piece]:
    """The items of the piece in that chunk that are not among those, in pieces without gaps."""
    kept = [item for a, b in chunk.ranges() for item in range(a, b) if item not in failed]
    made = []
    # Within a run without gaps, items rise as fast as their places do.
    for _, run in groupby(enumerate(kept), lambda placed: placed[1] - placed[0]):
        items = [item for _, item in run]
        cut = cut_rows(piece.table, items[0], items[-1] + 1)
        slowest = tuple(each for each in piece.slowest if items[0] <= each[0] <= items[-1])
        made.append(replace(cut, adopted=piece.adopted.intersection(items), slowest=slowest))
    return made


def cut_rows(table: pa.Table | None, start: int, stop: int) -> Piece:
    """Items `start` to `stop` (exclusive) as a piece, with their rows of a table in order."""
    items = [] if table is None else table.column(ITEM).to_pylist()
    first, end = bisect_left(items, start), bisect_left(items, stop)
    own = table.slice(first, end - first) if table is not None and first < end else None
    return Piece(start=start, stop=stop, table=own, failures=())


def _piece(
    items: Sequence[int],
    table: pa.Table | None,
    failures: Sequence[Failure],
    slowest: Sequence[Slow],
) -> Piece:
    start, stop, some = mark_items(items)
    own = frozenset(items) if slowest else frozenset()
    return Piece(
        start=start,
        stop=stop,
        some=some,
        table=table,
        failures=tuple(failures),
        slowest=tuple(each for each in slowest if each[0] in own),
    )


def encode_piece(
    piece: Piece, batch: int, work: str, revision: int = 0, keys: str = ""
) -> tuple[bytes, StagedChunk]:
    """The bytes of a staged chunk, and what its name says. `work` is the fingerprint of what made
    it, `revision` the latest of its items in the plan, `keys` describes those of the batch."""
    table = piece.table if piece.table is not None else pa.table({ITEM: integers([])})
    about = {
        "batch": batch,
        "start": piece.start,
        "stop": piece.stop,
        "some": piece.some,
        "work": work,
        "failures": [asdict(failure) for failure in piece.failures],
        **({"keys": keys} if keys else {}),
        **({"revision": revision} if revision else {}),
        **({"taken_over": asdict(piece.taken_over)} if piece.taken_over else {}),
        **({"adopted": list_runs(sorted(piece.adopted))} if piece.adopted else {}),
        **({"slowest": piece.slowest} if piece.slowest else {}),
    }
    metadata = {**(table.schema.metadata or {}), CHUNK_KEY: json.dumps(about).encode()}
    table = table.replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    data = sink.getvalue()
    digest = hashlib.sha256(memoryview(data)).hexdigest()[:DIGEST_CHARACTERS]
    return data, StagedChunk(
        batch=batch, start=piece.start, stop=piece.stop, some=piece.some, digest=digest
    )


def load_piece(
    storage: Store,
    layout: Layout,
    chunk: StagedChunk,
    works: Collection[str],
    revision: int,
    keys: str,
) -> Piece | None:
    """The piece in a staged file, or None if the file is gone, torn, of other work, of another
    `revision`, or of a batch of other `keys`: a worker that comes late may leave one where the
    dataset is another now (decision 0130). An earlier batten named none."""
    data = _read_chunk(storage, layout.staged_chunk(chunk))
    if data is None or hashlib.sha256(data).hexdigest()[:DIGEST_CHARACTERS] != chunk.digest:
        return None
    try:
        refuse_unpacked(data)
        table = pa.ipc.open_file(pa.py_buffer(data)).read_all()
        table.validate(full=True)
        about = parse_json(table.schema.metadata[CHUNK_KEY])
        failures = tuple(map(read_failure, about["failures"]))
        named = (chunk.batch, chunk.start, chunk.stop, chunk.some)
        if (about["batch"], about["start"], about["stop"], about["some"]) != named:
            return None
        if about["work"] not in works or about.get("revision", 0) != revision:
            return None
        if about.get("keys", keys) != keys:
            return None
        taken_over = read_taken_over(about.get("taken_over"))
        adopted = _read_runs(about.get("adopted", ()), chunk)
        slowest = _read_slowest(about.get("slowest", ()), chunk)
        _check_items(chunk, table, failures)
    except (OSError, ValueError, KeyError, TypeError, MemoryError, pa.ArrowException):
        return None  # a digest tells damage, not malice
    return Piece(
        start=chunk.start,
        stop=chunk.stop,
        some=chunk.some,
        table=_without_chunk(table) if table.num_rows else None,
        failures=failures,
        taken_over=taken_over,
        adopted=adopted,
        slowest=slowest,
    )


def list_runs(items: Sequence[int]) -> list[tuple[int, int]]:
    """From where to where rising numbers follow each other."""
    runs = []
    for _, run in groupby(enumerate(items), lambda placed: placed[1] - placed[0]):
        own = [item for _, item in run]
        runs.append((own[0], own[-1] + 1))
    return runs


def _read_runs(told: Sequence[Any], chunk: StagedChunk) -> frozenset[int]:
    """Raises `ValueError` for runs that are not of the chunk."""
    for start, stop in told:
        if type(start) is not int or type(stop) is not int:
            raise ValueError("runs of items that are no numbers")
        if not chunk.start <= start < stop <= chunk.stop:
            raise ValueError("runs of items that are not its own")
    return frozenset(chain.from_iterable(range(start, stop) for start, stop in told))


def _read_slowest(told: Sequence[Any], chunk: StagedChunk) -> tuple[Slow, ...]:
    """Raises `ValueError` for times that are not of its items."""
    found = tuple((item, milliseconds) for item, milliseconds in told)
    for item, milliseconds in found:
        if type(item) is not int or type(milliseconds) is not int:
            raise ValueError("times of items that are no numbers")
        if not (chunk.start <= item < chunk.stop and 0 <= milliseconds < 10**12):
            raise ValueError("times that are not of its items")
    return found[:SLOWEST_MAX]


def _read_chunk(storage: Store, name: str) -> bytes | None:
    """None if it is gone, does not end as a chunk does, or has no room in memory."""
    try:
        if storage.read(name, offset=-len(_END), length=len(_END)) != _END:
            return None
        return storage.read(name, bytes_max=None)
    except (FileNotFoundError, MemoryError):
        return None
    except StorageError as error:
        if is_too_large(error.__cause__):
            return None
        raise


def _check_items(chunk: StagedChunk, table: pa.Table, failures: Sequence[Failure]) -> None:
    """Raises `ValueError` unless rows and failures are of items of the chunk, the rows in order,
    and no item has both."""
    column = table.column(ITEM)
    if column.type != pa.int64() or column.null_count:
        raise ValueError("the items of its rows are no numbers")
    # No `to_numpy`: NumPy need not be there, and Arrow imports pandas for it where that is.
    items = column.to_pylist()
    owned = {item for start, stop in chunk.ranges() for item in range(start, stop)}
    found = set(items)
    failed = {failure.item for failure in failures}
    if not found | failed <= owned or found & failed or items != sorted(items):
        raise ValueError("its rows and failures are not of its items")


def read_failure(told: dict[str, Any]) -> Failure:
    """Raises `KeyError` or `ValueError` for what is none."""
    kinds = {"item": int, "error": str, "trace": str, "attempts": int}
    if any(type(told[name]) is not kind for name, kind in kinds.items()):
        raise ValueError("a failure that is none")
    return Failure(**{name: told[name] for name in kinds})


def read_taken_over(told: dict[str, Any] | None) -> TakenOver | None:
    """Raises `KeyError`, `TypeError` or `ValueError` for what is none."""
    if told is None:
        return None
    found = TakenOver(fingerprint=told["fingerprint"], digests=told["digests"])
    if not all(type(each) is str for each in vars(found).values()):
        raise ValueError("rows of no dataset")
    return found


def _without_chunk(table: pa.Table) -> pa.Table:
    kept = {k: v for k, v in (table.schema.metadata or {}).items() if k != CHUNK_KEY}
    return table.replace_schema_metadata(kept or None)

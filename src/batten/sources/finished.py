"""What a hand-made job has finished, as a source: its rows stand in the place of the items.

The items are those of the job's own source that have rows, in the order of that source (decision
0097).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from batten.model.disk.items.row_digests import DIGEST_BYTES
from batten.sources.base import ItemsWanted, ScanBlock, Source, is_read_by, with_reader

if TYPE_CHECKING:
    import pyarrow as pa


class FinishedRows(Protocol):
    """Rows that a hand-made job had made, by the key of their item. All fit the `schema`."""

    @property
    def inputs(self) -> Sequence[Path]:
        """The files that they are read from."""
        ...

    @property
    def schema(self) -> pa.Schema:
        """Their columns, without the key."""
        ...

    def has(self, key: str) -> bool: ...

    def meet(self, key: str) -> bool:
        """The same, of a key that the source has."""
        ...

    def list_keys(self) -> Iterator[str]:
        """All keys that have rows, in the order of the rows."""
        ...

    def load(self, keys: Iterable[str]) -> Iterator[list[dict[str, Any]]]:
        """The rows of each key. Raises `RefusedError` where a file has changed."""
        ...


class FinishedItems:
    """Those items of a source with keys that have rows already."""

    is_keyed = True
    is_counted = False
    drops_gone = False

    def __init__(self, source: Source, rows: FinishedRows) -> None:
        self._source = source
        self._rows = rows

    @property
    def identity(self) -> dict[str, str]:
        return self._source.identity

    @property
    def has_kinds(self) -> bool:
        return self._source.has_kinds

    @property
    def inputs(self) -> Sequence[Path]:
        return self._rows.inputs

    def count_items(self) -> None:
        return None

    def with_reader(self, output: str, dataset: str, *, is_begun: bool) -> FinishedItems:
        """The same of the source as it is read for that output."""
        return FinishedItems(
            with_reader(self._source, output, dataset, is_begun=is_begun), self._rows
        )

    def is_read_by(self, output: str, dataset: str) -> bool:
        return is_read_by(self._source, output, dataset)

    def scan(self) -> Iterator[ScanBlock]:
        for block in self._source.scan():
            chosen = [n for n, key in enumerate(block.keys or ()) if self._rows.meet(key)]
            if chosen:
                yield _choose(block, chosen)

    def open(self) -> FinishedReader:
        return FinishedReader(self._rows)


class FinishedReader:
    """Gives the rows of items; each item is the list of its rows."""

    def __init__(self, rows: FinishedRows) -> None:
        self._rows = rows

    def read(self, wanted: ItemsWanted) -> Iterator[list[dict[str, Any]]]:
        return self._rows.load(wanted.keys or ())


def give_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The step that makes the rows of such an item."""
    return rows


def _choose(block: ScanBlock, chosen: Sequence[int]) -> ScanBlock:
    def choose(values: Sequence[Any] | None) -> list[Any] | None:
        return None if values is None else [values[n] for n in chosen]

    digests = block.digests
    if digests is not None:
        digests = b"".join(digests[n * DIGEST_BYTES : (n + 1) * DIGEST_BYTES] for n in chosen)
    return ScanBlock(
        count=len(chosen),
        keys=choose(block.keys),
        positions=choose(block.positions),
        payloads=choose(block.payloads),
        digests=digests,
    )

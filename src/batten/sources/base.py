"""What a source is: it lists its items once for the plan, and gives any of them again later.

The plan keeps three things for each item: its key, a `position`, and perhaps a `payload`. A
position is a number that the source understands: an ordinal, a byte offset. A payload is the item
itself as plain bytes, for sources that can't be read twice. Workers, in other processes, then ask
for items by those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from batten.model.value_class import value_class

SCAN_BLOCK_ITEMS = 8192
"""About how many items a block of a scan holds, so that memory does not grow with the items."""


@value_class
class ScanBlock:
    """Consecutive items of the source. The four run in parallel; an absent one is None: `keys` for
    a source whose keys are ordinals, `positions` where the key tells all (or ordinals are the
    positions), `payloads` where the source can be read again, `digests` where the key tells which
    item it is. These are of `sources.digests`, one after another."""

    count: int
    keys: Sequence[str] | None = None
    positions: Sequence[int] | None = None
    payloads: Sequence[bytes] | None = None
    digests: bytes | None = None


@value_class
class ItemsWanted:
    """Consecutive items of the plan to read. Without `keys` their keys are the ordinals from
    `first_ordinal`. `pickles` gives what batten 0.1 planned in the place of `payloads`; it raises
    `RefusedError` where the owner rule does not hold for the plan (decision 0036). With
    `digests`, an item that is not the planned one is refused."""

    first_ordinal: int
    count: int
    keys: Sequence[str] | None = None
    positions: Sequence[int] | None = None
    payloads: Sequence[bytes] | None = None
    pickles: Callable[[], Sequence[bytes]] | None = None
    digests: bytes | None = None


class Unavailable:
    """Stands for an item that cannot be had: a vanished file, a line that is not JSON."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


class Reader(Protocol):
    """Gives items in one worker; keeps files open between calls."""

    def read(self, wanted: ItemsWanted) -> Iterable[Any | Unavailable]:
        """The items in order, one each. Lazily where they are large."""
        ...


class Source(Protocol):
    """A description of where items come from; making one reads nothing. Pickles with the job's
    process by fork, so it may hold anything."""

    @property
    def identity(self) -> dict[str, str]:
        """What the fingerprint covers, by name for people: {"source": "files clips/**/*.mp4"}.
        The place, not the content: a source that grew has the same identity."""
        ...

    @property
    def is_keyed(self) -> bool:
        """False when the keys are ordinals."""
        ...

    @property
    def is_counted(self) -> bool:
        """Whether the items are the ordinals themselves, so that their number tells all."""
        ...

    @property
    def inputs(self) -> Sequence[Path]:
        """The files and folders that it reads, absolute, for checks and for people."""
        ...

    def count_items(self) -> int | None:
        """How many items there are, where that is known without a scan, else None. Only sources
        whose keys are ordinals, and which need neither positions nor payloads, may know."""
        ...

    def scan(self) -> Iterator[ScanBlock]:
        """All items in the source's own order, which is the same each time. Raises `UsageError` for
        a source that is not there or cannot be understood as a whole, `StorageError` for one that
        cannot be read."""
        ...

    def open(self) -> Reader: ...

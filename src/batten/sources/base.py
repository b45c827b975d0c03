"""What a source is: it lists its items once for the plan, and gives any of them again later.

The plan keeps three things for each item: its key, a `position`, and perhaps a `payload`. A
position is a number that the source understands: an ordinal, a byte offset. A payload is the item
itself as plain bytes, for sources that can't be read twice. Workers, in other processes, then ask
for items by those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TypeGuard

from batten.errors import usage_error
from batten.model.disk.items.versions import GONE, VERSION_BYTES
from batten.model.value_class import value_class

SCAN_BLOCK_ITEMS = 8192
"""About how many items a block of a scan holds, so that memory does not grow with the items."""


@value_class
class ScanBlock:
    """Consecutive items of the source; what is given of each runs in parallel.

    Attributes:
        count: How many items it holds.
        keys: Their keys; None if keys are ordinals.
        positions: Where the source finds them again; None if the key tells it, or ordinals are the
            positions.
        payloads: The items themselves, as plain bytes; None if the source can be read again.
        digests: What the items are now, one digest after another (see
            `sources.identity.digests`), or one version after another (see
            `sources.identity.versions`); None if changes are not looked for.
    """

    count: int
    keys: Sequence[str] | None = None
    positions: Sequence[int] | None = None
    payloads: Sequence[bytes] | None = None
    digests: bytes | None = None


@value_class
class ItemsWanted:
    """Consecutive items of the plan to read.

    Attributes:
        first_ordinal: The number of the first item in the plan.
        count: How many items to read.
        keys: Their keys; None if keys are the ordinals from `first_ordinal`.
        positions: Their positions, as `scan` gave them.
        payloads: Their payloads, as `scan` gave them.
        pickles: Gives what batten 0.1 planned in the place of `payloads`. Raises `RefusedError` if
            the owner rule does not hold for the plan (decision 0036).
        digests: What the items were when they were planned, or last looked at. An item that is
            another now is refused.
        later_payloads: In the place of a payload or pickle, by the place of the item, where it has
            changed since it was planned.
    """

    first_ordinal: int
    count: int
    keys: Sequence[str] | None = None
    positions: Sequence[int] | None = None
    payloads: Sequence[bytes] | None = None
    pickles: Callable[[], Sequence[bytes]] | None = None
    digests: bytes | None = None
    later_payloads: Mapping[int, bytes] = field(default_factory=dict)


class Gone:
    """Stands for an item that is no more, and of which no row is wanted."""


GONE_ITEM = Gone()


class Unavailable:
    """Stands for an item that can't be had: a vanished file, a line that is not JSON.

    Args:
        error: Why it can't be had.
    """

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


class Reader(Protocol):
    """Gives items in one worker; keeps files open between calls."""

    def read(self, wanted: ItemsWanted) -> Iterable[Any | Unavailable]:
        """Read items in their order. Large items are read one at a time, when they are asked for.

        Args:
            wanted: Which items.

        Returns:
            One for each: the item, or `Unavailable`.
        """
        ...


def read_planned(reader: Reader, wanted: ItemsWanted) -> Iterator[Any | Unavailable | Gone]:
    """The items in order; `GONE_ITEM` for those that are no more."""
    versions = wanted.digests
    if versions is None or GONE not in versions:
        # What reads before it is asked for an item does so at the first one, as a generator would.
        return chain.from_iterable(map(reader.read, (wanted,)))
    return _tell_gone(reader, wanted, versions)


def _tell_gone(
    reader: Reader, wanted: ItemsWanted, versions: bytes
) -> Iterator[Any | Unavailable | Gone]:
    for place, item in enumerate(reader.read(wanted)):
        is_gone = versions[place * VERSION_BYTES : (place + 1) * VERSION_BYTES] == GONE
        yield GONE_ITEM if is_gone else item


def without_changes(source: Source) -> Source:
    """The source for a look: one that writes down what it reads has another that does not."""
    look: Callable[[], Source] | None = getattr(source, "without_changes", None)
    return source if look is None else look()


def with_reader(source: Source, output: str, dataset: str, *, is_begun: bool) -> Source:
    """The source as it is read for that output, where that `dataset` is made: one that is to know
    what is made of it notes it. `is_begun`: the dataset has a plan already."""
    make: Callable[..., Source] | None = getattr(source, "with_reader", None)
    return source if make is None else make(output, dataset, is_begun=is_begun)


def is_read_by(source: Source, output: str, dataset: str) -> bool:
    """Whether this is what the dataset of that output was made of so far. So is any source whose
    keys mean the same wherever it lies."""
    known: Callable[[str, str], bool] | None = getattr(source, "is_read_by", None)
    return known is None or known(output, dataset)


def is_read_once(source: Source) -> bool:
    """Whether it is spent when it has been read, so that nobody may look ahead."""
    return bool(getattr(source, "is_read_once", False))


def with_until(source: Source, until: str) -> Source:
    """The source, read up to there. Raises `UsageError` where that is no place in it."""
    make: Callable[[str], Source] | None = getattr(source, "with_until", None)
    if make is None:
        raise usage_error(
            "--until is for jobs that begin with from_kafka: other sources end by themselves.",
            "Leave it out; --limit bounds how many items are done.",
        )
    return make(until)


class Source(Protocol):
    """A description of where items come from; making one reads nothing.

    Workers have it by a fork, so it may hold anything.
    """

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
    def drops_gone(self) -> bool:
        """Whether the rows of items that it no longer has are to go. Only keyed ones may."""
        ...

    @property
    def has_kinds(self) -> bool:
        """Whether the first byte of a version is its kind: then versions of different kinds
        tell nothing of each other."""
        ...

    @property
    def inputs(self) -> Sequence[Path | str]:
        """The files and folders that it reads, for checks and for people: absolute paths, and
        addresses as texts."""
        ...

    def count_items(self) -> int | None:
        """Tell how many items there are, without a scan.

        Returns:
            The number; None if it is not known. Only sources whose keys are ordinals, and which
            need neither positions nor payloads, may know.
        """
        ...

    def scan(self) -> Iterator[ScanBlock]:
        """List all items in the source's own order, which is the same each time.

        Returns:
            Blocks of items.

        Raises:
            UsageError: The source is not there, or can't be understood as a whole.
            StorageError: It can't be read.
        """
        ...

    def open(self) -> Reader:
        """Open it in a worker.

        Returns:
            What reads its items.
        """
        ...


POSITION_BITS = 32
"""A position in a source of batches is the number of a batch and, in so many bits, that of a row
in it."""


@value_class
class SourceBatch:
    """Consecutive items that a source keeps together, all of which are as they were as long as the
    `digest` is, or was one of `earlier`. It has so many `rows`, of which each is an item unless its
    key came before."""

    number: int
    digest: str
    rows: int
    earlier: Sequence[str] = ()

    def is_same(self, digest: str, rows: int) -> bool:
        """Whether its items are those of a batch that was seen before."""
        return rows == self.rows and digest in (self.digest, *self.earlier)


class BatchedSource(Source, Protocol):
    """A source that tells of its batches whether they are as they were, without reading them
    (decision 0093)."""

    @property
    def place(self) -> Path | str:
        """Where it lies: an absolute path, or an address as a text."""
        ...

    def refuse_unready(self) -> None:
        """Raises `RefusedError` unless all of it is there, and made of what is there now."""
        ...

    def begin_look(self) -> str:
        """Raises `RefusedError` unless all of it is there. Gives what stands for its state."""
        ...

    def list_batches(self) -> list[SourceBatch]:
        """All, in order."""
        ...

    def scan_batch(self, batch: SourceBatch) -> Iterator[ScanBlock]:
        """As `scan`, of one batch. Raises `RefusedError` where it is not the one that was
        listed."""
        ...

    def end_look(self, state: str) -> None:
        """Raises `RefusedError` unless the state is that of the beginning."""
        ...


def is_batched(source: Source) -> TypeGuard[BatchedSource]:
    """Whether it is a `BatchedSource`. Only a name is looked for: to ask a source for its
    `identity` may read all of it."""
    return hasattr(source, "list_batches")

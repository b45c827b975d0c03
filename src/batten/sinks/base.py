"""What batten asks of a destination: to take what is staged, once, and to say later whether it did.

    publish(staged)   all of it or nothing, with its token, in one atomic step of the destination
    lookup(tokens)    whether it has them: the destination itself is asked, never a record

What is published comes from the dataset of sealed batches, the ledger, and stays there: an attempt
may be killed, cut off or repeated, and a batch reaches the destination once. Sinks are what a job
declares; a sink is opened, under the ledger's lock, to a destination.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from batten.errors import InconsistentError
from batten.model.disk.names import Layout
from batten.model.disk.tokens import PublishEnd, Token, TokenState
from batten.model.value_class import value_class
from batten.model.words import Takes
from batten.sinks.deliveries import DeliveryBook
from batten.storage.base import Storage

if TYPE_CHECKING:
    import pyarrow as pa


def _no_item() -> Any:
    raise LookupError("what is staged is no single item")


@value_class
class Staged:
    """A batch, or a whole dataset, that is sealed and durable. `batches` counts those that it is or
    ends with, from the first; `outcomes` are those of a batch's items, as in its commit record.
    `read` streams the rows, in order. `load` gives the rows of the batch as Parquet; if they are
    all its rows, that is its part. `load_item` gives its only item, as the source gives it, and
    raises whatever the source does."""

    token: Token
    schema: pa.Schema
    batches: int
    rows: int
    outcomes: str
    read: Callable[[], Iterator[pa.RecordBatch]]
    load: Callable[[], bytes]
    load_item: Callable[[], Any] = _no_item


class RejectedError(Exception):
    """A destination can't take some items of a batch; nothing of the batch is there.

    `errors` says why, by the item's number in the batch: these failed for good. `is_outdated`: the
    only item is to be prepared again."""

    def __init__(self, errors: Mapping[int, Exception], *, is_outdated: bool = False) -> None:
        super().__init__(str(next(iter(errors.values()))))
        self.errors = errors
        self.is_outdated = is_outdated


@value_class
class BatchSink:
    """What sinks have in common that take batches, of any number of rows. `dataset` names these at
    the destination; empty, it is the name of the output."""

    dataset: str = ""
    takes: ClassVar[Takes] = Takes.BATCHES


def other_content(target: str, token: Token) -> InconsistentError:
    """Where the destination has something else under the token's name."""
    return InconsistentError(
        f"{target} has batch {token.batch} of {token.dataset!r} with other content.",
        safe="Nothing was changed there; every batch is kept in the ledger.",
        next="If another job writes there under the same name, give this one another: dataset=…; "
        "if it was computed anew, clear the old rows and their tokens first.",
    )


@value_class
class LedgerPlace:
    """Where the ledger lies: a sink may stage there, and keeps its evidence in `book`."""

    storage: Storage
    layout: Layout
    folder: Path
    book: DeliveryBook


class Destination(Protocol):
    """A sink that is open. Used by one thread, under the ledger's lock."""

    def prepare(self, schema: pa.Schema) -> None:
        """Make ready for rows of this schema: what is missing is made. May be repeated. Raises
        `RefusedError` if what is there can't take them."""
        ...

    def lookup(self, tokens: Sequence[Token]) -> list[TokenState]:
        """What the destination has of each. Raises `StorageError` if it can't be asked."""
        ...

    def list_closed(self, tokens: Sequence[Token]) -> list[Token]:
        """The batches that it can't add rows of retried items to. Raises as `lookup` does."""
        ...

    def publish(self, staged: Staged) -> PublishEnd:
        """Publish in one step, if it is not there. After `UNKNOWN` it may be there or not.

        Raises `InconsistentError` if the destination has other content under the same name
        that can't be brought up to this, `StorageError` if nothing was published, and
        `RejectedError` if it can't take some of the items: nothing was published either."""
        ...

    def rehearse(self, staged: Staged) -> None:
        """Raise as `publish` would, `RejectedError` above all, and leave nothing there. One whose
        answer can't be had without publishing raises nothing."""
        ...

    def close(self) -> None:
        """Let go of connections. May be repeated."""
        ...


class Sink(Protocol):
    """A destination as a job declares it."""

    @property
    def kind(self) -> str: ...

    @property
    def takes(self) -> Takes: ...

    @property
    def dataset(self) -> str: ...

    def fill(self, fill: Callable[[str], str]) -> Sink:
        """The same with parameters in the place of their names: `fill` does it to a text."""
        ...

    def describe(self, folder: Path) -> str:
        """Names the destination for people and records, without secrets; paths are relative to
        `folder`, that of the ledger."""
        ...

    def identify(self) -> str:
        """The same text for sinks of one kind that write to one place."""
        ...

    def check(self) -> None:
        """Raises `UsageError` if a library is missing."""
        ...

    def open(self, ground: LedgerPlace) -> Destination:
        """Changes nothing. Raises `StorageError` if it can't be reached."""
        ...

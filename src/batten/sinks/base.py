"""What batten asks of a destination: to take what is staged, once, and to say later whether it did.

    publish(staged)   all of it or nothing, with its token, in one atomic step of the destination
    lookup(tokens)    whether it has them: the destination itself is asked, never a record

What is published comes from the dataset of sealed batches, the ledger, and stays there: an attempt
may be killed, cut off or repeated, and a batch reaches the destination once. Sinks are what a job
declares; a sink is opened, under the ledger's lock, to a destination.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from batten.errors import BATCHES_KEPT, InconsistentError
from batten.model.disk.destinations.tokens import PublishEnd, Token, TokenState
from batten.model.disk.names import Layout
from batten.model.value_class import value_class
from batten.model.words import Takes
from batten.sinks.deliveries import DeliveryBook
from batten.storage.base import Folder

if TYPE_CHECKING:
    import pyarrow as pa


def _no_item() -> Any:
    raise LookupError("what is staged is no single item")


def _no_batches() -> Iterator[Staged]:
    return iter(())


@value_class
class Staged:
    """A batch, or a whole dataset, that is sealed and durable.

    Attributes:
        token: Names what is published.
        schema: The columns of its rows.
        batches: How many batches the destination has after it, from the first on.
        rows: How many rows there are.
        outcomes: What became of the batch's items, as in its commit record.
        read: Streams the rows, in order.
        load: Gives the rows of the batch as Parquet. If they are all its rows, that is its part.
        load_item: Gives its only item, as the source gives it. Raises whatever the source does.
        revision: Above 0 if items of the batch have changed or gone: what is there of the batch
            makes way.
        load_keys: Gives the keys of all its items.
        is_whole: Whether these are all rows of the dataset, whichever it had before.
        more_tokens: Those of the other batches, where it is more than one.
        split: Gives its batches one by one, where it is made of several; by default there are none.
    """

    token: Token
    schema: pa.Schema
    batches: int
    rows: int
    outcomes: str
    read: Callable[[], Iterator[pa.RecordBatch]]
    load: Callable[[], bytes]
    load_item: Callable[[], Any] = _no_item
    revision: int = 0
    load_keys: Callable[[], list[str]] = list
    is_whole: bool = False
    more_tokens: tuple[Token, ...] = ()
    split: Callable[[], Iterator[Staged]] = _no_batches

    @property
    def tokens(self) -> tuple[Token, ...]:
        """All that name it at a destination."""
        return (self.token, *self.more_tokens)


class RejectedError(Exception):
    """A destination can't take some items of a batch; nothing of the batch is there.

    Args:
        errors: Why, by the item's number in the batch. These items failed for good.
        is_outdated: Whether the only item is to be prepared again. False by default.
    """

    def __init__(self, errors: Mapping[int, Exception], *, is_outdated: bool = False) -> None:
        super().__init__(str(next(iter(errors.values()))))
        self.errors = errors
        self.is_outdated = is_outdated


class RejectedBatchesError(Exception):
    """A destination that takes all batches in one step can't take some items; nothing is there.

    Args:
        batches: What it can't take, by the number of the batch.
    """

    def __init__(self, batches: Mapping[int, RejectedError]) -> None:
        super().__init__(str(next(iter(batches.values()))))
        self.batches = batches


@value_class
class TableSink:
    """What sinks have in common that are tables. `dataset` names the rows at the destination;
    empty, it is the name of the output. With `key`, a row takes the place of those with the same
    values in these columns; without it rows are only added. If it `replaces`, it takes all rows at
    once, in the place of all that it holds, or of those with the values of `where`."""

    dataset: str = ""
    key: tuple[str, ...] = ()
    replaces: bool = False
    where: Mapping[str, str] = field(default_factory=dict)

    @property
    def takes(self) -> Takes:
        return Takes.ROWS if self.replaces else Takes.BATCHES

    def fill_where(self, fill: Callable[[str], str]) -> dict[str, str]:
        """With parameters in the place of their names."""
        return {name: fill(value) for name, value in self.where.items()}


class AtPath:
    """What sinks have in common that are one file or folder of this machine."""

    path: Path

    def describe(self, folder: Path) -> str:
        return os.path.relpath(self.path, folder)

    def identify(self) -> str:
        return os.path.realpath(self.path)


def other_content(target: str, token: Token) -> InconsistentError:
    """Where the destination has something else under the token's name."""
    return InconsistentError(
        f"{target} has batch {token.batch} of {token.dataset!r} with other content.",
        safe=f"Nothing was changed there; {BATCHES_KEPT}",
        next="If another job writes there under the same name, give this one another: dataset=…; "
        "if it was computed anew, clear the old rows and their tokens first.",
    )


@value_class
class LedgerPlace:
    """Where the ledger lies: a sink may stage there.

    Attributes:
        storage: The storage that holds the output.
        layout: The names of the output's files.
        folder: The folder that holds the output; paths of sinks are told from there.
        book: Where the sink keeps its evidence.
    """

    storage: Folder
    layout: Layout
    folder: Path
    book: DeliveryBook


class Destination(Protocol):
    """A sink that is open. Used by one thread, under the ledger's lock."""

    def prepare(self, schema: pa.Schema) -> None:
        """Make what is missing, so that rows of this schema can be taken. It may be repeated.

        Args:
            schema: The columns of all rows to come.

        Raises:
            RefusedError: What is there can't take such rows. Nothing was changed.
            StorageError: The destination can't be reached or changed.
        """
        ...

    def lookup(self, tokens: Sequence[Token]) -> list[TokenState]:
        """Ask the destination which batches it has.

        What it has is durable when this returns: who put it there may have been killed before.

        Args:
            tokens: The tokens of the batches.

        Returns:
            What it has of each, in the same order.

        Raises:
            StorageError: It can't be asked. Nothing was changed.
        """
        ...

    def list_closed(self, tokens: Sequence[Token]) -> list[Token]:
        """Tell the batches that it can't add rows of retried items to.

        Args:
            tokens: The tokens of batches with failed items.

        Returns:
            Those of the tokens whose batch must stay as it is.

        Raises:
            StorageError: It can't be asked. Nothing was changed.
        """
        ...

    def publish(self, staged: Staged) -> PublishEnd:
        """Put rows and token there in one step, if the token is not there yet.

        Args:
            staged: What is published.

        Returns:
            How it ended. After `UNKNOWN` it may be there or not, and `lookup` is asked.

        Raises:
            InconsistentError: It has other content under the same name, that can't be brought up to
                this. Nothing was changed.
            RejectedError: It can't take some of the items. Nothing was published.
            RejectedBatchesError: The same of what `is_whole`. Nothing was published.
            BusyError: Another process has taken over the name that this one publishes under.
            StorageError: Nothing was published.
        """
        ...

    def rehearse(self, staged: Staged) -> None:
        """Raise what `publish` would raise, and leave nothing there.

        A destination that can't tell without publishing raises nothing.

        Args:
            staged: What would be published.

        Raises:
            RejectedError: It could not take some of the items.
        """
        ...

    def close(self) -> None:
        """Let go of connections. It may be repeated."""
        ...


@runtime_checkable
class TakesColumns(Protocol):
    """A destination that can be given columns later; where it can't, a job that adds columns is
    refused."""

    def add_columns(self, schema: pa.Schema) -> None:
        """Give it columns that its rows have nulls in, where it is there and lacks them.

        It may be repeated.

        Args:
            schema: The columns, and no others.

        Raises:
            RefusedError: It can't have such columns. Nothing was changed.
            StorageError: It can't be reached or changed.
        """
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
        """Put parameters in the place of their names.

        Args:
            fill: Does it to one text.

        Returns:
            The sink with values in its texts.
        """
        ...

    def describe(self, folder: Path) -> str:
        """Name the destination for people and for records, without secrets.

        Args:
            folder: That of the ledger; paths are told from there.

        Returns:
            The name.
        """
        ...

    def identify(self) -> str:
        """Name the place that it writes to.

        Returns:
            A text that is the same for sinks of one kind that write to one place.
        """
        ...

    def check(self) -> None:
        """Look whether its library is there.

        Raises:
            UsageError: A library is missing. Nothing was changed.
        """
        ...

    def open(self, ground: LedgerPlace) -> Destination:
        """Open it, under the ledger's lock; nothing is changed.

        Args:
            ground: Where the ledger lies.

        Returns:
            The open destination.

        Raises:
            StorageError: It can't be reached. Nothing was changed.
        """
        ...

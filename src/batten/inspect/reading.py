"""Reading a published dataset back: `batten.open(path)`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from batten.errors import BattenError, CorruptError, InconsistentError, RefusedError
from batten.inspect.absent import refuse_absent
from batten.inspect.advising.again import find_again
from batten.inspect.advising.made_files import list_tables
from batten.inspect.diagnose import describe
from batten.inspect.items.quarantined import read_quarantined
from batten.inspect.kinds.landings import refuse_landing
from batten.inspect.kinds.trees import refuse_tree
from batten.inspect.paths.output_path import Place, locate_output
from batten.inspect.paths.owning import refuse_pending, refuse_unknown
from batten.ledger.facts.observation import Observation, find_own_file
from batten.ledger.facts.observe import observe_output
from batten.ledger.files.parts import parts_of
from batten.ledger.files.quarantine_file import Quarantined
from batten.ledger.history.runs import RunSummary, list_runs, read_run
from batten.ledger.judge import Judgement, judge
from batten.model.rules.accounting import Accounts
from batten.model.telling.commands import as_path, join_words
from batten.model.telling.counts import count_of
from batten.model.telling.html import show_as_html
from batten.model.words import State
from batten.optional import import_optional
from batten.printable import escape
from batten.storage.local.locking.locks import busy_error

if TYPE_CHECKING:
    import datasets
    import duckdb
    import pandas
    import polars
    import pyarrow as pa

    from batten.inspect.export import Writable

SOUND = (State.NEW, State.INTERRUPTED, State.COMPLETE, State.COMPLETE_WITH_ORPHANS)


class Dataset:
    """A published dataset as it was when it was opened; `batten.open` gives one.

    It has exactly the parts of that moment, in the order of the plan. What it says covers the whole
    dataset, whatever run made it. Nothing is held open, so a run may extend the dataset meanwhile.
    If another dataset takes its place (`--fresh`), reading on raises `InconsistentError`: open it
    again.
    """

    def __init__(self, place: Place, observation: Observation, judgement: Judgement) -> None:
        self._place = place
        self._observation = observation
        self._judgement = judgement
        self._parts = parts_of(place.storage, place.layout, place.path, observation)

    def __repr__(self) -> str:
        rest = "" if self.is_complete else ", not complete"
        return f"<Dataset {escape(self.path)}: {count_of(self.count_rows(), 'row')}{rest}>"

    def _repr_html_(self) -> str:
        rows: list[tuple[str, object]] = [
            ("rows", f"{self.count_rows():,}"),
            ("items", self.accounts().show()),
        ]
        with suppress(BattenError):  # Another dataset took its place: reading it says so.
            rows += [(f"column {each.name}", each.type) for each in self.schema]
        rest = "" if self.is_complete else ": not complete"
        return show_as_html(f"{self.path}{rest}", rows)

    @property
    def path(self) -> str:
        """The output, as it was named."""
        return self._place.path

    @property
    def is_complete(self) -> bool:
        """Whether the accounts were closed; if not, there are only the first items of the plan."""
        return self._observation.completion is not None

    @property
    def schema(self) -> pa.Schema:
        """The columns, as a pyarrow schema."""
        return self._parts.read_schema()

    def count_rows(self) -> int:
        """Count the rows as recorded; no data is read.

        Returns:
            The number of rows.
        """
        return self._judgement.rows

    def accounts(self) -> Accounts:
        """Tell what became of every item of the source, over all runs.

        Returns:
            The accounts.
        """
        return self._judgement.accounts

    def quarantined(self) -> list[Quarantined]:
        """List the items that failed for good, over all runs, with their errors.

        Returns:
            The items, in the order of the plan.

        Raises:
            CorruptError: A file of them can't be read. Nothing was changed.
        """
        unreadable: list[str] = []
        found = list(read_quarantined(self._place, self._observation, unreadable))
        if unreadable:
            raise CorruptError(
                f"{unreadable[0]} can't be read.",
                safe="Nothing was changed.",
                next=f"See what else is damaged: {self._place.command('verify')}",
            )
        return found

    def runs(self) -> list[RunSummary]:
        """List what each run did, as far as its log tells.

        Returns:
            The runs, oldest first. Not all of them need have worked on what is there now.
        """
        storage, layout = self._place.storage, self._place.layout
        return [read_run(storage, layout, run).summarize() for run in list_runs(storage, layout)]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Read the rows one by one.

        Returns:
            The rows as dicts, in the order of the plan.

        Raises:
            InconsistentError: The dataset changed since it was opened. Nothing was changed by this.
            CorruptError: A part can't be read. Nothing was changed.
        """
        for batch in self.to_batches():
            yield from batch.to_pylist()

    def to_batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Read the rows piece by piece; what is held in memory does not grow with the rows.

        Args:
            columns: The columns to read; by default all.

        Returns:
            The rows as Arrow record batches, in the order of the plan.

        Raises:
            UsageError: There is no such column.
            InconsistentError: The dataset changed since it was opened.
            CorruptError: A part can't be read.
        """
        return self._parts.read_batches(columns)

    def to_arrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Read all rows into an Arrow table in memory.

        Args:
            columns: The columns to read; by default all.

        Returns:
            The table, in the order of the plan.

        Raises:
            UsageError: There is no such column.
            InconsistentError: The dataset changed since it was opened.
            CorruptError: A part can't be read, or stands for a thousand times its bytes.
        """
        return self._parts.read_table(columns)

    def to_pandas(self) -> pandas.DataFrame:
        """Read all rows into a pandas frame in memory.

        Returns:
            The frame, in the order of the plan.

        Raises:
            UsageError: pandas is not installed.
            InconsistentError: The dataset changed since it was opened.
            CorruptError: A part can't be read, or stands for a thousand times its bytes.
        """
        import_optional("pandas", "to_pandas()")
        frame: pandas.DataFrame = self.to_arrow().to_pandas()
        return frame

    def to_polars(self) -> polars.DataFrame:
        """Read all rows into a Polars frame in memory.

        Returns:
            The frame, in the order of the plan.

        Raises:
            UsageError: Polars is not installed.
            InconsistentError: Another dataset took its place since it was opened.
        """
        import_optional("polars", "to_polars()")
        return self._parts.scan_polars().collect()

    def scan_polars(self) -> polars.LazyFrame:
        """Make a Polars frame that reads what is asked for when it is collected.

        Returns:
            The lazy frame.

        Raises:
            UsageError: Polars is not installed.
            InconsistentError: Another dataset took its place since it was opened.
        """
        return self._parts.scan_polars()

    def to_duckdb(
        self, connection: duckdb.DuckDBPyConnection | None = None
    ) -> duckdb.DuckDBPyRelation:
        """Make a DuckDB relation that reads what is asked for when it is executed.

        Args:
            connection: The connection that it belongs to; by default a new one.

        Returns:
            The relation.

        Raises:
            UsageError: DuckDB is not installed.
            InconsistentError: Another dataset took its place since it was opened.
        """
        return self._parts.relate_duckdb(connection)

    def to_hugging_face(self) -> datasets.Dataset:
        """Read all rows into a dataset of Hugging Face's `datasets`, in memory.

        Returns:
            The dataset, in the order of the plan.

        Raises:
            UsageError: `datasets` is not installed.
            InconsistentError: The dataset changed since it was opened.
            CorruptError: A part can't be read, or stands for a thousand times its bytes.
        """
        library = import_optional("datasets", "to_hugging_face()")
        made: datasets.Dataset = library.Dataset(self.to_arrow())
        return made

    def export(self, to: str | os.PathLike[str] | Writable, format: str | None = None) -> int:
        """Write all rows to one file, which appears whole or not at all.

        A file that is there is replaced. What is held in memory does not grow with the rows.

        Args:
            to: The file to write, or one that is open for bytes, as `sys.stdout.buffer`. That one
                gets the rows as they are read.
            format: "jsonl", "csv" or "parquet"; by default the ending of `to` decides.

        Returns:
            The number of rows.

        Raises:
            UsageError: The format is not known, or `to` lies in the dataset. Nothing was written.
            RefusedError: The rows were made of whole tables, and are in the output's destinations
                alone. Nothing was written.
            InconsistentError: The dataset changed since it was opened. A file that was there stays.
            CorruptError: A part can't be read. A file that was there stays.
            StorageError: The file can't be written. A file that was there stays.
        """
        from batten.inspect.export import export_rows

        observation = self._observation
        if list_tables(observation):
            what = f"{self.path} is one file of all rows already, made of whole tables."
            way = f"Copy it: {join_words('cat', as_path(self.path))}"
            if isinstance(to, str | os.PathLike):
                words = "cp", as_path(self.path), as_path(os.fspath(to))
                way = f"Copy it: {join_words(*words)}"
            if find_own_file(observation.layout, observation.config) is None:
                held = ", ".join(each.target for each in observation.deliveries)
                what = f"What was made of whole tables for {self.path} is in {held} alone."
                way = "Read it there."
            raise RefusedError(what, safe="Nothing was written.", next=way)

        return export_rows(self._parts, to, format)


def open(path: str | os.PathLike[str], *, allow_incomplete: bool = False) -> Dataset:
    """Open a published dataset to read it; nothing is changed, and no lock is taken.

    Args:
        path: The output of the job, or of a finalize step.
        allow_incomplete: Whether a dataset that is not complete may be opened, with the parts there
            are. False by default.

    Returns:
        The dataset as it is now.

    Raises:
        UsageError: There is no dataset. Nothing was changed.
        RefusedError: It is not batten's, or not complete. Nothing was changed.
        InconsistentError: It is damaged. Nothing was changed.
        BusyError: A run changed it while it was looked at. Nothing was changed.
    """
    place = locate_output(path)
    refuse_tree(place)
    observation = observe_output(place.storage, place.layout)
    refuse_landing(place, observation)
    holder = observation.holder
    judgement = judge(replace(observation, holder=None))
    state = judgement.verdict.state
    if holder is not None and state not in SOUND:
        # It changed while it was looked at.
        raise busy_error(place.control, holder)
    refuse_unknown(place, judgement)
    refuse_pending(place, judgement)
    refuse_absent(place, judgement)
    if state not in SOUND:
        raise _damaged(place, observation, judgement)
    if observation.completion is None and not (allow_incomplete and observation.config):
        raise _incomplete(place, observation, judgement)
    return Dataset(place, observation, judgement)


def _damaged(place: Place, observation: Observation, judgement: Judgement) -> InconsistentError:
    is_corrupt = judgement.verdict.state is State.CORRUPT
    kind = CorruptError if is_corrupt else InconsistentError
    found = describe(place, observation, judgement, now_seconds=time.time())
    return kind(
        f"{place.path} is damaged: {found.reason}.",
        safe="Nothing was changed, and nothing was read.",
        next=f"See all that was found: {place.command('diagnose')}",
        missing=found.missing,
    )


def _incomplete(place: Place, observation: Observation, judgement: Judgement) -> RefusedError:
    items = judgement.accounts
    finished = items.source - items.pending - items.staged
    job = find_again(place, observation).told if observation.config else ""
    way = " or read what is there: --allow-incomplete, or batten.open(…, allow_incomplete=True)"
    return RefusedError(
        f"{place.path} is not complete: {finished} of {items.source} planned items are published.",
        safe="Nothing was read.",
        next=f"Finish it: {job or 'run its job'};{way if observation.config else ''}".rstrip(";"),
    )

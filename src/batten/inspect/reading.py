"""Reading a published dataset back: `batten.open(path)`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from batten.errors import CorruptError, InconsistentError, RefusedError
from batten.inspect.advising.again import find_again
from batten.inspect.advising.made_files import list_tables
from batten.inspect.diagnose import describe
from batten.inspect.kinds.landings import refuse_landing
from batten.inspect.kinds.trees import refuse_tree
from batten.inspect.output_path import Place, locate_output
from batten.inspect.owning import refuse_absent, refuse_pending, refuse_unknown
from batten.inspect.quarantined import Quarantined, read_quarantined
from batten.ledger.facts.observation import Observation
from batten.ledger.facts.observe import observe_output
from batten.ledger.judge import Judgement, judge
from batten.ledger.parts import parts_of
from batten.ledger.runs import RunSummary, list_runs, read_run
from batten.model.rules.accounting import Accounts
from batten.model.telling.commands import as_path, join_words
from batten.model.telling.counts import count_of
from batten.model.words import State
from batten.sinks.optional import import_optional
from batten.storage.local.locks import busy_error

if TYPE_CHECKING:
    import datasets
    import duckdb
    import pandas
    import polars
    import pyarrow as pa

SOUND = (State.NEW, State.INTERRUPTED, State.COMPLETE, State.COMPLETE_WITH_ORPHANS)


class Dataset:
    """A published dataset as it was when it was opened: exactly its parts of then, in the order of
    the plan. What it says covers the whole dataset, whatever run made it.

    Nothing is held open, so a run may extend the dataset meanwhile. When another one takes its
    place (`--fresh`), reading on raises `InconsistentError`: open it again."""

    def __init__(self, place: Place, observation: Observation, judgement: Judgement) -> None:
        self._place = place
        self._observation = observation
        self._judgement = judgement
        self._parts = parts_of(place.storage, place.layout, place.path, observation)

    def __repr__(self) -> str:
        rest = "" if self.is_complete else ", not complete"
        return f"<Dataset {self.path}: {count_of(self.count_rows(), 'row')}{rest}>"

    @property
    def path(self) -> str:
        """The output, as it was named."""
        return self._place.path

    @property
    def is_complete(self) -> bool:
        """Whether the accounts had closed; otherwise there are only the first items of the plan."""
        return self._observation.completion is not None

    @property
    def schema(self) -> pa.Schema:
        """The columns."""
        return self._parts.read_schema()

    def count_rows(self) -> int:
        """The rows there are, as recorded; no data is read."""
        return self._judgement.rows

    def accounts(self) -> Accounts:
        """What became of every item of the source, over all runs."""
        return self._judgement.accounts

    def quarantined(self) -> list[Quarantined]:
        """The items that failed for good, over all runs, with their errors."""
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
        """What each run did, oldest first, as far as its log tells; not all of them need have
        worked on what is there now."""
        storage, layout = self._place.storage, self._place.layout
        return [read_run(storage, layout, run).summarize() for run in list_runs(storage, layout)]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rows one by one, as dicts."""
        for batch in self.to_batches():
            yield from batch.to_pylist()

    def to_batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows as Arrow record batches; what is held in memory does not grow with the rows."""
        return self._parts.read_batches(columns)

    def to_arrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows as an Arrow table in memory."""
        return self._parts.read_table(columns)

    def to_pandas(self) -> pandas.DataFrame:
        """All rows as a pandas frame in memory."""
        import_optional("pandas", "to_pandas()")
        frame: pandas.DataFrame = self.to_arrow().to_pandas()
        return frame

    def to_polars(self) -> polars.DataFrame:
        """All rows as a Polars frame in memory."""
        import_optional("polars", "to_polars()")
        return self._parts.scan_polars().collect()

    def scan_polars(self) -> polars.LazyFrame:
        """A Polars frame that reads the parts when it is collected, and only what is asked for."""
        return self._parts.scan_polars()

    def to_duckdb(
        self, connection: duckdb.DuckDBPyConnection | None = None
    ) -> duckdb.DuckDBPyRelation:
        """A DuckDB relation, of the connection or of a new one, that reads the parts when it is
        executed, and only what is asked for."""
        return self._parts.relate_duckdb(connection)

    def to_hugging_face(self) -> datasets.Dataset:
        """All rows as a dataset of Hugging Face's `datasets`, in memory."""
        library = import_optional("datasets", "to_hugging_face()")
        made: datasets.Dataset = library.Dataset(self.to_arrow())
        return made

    def export(self, to: str | os.PathLike[str], format: str | None = None) -> int:
        """Write all rows to one file, which appears whole or not at all; gives their number.

        The file's ending says the format: .jsonl, .csv or .parquet; or `format` does. A file that
        is there is replaced. What is held in memory does not grow with the rows.

        Raises `RefusedError` for an output of whole tables: what is kept beside it tells of its
        tables, and the rows are in the file alone."""
        from batten.inspect.export import export_rows

        if list_tables(self._observation):
            raise RefusedError(
                f"{self.path} is one file of all rows already, made of whole tables.",
                safe="Nothing was written.",
                next=f"Copy it: {join_words('cp', as_path(self.path), as_path(os.fspath(to)))}",
            )

        return export_rows(self._parts, to, format)


def open(path: str | os.PathLike[str], *, allow_incomplete: bool = False) -> Dataset:
    """Open the published dataset at `path`, to read it; nothing is changed, and no lock is taken.

    Raises `UsageError` where there is none, `RefusedError` where it is not batten's, or not
    complete (unless `allow_incomplete`), and `InconsistentError` where it is damaged."""
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

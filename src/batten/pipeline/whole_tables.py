"""Functions of whole tables, for jobs that are cheaper to run again than to resume.

pipeline = (
    batten.from_tables(refunds="in/refunds_{run_date}.csv", merchants="in/merchants.csv")
    .apply(join)
    .write_csv("out/report_{run_date}.csv")
)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from batten.errors import usage_error
from batten.jobs.loading.job_folder import current_folder
from batten.jobs.path_parameters import make_filler
from batten.jobs.step import Step, make_step
from batten.model.value_class import value_class
from batten.model.words import Takes
from batten.pipeline.pipeline import Pipeline
from batten.sources.whole_tables import TableSource
from batten.storage.addresses import local_path

if TYPE_CHECKING:
    from batten.sinks.base import Sink


@value_class
class Tables:
    """The tables of `from_tables`, which wait for their function: see `apply`."""

    source: TableSource
    folder: Path

    def apply(self, function: Callable[..., Any], *, version: str | None = None) -> TablePipeline:
        """Make one table of all of them.

        Sinks follow: files (`.write_csv`, `.write_jsonl`, `.write_parquet("….parquet")`) and
        tables, in any number. The function runs once, in a process of its own.

        Args:
            function: Called with a `pyarrow.Table` for each table, by name. It returns a table of
                pyarrow, or anything that gives Arrow data, such as a Polars frame or a DuckDB
                relation.
            version: Stands for values of the function that can't be compared. By default there are
                none.

        Returns:
            A pipeline whose items are the tables.

        Raises:
            UsageError: The function can't be called, or is `async def`. Nothing was read or
                written.
        """
        step = make_step("apply", function, version=version)
        if step.is_async:
            raise usage_error(
                ".apply() takes a function that does not await.", "Give it a plain one."
            )
        return TablePipeline(source=self.source, whole=step, folder=self.folder)


@dataclass(frozen=True, kw_only=True, repr=False)
class TablePipeline(Pipeline):
    """Tables, the function that takes them all, and where its result is written.

    The items, as the accounts count them, are the tables.
    """

    source: TableSource
    whole: Step

    def fill(self, parameters: Mapping[str, str]) -> Self:
        """Put values in the place of `{name}` in the paths of the tables and the file.

        Args:
            parameters: The values, as texts, by name.

        Returns:
            A new pipeline with these paths.

        Raises:
            UsageError: A name has no value. Nothing was read or written.
        """
        filled = super().fill(parameters)
        return replace(filled, source=self.source.fill(make_filler(parameters)))

    def finalize(self, *_: Any, **__: Any) -> Pipeline:
        """Refuse: the function of `apply` sees all rows already.

        Returns:
            Never.

        Raises:
            UsageError: Always. Nothing was read or written.
        """
        raise usage_error(".finalize() follows no .apply().", "Do it in the function.")

    def write_parquet(
        self, path: str | os.PathLike[str], *, partition_by: str | Sequence[str] | None = None
    ) -> Self:
        """Write one Parquet file.

        Args:
            path: The file; it ends with .parquet. It may hold names of parameters, such as
                `{run_date}`.
            partition_by: Nothing; a file has no partitions. None by default.

        Returns:
            A new pipeline with this sink.

        Raises:
            UsageError: The path is a folder, or can't be used, or `partition_by` is given. Nothing
                was read or written.
        """
        if partition_by is not None or not local_path(path).endswith(".parquet"):
            raise usage_error(
                f"{os.fspath(path)!r} would be a folder, and .apply() gives one file.",
                'Name a file: .write_parquet("report.parquet").',
            )
        return super().write_parquet(path)

    def _with_sink(self, sink: Sink, written: str) -> Self:
        if sink.takes in (Takes.ITEMS, Takes.FILES):
            raise usage_error(
                ".apply() makes one table, and what follows it here takes items.",
                "Write a file or a table.",
            )
        return super()._with_sink(sink, written)

    def _with_step(self, kind: Any, function: Any, **options: Any) -> Self:
        raise usage_error(f".{kind}() follows no .apply().", "Do it in the function.")


def from_tables(**paths: str | os.PathLike[str]) -> Tables:
    """Begin with whole tables, which one function takes all at once.

    Each table is recorded by its digest. So a later run of the job sees which one has changed.

    Args:
        **paths: A path for each table, by the name that the function has for it. It ends with .csv,
            .tsv, .jsonl or .parquet, or with a slash for a folder of Parquet files. It may hold
            names of parameters.

    Returns:
        The tables, for `apply`.

    Raises:
        UsageError: No table is named, or an ending tells no format. Nothing was read.
    """
    if not paths:
        raise usage_error(
            "from_tables() names no table.", 'Name one: from_tables(refunds="in.csv").'
        )
    folder = current_folder()
    written = {name: local_path(path) for name, path in paths.items()}
    return Tables(source=TableSource(written, folder=folder), folder=folder)

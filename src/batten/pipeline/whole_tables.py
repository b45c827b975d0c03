"""Functions of whole tables, for jobs that are cheaper to run again than to resume.

pipeline = (
    batten.from_tables(refunds="in/refunds_{run_date}.csv", merchants="in/merchants.csv")
    .apply(join)
    .write_csv("out/report_{run_date}.csv")
)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from batten.errors import UsageError
from batten.jobs.job_folder import current_folder
from batten.jobs.path_parameters import make_filler
from batten.jobs.step import Step, make_step
from batten.model.value_class import value_class
from batten.pipeline.pipeline import Pipeline
from batten.sources.whole_tables import TableSource
from batten.storage.addresses import local_path

if TYPE_CHECKING:
    from batten.sinks.base import Sink


@value_class
class Tables:
    """The tables of `from_tables`."""

    source: TableSource
    folder: Path

    def apply(self, function: Callable[..., Any], *, version: str | None = None) -> TablePipeline:
        """`function` is given each table under its name, as a pyarrow table, and returns one: of
        pyarrow, or anything that hands over Arrow data (Polars, DuckDB, pandas by
        `pyarrow.Table.from_pandas`). It runs in a process of its own. `version` declares the
        function's identity where its code cannot be compared.

        A single file follows: `.write_csv`, `.write_jsonl` or `.write_parquet("….parquet")`."""
        step = make_step("apply", function, version=version)
        if step.is_async:
            raise _refuse(".apply() takes a function that does not await.", "Give it a plain one.")
        return TablePipeline(source=self.source, whole=step, folder=self.folder)


@dataclass(frozen=True, kw_only=True)
class TablePipeline(Pipeline):
    """Tables, the function that takes them all, and the file that its result becomes. The items,
    as accounts count them, are the tables."""

    source: TableSource
    whole: Step

    def fill(self, parameters: Mapping[str, str]) -> Self:
        """The same with values in the place of `{name}` in the paths of its tables and its file."""
        filled = super().fill(parameters)
        return replace(filled, source=self.source.fill(make_filler(parameters)))

    def finalize(self, *_: Any, **__: Any) -> Pipeline:
        """Not to be had: the function sees all rows already."""
        raise _refuse(".finalize() follows no .apply().", "Do it in the function.")

    def write_parquet(self, path: str | os.PathLike[str]) -> Self:
        """Write one Parquet file; its path ends with .parquet."""
        if not local_path(path).endswith(".parquet"):
            raise _refuse(
                f"{os.fspath(path)!r} would be a folder, and .apply() gives one file.",
                'Name a file: .write_parquet("report.parquet").',
            )
        return super().write_parquet(path)

    def _with_sink(self, sink: Sink, written: str) -> Self:
        if self.sinks or not sink.is_whole:
            raise _refuse(
                ".apply() is followed by one file.",
                "Write a file, and load it elsewhere by another pipeline: batten.from_csv(…).",
            )
        return super()._with_sink(sink, written)

    def _with_step(self, kind: Any, function: Any, **options: Any) -> Pipeline:
        raise _refuse(f".{kind}() follows no .apply().", "Do it in the function.")


def from_tables(**paths: str | os.PathLike[str]) -> Tables:
    """Tables by name, each a file that is read whole: .csv, .tsv, .jsonl, .parquet, or with a slash
    at its end a folder of Parquet files. Paths may hold names of parameters.

    Each is recorded by digest, so that a run of the same job sees that one has changed."""
    if not paths:
        raise _refuse("from_tables() names no table.", 'Name one: from_tables(refunds="in.csv").')
    folder = current_folder()
    written = {name: local_path(path) for name, path in paths.items()}
    return Tables(source=TableSource(written, folder=folder), folder=folder)


def _refuse(what: str, next: str) -> UsageError:
    return UsageError(what, safe="Nothing was read or written.", next=next)

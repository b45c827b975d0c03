"""What a pipeline begins with: files, items, numbers, lines, records, rows.

Each kind of source is imported when it is named. `from_tables` and `from_landed` stand where their
runs differ.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from batten.jobs.job_folder import current_folder
from batten.pipeline.pipeline import Pipeline


def from_files(pattern: str | os.PathLike[str]) -> Pipeline:
    """The files that a pattern names (`clips/**/*.mp4`), each a `Path`; the key is the path
    relative to the folder before the first wildcard, with `/`. Hidden files are left out."""
    from batten.sources.files import FileSource

    folder = current_folder()
    return Pipeline(source=FileSource(pattern, folder=folder), folder=folder)


def from_items(items: Any, *, key: str | Callable[[Any], Any] | None = None) -> Pipeline:
    """A list, any iterable, or a function that gives one; with `key`, the rows of a data frame
    (pandas, Polars, Arrow) as dicts. `key`: a field's name, or a function of the item; without it
    the ordinal is the key. Raises `UsageError` for what is no list of items: a text, a mapping, a
    set, a data frame without `key`."""
    from batten.sources.items import ItemSource

    return Pipeline(source=ItemSource(items, key=key))


def from_range(stop: int) -> Pipeline:
    """The numbers from 0 to `stop` (exclusive), which are their own keys."""
    from batten.sources.range import RangeSource

    return Pipeline(source=RangeSource(stop))


def from_jsonl(path: str | os.PathLike[str], *, key: str | None = None) -> Pipeline:
    """The lines of a JSON Lines file, each as a dict; `key` names the field that is the key.
    Without it the ordinal is, and lines may only be added at the end."""
    from batten.sources.records.jsonl import JsonLinesSource

    folder = current_folder()
    return Pipeline(source=JsonLinesSource(path, key=key, folder=folder), folder=folder)


def from_csv(
    path: str | os.PathLike[str], *, key: str | None = None, delimiter: str = ","
) -> Pipeline:
    """The records of a CSV file with a header, each a dict of texts; `key` names a column."""
    from batten.sources.records.csv import CsvSource

    folder = current_folder()
    source = CsvSource(path, key=key, folder=folder, delimiter=delimiter)
    return Pipeline(source=source, folder=folder)


def from_parquet(
    path: str | os.PathLike[str],
    *,
    key: str | None = None,
    columns: Sequence[str] | None = None,
) -> Pipeline:
    """The rows of a Parquet file or of a folder of them, each a dict; `key` names a column."""
    from batten.sources.records.parquet import ParquetSource

    folder = current_folder()
    source = ParquetSource(path, key=key, folder=folder, columns=columns)
    return Pipeline(source=source, folder=folder)

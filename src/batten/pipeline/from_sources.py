"""What a pipeline begins with: files, items, numbers, lines, records, rows.

Each kind of source is imported when it is named. `from_tables` and `from_landed` stand where their
runs differ.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

from batten.jobs.loading.job_folder import current_folder
from batten.pipeline.pipeline import Pipeline


def from_files(
    pattern: str | os.PathLike[str],
    *,
    changed: Literal["stat", "content", "ignore"] = "stat",
    removed: Literal["keep", "drop"] = "keep",
) -> Pipeline:
    """Begin with the files that a pattern names; each item is a `Path`.

    The key is the path below the folder before the first wildcard, with `/`. Files come in the
    order of the bytes of their paths. A hidden file matches only if the pattern has the dot. A file
    that has changed is computed again, and its old rows go.

    Of objects in a store, each item is the `Path` of a local copy. The copy is there as long as
    something refers to that `Path`. A change is seen by the object's ETag and size.

    Args:
        pattern: Such as `clips/**/*.mp4`; relative to the folder of the job file, or to the current
            one. Or an address such as `s3://bucket/clips/**/*.mp4`.
        changed: How a change is seen: by the file's size and time ("stat", the default), or by its
            bytes ("content", which reads all files at each run). With "ignore" it is not.
        removed: Whether the rows of a file that is gone stay ("keep", the default), or go ("drop").

    Returns:
        A pipeline without steps.

    Raises:
        UsageError: The pattern names no files, or a place with a scheme. Nothing was read.
    """
    folder = current_folder()
    from batten.sources.files.object_files import find_files_named

    source = find_files_named(pattern, folder=folder, changed=changed, removed=removed)
    return Pipeline(source=source, folder=folder)


def from_items(
    items: Any,
    *,
    key: str | Callable[[Any], Any] | None = None,
    changed: Literal["content", "ignore"] = "content",
    removed: Literal["keep", "drop"] = "keep",
) -> Pipeline:
    """Begin with the items of a list, an iterable or a data frame.

    A list is read by index in the workers. Of anything else the plan keeps the items themselves, so
    they have to be plain values.

    Args:
        items: A list, an iterable, or a function that returns one. With `key`, also a data frame of
            pandas, Polars or Arrow; each item is then a dict of one row.
        key: The field that names an item, or a function that returns the key of an item. By default
            the item's number, from 0, is the key, and items may only be added at the end.
        changed: With `key`, whether an item of other content is computed again, and its old rows go
            ("content", the default), or not ("ignore").
        removed: With `key`, whether the rows of an item that is gone stay ("keep", the default), or
            go ("drop").

    Returns:
        A pipeline without steps.

    Raises:
        UsageError: `items` is no list of items: a text, a mapping, a set, or a data frame without
            `key`. Nothing was read or written.
    """
    from batten.sources.items import ItemSource

    return Pipeline(source=ItemSource(items, key=key, changed=changed, removed=removed))


def from_range(stop: int) -> Pipeline:
    """Begin with the numbers from 0 to `stop`, which are their own keys.

    Args:
        stop: How many numbers there are; `stop` itself is not among them.

    Returns:
        A pipeline without steps.

    Raises:
        UsageError: `stop` is not a whole number of 0 or more. Nothing was read or written.
    """
    from batten.sources.range import RangeSource

    return Pipeline(source=RangeSource(stop))


def from_jsonl(
    path: str | os.PathLike[str],
    *,
    key: str | None = None,
    encoding: str = "utf-8",
    changed: Literal["content", "ignore"] = "content",
    removed: Literal["keep", "drop"] = "keep",
) -> Pipeline:
    """Begin with the lines of a JSON Lines file; each item is the value of one line.

    Args:
        path: The file; relative to the folder of the job file, or to the current one. Or an address
            such as `s3://bucket/rows`.
        key: The field that names an item. By default the item's number, from 0, is the key, and
            lines may only be added at the end.
        encoding: Of the text; any that Python knows; "utf-8" by default.
        changed: With `key`, whether a line of other content is computed again, and its old rows go
            ("content", the default), or not ("ignore").
        removed: With `key`, whether the rows of a line that is gone stay ("keep", the default), or
            go ("drop").

    Returns:
        A pipeline without steps.

    Raises:
        UsageError: The path, the key or the encoding can't be used. Nothing was read.
    """
    from batten.sources.records.jsonl import JsonLinesSource

    folder = current_folder()
    return Pipeline(
        source=JsonLinesSource(
            path, key=key, folder=folder, encoding=encoding, changed=changed, removed=removed
        ),
        folder=folder,
    )


def from_csv(
    path: str | os.PathLike[str],
    *,
    key: str | None = None,
    delimiter: str = ",",
    encoding: str = "utf-8",
    changed: Literal["content", "ignore"] = "content",
    removed: Literal["keep", "drop"] = "keep",
) -> Pipeline:
    """Begin with the records of a CSV file with a header; each item is a dict of texts.

    Args:
        path: The file; relative to the folder of the job file, or to the current one. Or an address
            such as `s3://bucket/rows`.
        key: The column that names an item. By default the item's number, from 0, is the key, and
            records may only be added at the end.
        delimiter: The character between two fields; a comma by default.
        encoding: Of the text; any that Python knows; "utf-8" by default.
        changed: With `key`, whether a record of other content is computed again, and its old rows
            go ("content", the default), or not ("ignore").
        removed: With `key`, whether the rows of a record that is gone stay ("keep", the default),
            or go ("drop").

    Returns:
        A pipeline without steps.

    Raises:
        UsageError: The path, key, delimiter or encoding can't be used. Nothing was read.
    """
    from batten.sources.records.csv import CsvSource

    folder = current_folder()
    source = CsvSource(
        path,
        key=key,
        folder=folder,
        delimiter=delimiter,
        encoding=encoding,
        changed=changed,
        removed=removed,
    )
    return Pipeline(source=source, folder=folder)


def from_parquet(
    path: str | os.PathLike[str],
    *,
    key: str | None = None,
    columns: Sequence[str] | None = None,
    changed: Literal["content", "ignore"] = "content",
    removed: Literal["keep", "drop"] = "keep",
) -> Pipeline:
    """Begin with the rows of a Parquet file, or of a folder of them; each item is a dict.

    Args:
        path: The file, or a folder whose files `*.parquet` are read; relative to the folder of the
            job file, or to the current one. Or an address such as `s3://bucket/rows`.
        key: The column that names an item, of text or integers. By default the item's number, from
            0, is the key, and rows may only be added at the end.
        columns: The columns that an item has; by default all.
        changed: With `key`, whether a row of other content is computed again, and its old rows go
            ("content", the default), or not ("ignore").
        removed: With `key`, whether the rows of one that is gone stay ("keep", the default), or go
            ("drop").

    Returns:
        A pipeline without steps.

    Raises:
        UsageError: The path, the key or the columns can't be used. Nothing was read.
    """
    from batten.sources.records.parquet import ParquetSource

    folder = current_folder()
    source = ParquetSource(
        path, key=key, folder=folder, columns=columns, changed=changed, removed=removed
    )
    return Pipeline(source=source, folder=folder)


def from_dataset(
    path: str | os.PathLike[str],
    *,
    key: str | None = None,
    columns: Sequence[str] | None = None,
    changed: Literal["content", "ignore"] = "content",
    removed: Literal["keep", "drop"] = "drop",
) -> Pipeline:
    """Begin with the rows of a dataset that batten made; each item is a dict.

    The dataset has to be complete. A row that has changed there since the last run is computed
    again here, and its old rows go. Batches of it that have not changed are not read. An item has
    the key that it has there; of several rows of one item, those after the first have keys that are
    made of it.

    Args:
        path: The output of the other job; relative to the folder of the job file, or to the current
            one. Or an address such as `s3://bucket/features`.
        key: The column that names an item, of text or integers; by default that of the dataset. Of
            one that has none, the number of the row is the key.
        columns: The columns that an item has; by default all. Changes of others are not seen.
        changed: Whether a row of other content is computed again, and its old rows go ("content",
            the default), or not ("ignore").
        removed: Whether the rows of what is gone there go ("drop", the default), or stay ("keep").

    Returns:
        A pipeline without steps.

    Raises:
        UsageError: The path, the key or the columns can't be used. Nothing was read.
    """
    from batten.chain.source import DatasetSource

    folder = current_folder()
    source = DatasetSource(
        path, key=key, folder=folder, columns=columns, changed=changed, removed=removed
    )
    return Pipeline(source=source, folder=folder)


def from_source(name: str, /, *arguments: Any, **options: Any) -> Pipeline:
    """Items of a source that another package brings.

    The package names its source by an entry point of the group `batten.sources`.

    Args:
        name: What the package calls its source.
        *arguments: What the source takes; see the package.
        **options: What the source takes by name.

    Returns:
        A pipeline that begins with them.

    Raises:
        UsageError: No installed package brings the source, the package is broken, or the source
            can't be made of what it was given. Nothing was read or written.
    """
    from batten.plugins import PluginGroup, declare, load_plugin
    from batten.sources.plugin import OWN_SOURCES, PluginSource

    folder = current_folder()
    plugin = load_plugin(PluginGroup.SOURCE, name, own=OWN_SOURCES)
    made = declare(PluginGroup.SOURCE, plugin, folder, arguments, options)
    return Pipeline(source=PluginSource(name=name, source=made), folder=folder)

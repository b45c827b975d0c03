"""Whole tables as a source: each is one item, which tells what the table's file holds by digest.

The function that takes the tables is given them all at once; see `deliver/whole/applying.py`. The
record tells what the job took. A file that has changed since has another digest.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batten.errors import InterruptedRunError
from batten.model.disk.fingerprints import TABLE_PREFIX
from batten.model.value_class import value_class
from batten.sources.base import ItemsWanted, ScanBlock, Unavailable
from batten.sources.paths import source_error, translated_errors
from batten.storage.digests import Measured
from batten.storage.local.there import is_folder

if TYPE_CHECKING:
    import pyarrow as pa


@value_class
class Seen:
    """What a table's files were when they were read: `digest` (SHA-256) stands for all bytes;
    `status` of each file, by which a later change is noticed."""

    bytes: int
    digest: str
    status: tuple[tuple[int, ...], ...]


class TableSource:
    """Files by the name of their table: `{"refunds": "in/refunds.csv"}`."""

    is_keyed = True
    is_counted = False
    drops_gone = False
    has_kinds = False

    def __init__(self, paths: Mapping[str, str], *, folder: Path) -> None:
        self._written = dict(paths)
        self._folder = folder
        self._seen: dict[str, Seen] = {}
        for name, path in self._written.items():
            if _ending(path) not in _READERS:
                raise source_error(
                    f"The table {name!r} is {path!r}, and its ending tells no format.",
                    f"Name a file that ends with one of: {', '.join(_READERS)}.",
                )

    def fill(self, fill: Callable[[str], str]) -> TableSource:
        """The same with parameters in the place of their names in the paths."""
        filled = {name: fill(path) for name, path in self._written.items()}
        return TableSource(filled, folder=self._folder)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the tables."""
        return tuple(self._written)

    @property
    def identity(self) -> dict[str, str]:
        """The tables by content: a job whose inputs changed is another job. All are read."""
        from concurrent.futures import ThreadPoolExecutor

        identity = {"source": f"tables {', '.join(self._written)}"}
        with ThreadPoolExecutor(max_workers=2) as pool:
            digests = pool.map(self._identify, self._written)
            identity.update(
                (TABLE_PREFIX + name, digest)
                for name, digest in zip(self._written, digests, strict=True)
            )
        return identity

    @property
    def inputs(self) -> tuple[Path, ...]:
        return tuple(self._folder / path for path in self._written.values())

    def count_items(self) -> int | None:
        return None

    def scan(self) -> Iterator[ScanBlock]:
        for name in self._written:
            self._see(name)
        yield ScanBlock(count=len(self._written), keys=list(self._written))

    def open(self) -> TableReader:
        return TableReader(self)

    def describe(self, name: str) -> dict[str, Any]:
        """The row of a table: where it was read from, and what it held."""
        seen = self._see(name)
        return {"path": self._written[name], "bytes": seen.bytes, "sha256": seen.digest}

    def describe_files(self) -> dict[str, dict[str, Any]]:
        """Of each table whose digest was taken, what tells quickly whether it may be another now:
        see `find_facts`."""
        return {
            name: {
                "path": str(self._folder / self._written[name]),
                "sha256": seen.digest,
                "files": [[size, modified_ns] for _, _, size, modified_ns in seen.status],
            }
            for name, seen in self._seen.items()
        }

    def load(self) -> dict[str, pa.Table]:
        """All tables, as pyarrow reads them. Raises `InterruptedRunError` if a file has changed
        since its digest was taken."""
        tables = {}
        for name, path in self._written.items():
            seen = self._see(name)
            with translated_errors(path):
                tables[name] = _READERS[_ending(path)](self._folder / path)
                is_same = _find_status(self._folder / path) == seen.status
            if not is_same:
                raise InterruptedRunError(
                    f"The input {path} was changed while it was read.",
                    safe="Nothing was published; what readers see is as before.",
                    next="When it is whole, run the same command again.",
                )
        return tables

    def _see(self, name: str) -> Seen:
        if name not in self._seen:
            path = self._written[name]
            with translated_errors(path):
                self._seen[name] = take_digest(self._folder / path)
        return self._seen[name]

    def _identify(self, name: str) -> str:
        try:
            seen = self._seen[name] = take_digest(self._folder / self._written[name])
        except OSError as error:
            return f"can't be read: {error.strerror}"
        return f"sha256:{seen.digest}"


class TableReader:
    """Gives the rows that describe tables."""

    def __init__(self, source: TableSource) -> None:
        self._source = source

    def read(self, wanted: ItemsWanted) -> Iterator[dict[str, Any] | Unavailable]:
        for name in wanted.keys or ():
            yield self._source.describe(name)


def find_facts(path: Path) -> list[list[int]]:
    """Size in bytes and time of the last change in nanoseconds, of each file of a table. Raises
    `OSError`."""
    return [[size, modified_ns] for _, _, size, modified_ns in _find_status(path)]


def take_digest(path: Path) -> Seen:
    """Reads all of a table's files. Raises `OSError`."""
    measured = Measured()
    status = _find_status(path)
    for file in _list_files(path):
        with open(file, "rb", buffering=0) as opened:
            measured.read_all(opened)
    return Seen(bytes=measured.size, digest=measured.digest, status=status)


def _find_status(path: Path) -> tuple[tuple[int, ...], ...]:
    found = [os.stat(file) for file in _list_files(path)]
    return tuple((each.st_dev, each.st_ino, each.st_size, each.st_mtime_ns) for each in found)


def _list_files(path: Path) -> list[Path]:
    """The file; of a folder of Parquet files, those in it, by name."""
    if not is_folder(path):
        return [path]
    return sorted(each for each in path.iterdir() if each.suffix == ".parquet")


def _ending(path: str) -> str:
    """A folder is one of Parquet files."""
    return "/" if path.endswith("/") else Path(path).suffix.lower()


def _read_csv(path: Path, delimiter: str = ",") -> pa.Table:
    from pyarrow import csv

    return csv.read_csv(path, parse_options=csv.ParseOptions(delimiter=delimiter))


def _read_tsv(path: Path) -> pa.Table:
    return _read_csv(path, "\t")


def _read_jsonl(path: Path) -> pa.Table:
    from pyarrow import json

    return json.read_json(path)


def _read_parquet(path: Path) -> pa.Table:
    from pyarrow import parquet

    return parquet.read_table([str(file) for file in _list_files(path)])


_READERS: dict[str, Callable[[Path], pa.Table]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
    "/": _read_parquet,
}

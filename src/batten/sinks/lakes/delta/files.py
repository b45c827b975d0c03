"""The files of a Delta table that hold rows with certain keys, and what takes their places."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from batten.errors import BATCHES_KEPT, RefusedError
from batten.model.json_text import parse_json
from batten.sinks.lakes.by_key import Displaced, find_left
from batten.sinks.lakes.delta.log import Action, unreadable
from batten.storage.base import Folder

if TYPE_CHECKING:
    import pyarrow as pa

Put = Callable[["pa.Table", str], Action]
"""Makes a file of rows, which takes the place of the one that is named; gives what adds it."""


def replace_files(
    storage: Folder,
    folder: str,
    files: Mapping[str, Action],
    displaced: Sequence[Displaced],
    put: Put,
    now_milliseconds: int,
) -> Iterator[Action]:
    """What removes the files with rows that make way, and adds those with what is left of them.

    Raises `RefusedError` for a file that can't be rewritten, and `CorruptError` for one that can't
    be read."""
    for path, add in files.items():
        if not any(_may_hold(add, each) for each in displaced):
            continue
        name = _locate(folder, path, add)
        rows = _read(storage, name, None if _is_small(add) else _columns_of(displaced))
        left = find_left(displaced, rows)
        if left is None:
            continue
        yield _remove(path, add, now_milliseconds)
        if not left.num_rows:
            continue
        if not _is_small(add):
            left = find_left(displaced, _read(storage, name, None)) or left
        yield {"add": put(left, path)}


def remove_files(files: Mapping[str, Action], now_milliseconds: int) -> list[Action]:
    """What removes all of them."""
    return [_remove(path, add, now_milliseconds) for path, add in files.items()]


def _remove(path: str, add: Action, now_milliseconds: int) -> Action:
    vector = {"deletionVector": add["deletionVector"]} if add.get("deletionVector") else {}
    return {
        "remove": {
            "path": path,
            "deletionTimestamp": now_milliseconds,
            "dataChange": True,
            "extendedFileMetadata": True,
            "partitionValues": add.get("partitionValues") or {},
            "size": add.get("size"),
            **vector,
        }
    }


_SMALL_BYTES = 1 << 20


def _is_small(add: Action) -> bool:
    """Of a large file first only the columns of the key are read."""
    return int(add.get("size") or 0) <= _SMALL_BYTES


def _columns_of(displaced: Sequence[Displaced]) -> list[str]:
    return list(dict.fromkeys(name for each in displaced for name in each.columns))


def _may_hold(add: Action, displaced: Displaced) -> bool:
    """By the least and the greatest value that the log has of the file, where these can be trusted:
    of times they may be cut."""
    import pyarrow.compute as pc

    told = parse_json(add.get("stats") or "{}")
    for name in displaced.columns:
        ends = pc.min_max(displaced.keys.column(name)).as_py()
        low, high = (_find_end(told, kind, name) for kind in ("minValues", "maxValues"))
        first, last = (_as_told(ends[end]) for end in ("min", "max"))
        if (
            first is None
            or last is None
            or type(low) is not type(first)
            or type(high) is not type(last)
        ):
            continue
        if last < low or first > high:
            return False
    return True


def _find_end(told: Action, kind: str, name: str) -> Any:
    return (told.get(kind) or {}).get(name)


def _as_told(value: Any) -> Any:
    """As statistics have it; None for what is not compared."""
    if type(value) is date:
        return value.isoformat()
    return value if type(value) in (int, str) else None


def _locate(folder: str, path: str, add: Action) -> str:
    problem = ""
    if "://" in path or path.startswith("/"):
        problem = "lies in no folder of the table"
    elif add.get("deletionVector"):
        problem = "has rows that a deletion vector marks as deleted"
    if problem:
        raise RefusedError(
            f"The file {path} of {folder} may hold rows that are to be replaced, and {problem}.",
            safe=f"Nothing of this batch is there; {BATCHES_KEPT}",
            next="Have the table's files written anew (OPTIMIZE, or REORG … PURGE), then run the "
            "same command again.",
        )
    return f"{folder}/{unquote(path)}"


def _read(storage: Folder, name: str, columns: list[str] | None) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with storage.open(name) as file:
            reader = pq.ParquetFile(file, pre_buffer=False, coerce_int96_timestamp_unit="us")
            return reader.read(columns=columns, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise unreadable(name, error) from error

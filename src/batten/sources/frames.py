"""Data frames as rows.

Iterating over a frame gives the names of its columns, or its columns, which nobody means. With
`key=` its rows are meant. Without, nothing says so, and nothing tells the rows apart when the frame
is made anew (decision 0048). The libraries are not imported: a frame is known by the names of its
classes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

from batten.errors import UsageError
from batten.sources.paths import source_error

ROWS_AT_A_TIME = 1024
"""So many rows become Python objects at once."""

Load = Callable[[int, int], Sequence[Any]]


class FrameRows(Sequence[Any]):
    """The rows of a frame by number, each a dict by the names of its columns."""

    def __init__(self, count: int, load: Load) -> None:
        self._count = count
        self._load = load
        self._block: tuple[int, Sequence[Any]] = (0, ())

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: Any) -> Any:
        if not 0 <= place < self._count:
            raise IndexError(place)
        start, rows = self._block
        if not start <= place < start + len(rows):
            start = place // ROWS_AT_A_TIME * ROWS_AT_A_TIME
            rows = self._load(start, min(start + ROWS_AT_A_TIME, self._count))
            # Both at once, as threads may share it.
            self._block = (start, rows)
        return rows[place - start]


class ChainedRows(Sequence[Any]):
    """The rows of several frames, one after another, by number."""

    def __init__(self, frames: Sequence[FrameRows]) -> None:
        self._frames = frames
        self._ends = list(accumulate(map(len, frames)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, place: Any) -> Any:
        if not 0 <= place < len(self):
            raise IndexError(place)
        number = bisect_right(self._ends, place)
        return self._frames[number][place - (self._ends[number - 1] if number else 0)]


def spread(items: Iterable[Any], key: object = None) -> Iterator[Any]:
    """The rows of those that are data frames, others as they are."""
    known: dict[type, bool] = {}
    for item in items:
        kind = type(item)
        if kind not in known:
            known[kind] = _is_frame(kind)
        if known[kind]:
            yield from find_rows(item, has_key=True, key=key) or ()
        else:
            yield item


def find_rows_of_all(items: Sequence[Any], key: object) -> ChainedRows | None:
    """The rows of a list of data frames, or None if it is another list."""
    if not items or not _is_frame(type(items[0])):
        return None
    if not all(map(_is_frame, set(map(type, items)))):
        return None
    found = [find_rows(each, has_key=True, key=key) for each in items]
    return ChainedRows([rows for rows in found if rows is not None])


def _is_frame(kind: type) -> bool:
    return any(f"{k.__module__.partition('.')[0]}.{k.__name__}" in _FRAMES for k in kind.__mro__)


def find_rows(items: Any, *, has_key: bool, key: object = None) -> FrameRows | None:
    """The rows of a data frame; None for what is no data frame. Raises `UsageError` for one whose
    rows can't be had, or that comes without `key=`. A `key` may be of the index of pandas."""
    kinds = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(items).__mro__}
    make = next((make for kind, make in _LISTS.items() if kind in kinds), None)
    if make is not None:
        return make(items)
    make = next((make for kind, make in _FRAMES.items() if kind in kinds), None)
    if make is None and hasattr(items, "columns") and hasattr(items, "dtypes"):
        make = _from_others
    if make is None:
        return None
    rows = make(items)
    if make is _from_pandas and isinstance(key, str) and _is_of_index(items, key):
        rows = FrameRows(len(items), partial(_load_pandas_with_index, items, key))
    if not has_key:
        raise _refuse(
            f"a {_name(items)} without key=",
            'Name the column that tells its rows apart, key="id"; or give a list of the rows: '
            "frame.to_dict('records') of pandas, to_dicts() of Polars, to_pylist() of Arrow.",
        )
    return rows


def _from_pandas(frame: Any) -> FrameRows:
    names = list(frame.columns)
    repeated = [str(name) for name in dict.fromkeys(names) if names.count(name) > 1]
    if repeated:
        raise _refuse(
            f"a DataFrame with several columns named {', '.join(repeated)}",
            "Give each column a name of its own.",
        )
    return FrameRows(len(frame), partial(_load_pandas, frame))


def _is_of_index(frame: Any, key: str) -> bool:
    return key not in frame.columns and key in frame.index.names


def _from_polars(frame: Any) -> FrameRows:
    return FrameRows(len(frame), partial(_load_polars, frame))


def _from_arrow(table: Any) -> FrameRows:
    names = list(table.column_names) if hasattr(table, "column_names") else []
    if len(set(names)) < len(names):
        raise _refuse(
            f"an Arrow table with columns of one name: {', '.join(names)}",
            "Give each column a name of its own.",
        )
    return FrameRows(len(table), partial(_load_arrow, table))


def _from_others(frame: Any) -> FrameRows:
    if hasattr(frame, "__arrow_c_stream__"):
        import pyarrow as pa

        return _from_arrow(pa.table(frame))
    raise _refuse(
        f"a {_name(frame)}, whose rows batten can't take",
        "Give a pandas or Polars DataFrame or an Arrow table of it, or a list of dicts.",
    )


def _from_hugging_face(dataset: Any) -> FrameRows:
    return FrameRows(len(dataset), partial(_load_hugging_face, dataset))


# Functions of the module, so that the rows can be sent to a worker in a fresh interpreter.


def _load_pandas(frame: Any, start: int, stop: int) -> Any:
    return frame.iloc[start:stop].to_dict("records")


def _load_pandas_with_index(frame: Any, key: str, start: int, stop: int) -> Any:
    return frame.iloc[start:stop].reset_index(level=key).to_dict("records")


def _load_polars(frame: Any, start: int, stop: int) -> Any:
    return frame.slice(start, stop - start).to_dicts()


def _load_arrow(table: Any, start: int, stop: int) -> Any:
    return table.slice(start, stop - start).to_pylist()


def _load_hugging_face(dataset: Any, start: int, stop: int) -> list[dict[str, Any]]:
    columns = dataset[start:stop]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _refuse_lazy(frame: Any) -> FrameRows:
    raise _refuse(
        "a LazyFrame of polars, which has no rows yet", "Collect it: from_items(frame.collect())."
    )


def _refuse_unread(dataset: Any) -> FrameRows:
    raise _refuse(
        f"a {_name(dataset)}, which has no rows yet",
        "Give the function that reads it in pieces: from_items(dataset.to_batches, key=…).",
    )


def _refuse_splits(splits: Any) -> FrameRows:
    names = ", ".join(map(repr, splits))
    raise _refuse(f"a DatasetDict, which holds {names}", "Give one of them: splits['train'].")


_FRAMES: dict[str, Callable[[Any], FrameRows]] = {
    "pandas.DataFrame": _from_pandas,
    "polars.DataFrame": _from_polars,
    "polars.LazyFrame": _refuse_lazy,
    "pyarrow.Table": _from_arrow,
    "pyarrow.RecordBatch": _from_arrow,
    "pyarrow.Dataset": _refuse_unread,
    "pyarrow.Scanner": _refuse_unread,
    "pyarrow.RecordBatchReader": lambda reader: _from_arrow(reader.read_all()),
}

_LISTS: dict[str, Callable[[Any], FrameRows]] = {
    "pyarrow.Array": _from_arrow,
    "pyarrow.ChunkedArray": _from_arrow,
    "datasets.Dataset": _from_hugging_face,
    "datasets.DatasetDict": _refuse_splits,
}
"""What is a list of values, or of rows, when it is iterated over."""


def _name(items: Any) -> str:
    return f"{type(items).__name__} of {type(items).__module__.partition('.')[0]}"


def _refuse(problem: str, advice: str) -> UsageError:
    return source_error(f"from_items was given {problem}.", advice)

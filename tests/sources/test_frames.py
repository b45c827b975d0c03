"""A data frame is taken as its rows, or refused; never as the names of its columns."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import batten
from batten.sources.frames import ROWS_AT_A_TIME, find_rows
from batten.sources.identity.digests import UNKNOWN, digest_items
from batten.sources.items import ItemSource

COUNT = ROWS_AT_A_TIME + 5
COLUMNS = {"id": [f"k{n}" for n in range(COUNT)], "n": list(range(COUNT))}
ROWS = [{"id": f"k{n}", "n": n} for n in range(COUNT)]


def _pandas() -> Any:
    pd = pytest.importorskip("pandas")
    return pd.DataFrame(COLUMNS, index=range(7, COUNT + 7))


def _pandas_subclass() -> Any:
    pd = pytest.importorskip("pandas")
    kind = type("GeoDataFrame", (pd.DataFrame,), {"__module__": "elsewhere"})
    return kind(COLUMNS)


def _polars() -> Any:
    return pytest.importorskip("polars").DataFrame(COLUMNS)


def _hugging_face() -> Any:
    return pytest.importorskip("datasets").Dataset.from_dict(COLUMNS)


def _duckdb() -> Any:
    duckdb = pytest.importorskip("duckdb")
    numbers = pa.table(COLUMNS)  # noqa: F841 - duckdb finds it by its name
    return duckdb.sql("select * from numbers order by n")


FRAMES: dict[str, Any] = {
    "pandas": _pandas,
    "a subclass": _pandas_subclass,
    "polars": _polars,
    "arrow table": lambda: pa.table(COLUMNS),
    "arrow batch": lambda: pa.RecordBatch.from_pydict(COLUMNS),
    "arrow reader": lambda: pa.table(COLUMNS).to_reader(),
    "hugging face": _hugging_face,
    "duckdb": _duckdb,
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_is_its_rows(name: str, sources: Any) -> None:
    source = ItemSource(FRAMES[name](), key="id")
    assert sources.read(source) == ROWS
    assert sources.plan(source).keys == COLUMNS["id"]


@pytest.mark.parametrize("name", [name for name in FRAMES if name != "hugging face"])
def test_a_frame_without_a_key_is_refused(name: str) -> None:
    with pytest.raises(batten.UsageError, match="without key=") as refused:
        batten.from_items(FRAMES[name]())
    assert 'key="id"' in refused.value.next


def test_a_dataset_of_hugging_face_is_a_list_of_its_rows(sources: Any) -> None:
    assert sources.read(ItemSource(_hugging_face())) == ROWS


@pytest.mark.parametrize("name", ["pandas", "polars", "arrow table", "hugging face"])
def test_so_is_one_that_a_function_gives(name: str, sources: Any) -> None:
    assert sources.read(ItemSource(FRAMES[name], key="id")) == ROWS


def test_an_arrow_array_is_its_values(sources: Any) -> None:
    assert sources.read(ItemSource(pa.chunked_array([[1, 2], [3]]))) == [1, 2, 3]
    assert sources.read(ItemSource(pa.array(["a", None]))) == ["a", None]


def test_series_and_arrays_are_their_values(sources: Any) -> None:
    pl, np = pytest.importorskip("polars"), pytest.importorskip("numpy")
    assert sources.read(ItemSource(pl.Series([1, 2]))) == [1, 2]
    rows = sources.read(ItemSource(np.eye(2)))
    assert [row.tolist() for row in rows] == [[1, 0], [0, 1]]


def test_rows_of_a_frame_are_compared(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")

    def run(*days: int) -> Any:
        frame = pd.DataFrame({"when": pd.to_datetime([f"2026-01-{day:02}" for day in days])})
        rows = frame.to_dict("records")
        assert UNKNOWN not in [digest_items([row]) for row in rows]
        pipeline = batten.from_items(rows).map(lambda row: {"day": row["when"].day})
        return pipeline.write_parquet(tmp_path / "out").run(executor="serial")

    run(1, 2)
    assert run(1, 2, 3).executed_items == 1
    with pytest.raises(batten.RefusedError, match="row 1 is not what it was"):
        run(9, 1, 2, 3)


class _Elsewhere:
    """As the frames of libraries that compute later: its iteration gives names."""

    columns = dtypes = ("id", "n")

    def __iter__(self) -> Any:
        return iter(self.columns)


def _repeated() -> Any:
    pd = pytest.importorskip("pandas")
    return pd.DataFrame([[1, 2]], columns=["a", "a"])


def _unread() -> Any:
    import pyarrow.dataset

    return pyarrow.dataset.dataset(pa.table(COLUMNS))


REFUSED = {
    "dataset of Arrow": (_unread, "InMemoryDataset of pyarrow", "dataset.to_batches"),
    "lazy": (lambda: _polars().lazy(), "LazyFrame of polars", "collect()"),
    "another library": (_Elsewhere, "_Elsewhere of tests", "list of dicts"),
    "repeated": (_repeated, "several columns named a", "name of its own"),
    "repeated in Arrow": (
        lambda: pa.table([[1], [2]], names=["a", "a"]),
        "columns of one name: a, a",
        "name of its own",
    ),
    "columns": (lambda: COLUMNS, "a mapping", "mapping.items()"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_rows_cannot_be_had_of_is_refused(name: str) -> None:
    make, problem, advice = REFUSED[name]
    with pytest.raises(batten.UsageError, match="from_items was given") as refused:
        batten.from_items(make(), key="id")
    assert problem in refused.value.what
    assert advice in refused.value.next


@pytest.mark.parametrize("make", [_pandas, lambda: pa.table(COLUMNS)])
def test_rows_of_a_frame_can_be_sent_to_a_fresh_interpreter(make: Any) -> None:
    source = pickle.loads(pickle.dumps(find_rows(make(), has_key=True)))
    assert list(source)[:2] == ROWS[:2]


def _batches() -> list[Any]:
    return [
        *pa.table(COLUMNS).to_batches(max_chunksize=100),
        pa.RecordBatch.from_pydict({"id": []}),
    ]


@pytest.mark.parametrize(
    "make",
    [
        _batches,
        lambda: tuple(_batches()),
        lambda: iter(_batches()),
        lambda: _batches,
        lambda: lambda: iter(_batches()),
        lambda: [*_batches()[:2], pytest.importorskip("polars").DataFrame(COLUMNS)[200:]],
    ],
    ids=["list", "tuple", "iterator", "function of a list", "function of an iterator", "several"],
)
def test_pieces_of_a_frame_are_its_rows(make: Any, sources: Any) -> None:
    assert sources.pairs(ItemSource(make(), key="id")) == [(row["id"], row) for row in ROWS]


def test_pieces_are_read_by_a_worker(tmp_path: Path) -> None:
    pipeline = batten.from_items(_batches(), key="id").map(lambda row: {"n": row["n"]})
    report = pipeline.options(batch_size=50).write_parquet(tmp_path / "out").run(jobs=2)
    assert (report.status, report.rows) == ("complete", COUNT)


def test_several_splits_are_refused_with_their_names() -> None:
    datasets = pytest.importorskip("datasets")
    splits = datasets.DatasetDict({"train": datasets.Dataset.from_dict(COLUMNS)})
    with pytest.raises(batten.UsageError, match="holds 'train'"):
        ItemSource(splits, key="id")


@pytest.mark.parametrize("is_in_pieces", [False, True])
def test_the_key_may_be_of_the_index(is_in_pieces: bool, tmp_path: Path) -> None:
    frame = _pandas().set_index("id")
    items = [frame.iloc[:1], frame.iloc[1:]] if is_in_pieces else frame
    pipeline = batten.from_items(items, key="id").map(lambda row: {**row})
    report = pipeline.write_parquet(tmp_path / "out").run(executor="serial")
    assert (report.rows, report.quarantined) == (len(frame), 0)
    rows = pa.parquet.read_table(tmp_path / "out").to_pylist()
    assert [row["key"] for row in rows] == [str(each) for each in frame.index]
    assert all(row["key"] == str(row["id"]) for row in rows)

"""What functions return and sources hold that is not as it should be: a quarantined item with a
clear error, or a clear end; never a traceback, never a row that silently is another."""

from __future__ import annotations

import dataclasses
import datetime
import math
import os
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import batten

Folder = Any
"""A `JobFolder` of tests/conftest.py."""

Fail = "the row does not fit: "


def run(job: Folder, rows: list[Any], **options: Any) -> tuple[list[Any], dict[str, str]]:
    """The rows that were written, without their keys, and the errors, when item n returns
    `rows[n]`."""
    (
        batten.from_range(len(rows))
        .map(lambda item: rows[item], version="1")
        .write_parquet(job.path / "out")
        .options(**options)
        .run(executor="serial")
    )
    written = [{k: v for k, v in row.items() if k != "key"} for row in job.rows()]
    return written, {key: error for key, (error, _) in job.quarantined().items()}


class Unreadable:
    """Like a model that can't be dumped."""

    def model_dump(self) -> dict[str, Any]:
        raise KeyError("gone")


class Hostile:
    """Raises what it likes when Arrow looks at it."""

    def __arrow_array__(self, type: object = None) -> object:
        raise KeyError("hostile")

    def __repr__(self) -> str:
        return "<hostile>"


@dataclasses.dataclass
class Point:
    x: int
    y: float


A_ROW = "a row is a dict, a dataclass or a pydantic model"

WRONG = {
    "None": (None, f"the row is None; {A_ROW}"),
    "a number": (5, f"the row is of type int; {A_ROW}"),
    "a list": ([{"a": 1}], f"the row is of type list; {A_ROW}"),
    "a class": (Point, f"the row is of type type; {A_ROW}"),
    "a model that can't be read": (
        Unreadable(),
        "a Unreadable can't be made a row: KeyError: 'gone'",
    ),
    "no columns": ({}, f"{Fail}a row without columns"),
    "a new column": ({"a": 1, "b": 2}, f"{Fail}a new column 'b'; the dataset has a"),
    "another type": (
        {"a": "1"},
        f"{Fail}the column 'a' is string, the dataset's is int64",
    ),
    "a boolean for a number": (
        {"a": True},
        f"{Fail}the column 'a' is bool, the dataset's is int64",
    ),
    "a fraction for a whole number": (
        {"a": 1.5},
        f"{Fail}the column 'a' is double, the dataset's is int64",
    ),
    "not a number": (
        {"a": math.nan},
        f"{Fail}the column 'a' is double, the dataset's is int64",
    ),
    "a huge number": ({"a": 10**30}, f"{Fail}the column 'a': an integer beyond 64 bits"),
    "bytes": ({"a": b"1"}, f"{Fail}the column 'a' is binary, the dataset's is int64"),
    "a list in a column": (
        {"a": [[1], [2]]},
        f"{Fail}the column 'a' is list<item: list<item: int64>>, the dataset's is int64",
    ),
    "an object": ({"a": object}, f"{Fail}the column 'a': "),
    "an object that raises": ({"a": Hostile()}, f"{Fail}the column 'a': "),
    "a column that is no text": ({1: 1}, f"{Fail}a column is named 1; names are texts"),
    "a column that is no Unicode": (
        {"\ud800": 1},
        f"{Fail}a column is named '\\ud800', which is not valid Unicode",
    ),
    "a column of batten's": (
        {"batten.item": 1},
        f"{Fail}a column is named 'batten.item', which batten uses itself",
    ),
    "another key": ({"a": 1, "key": 7}, f"{Fail}the row has a column 'key' of its own"),
}


WIDENING = {"a new column", "a fraction for a whole number", "not a number"}
"""What the rows that pin the schema may hold; see below."""


@pytest.mark.parametrize(
    ("value", "error", "batch_size"),
    [
        pytest.param(*wrong, batch_size, id=f"{name}, batches of {batch_size}")
        for name, wrong in WRONG.items()
        for batch_size in (2, 10)
        if batch_size == 2 or name not in WIDENING
    ],
)
def test_a_wrong_row_is_quarantined_alone(
    job: Folder, value: Any, error: str, batch_size: int
) -> None:
    """In a batch after the one that pins the schema, and in that one."""
    rows, errors = run(job, [{"a": 0}, {"a": 1}, {"a": 2}, value, {"a": 4}], batch_size=batch_size)
    assert rows == [{"a": 0}, {"a": 1}, {"a": 2}, {"a": 4}]
    assert list(errors) == ["3"]
    assert errors["3"].startswith(error)
    assert "\n" not in errors["3"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([1, 2.5, None], [1.0, 2.5, None], id="numbers are widened by the first rows"),
        pytest.param([math.inf, -0.0], [math.inf, -0.0], id="infinities"),
        pytest.param([b"", b"\x00\xff"], [b"", b"\x00\xff"], id="bytes"),
        pytest.param([[[1], []], [[2, 3]]], [[[1], []], [[2, 3]]], id="nested lists"),
        pytest.param([(1, 2), [3]], [[1, 2], [3]], id="tuples"),
        pytest.param([{"x": 1}, {"x": None}], [{"x": 1}, {"x": None}], id="dicts"),
        pytest.param([Decimal("1.5"), Decimal(20)], [Decimal("1.5"), Decimal("20.0")]),
        pytest.param([datetime.timedelta(1), None], [datetime.timedelta(1), None], id="durations"),
        pytest.param(["é\n\0'\"", ""], ["é\n\0'\"", ""], id="texts"),
    ],
)
def test_values_come_back_as_they_were(job: Folder, values: list[Any], expected: list[Any]) -> None:
    rows, errors = run(job, [{"a": value} for value in values])
    assert [row["a"] for row in rows] == expected
    assert errors == {}


def test_the_rows_that_pin_the_schema_have_the_columns_of_all(job: Folder) -> None:
    rows, errors = run(job, [{"a": 0}, {"a": 1.5, "b": "x"}, {"b": "y", "c": True}])
    assert rows == [
        {"a": 0.0, "b": None, "c": None},
        {"a": 1.5, "b": "x", "c": None},
        {"a": None, "b": "y", "c": True},
    ]
    assert errors == {}


def test_not_a_number_is_a_number(job: Folder) -> None:
    rows, _ = run(job, [{"a": 0.5}, {"a": math.nan}])
    assert math.isnan(rows[1]["a"])


def test_dates_and_times_do_not_mix(job: Folder) -> None:
    date, time = datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    _, errors = run(job, [{"a": date}, {"a": time}, {"a": time.replace(tzinfo=None)}, {"a": date}])
    assert errors == {
        "1": f"{Fail}the column 'a' is timestamp[us, tz=UTC], the dataset's is date32[day]",
        "2": f"{Fail}the column 'a' is timestamp[us], the dataset's is date32[day]",
    }


def test_dataclasses_are_rows_and_missing_columns_are_null(job: Folder) -> None:
    rows, errors = run(job, [Point(1, 2.0), {"x": 3}])
    assert rows == [{"x": 1, "y": 2.0}, {"x": 3, "y": None}]
    assert errors == {}


def test_a_row_may_repeat_its_key(job: Folder) -> None:
    rows, errors = run(job, [{"key": 0, "a": 1}, {"a": 2, "key": "1"}])
    assert rows == [{"a": 1}, {"a": 2}]
    assert errors == {}


def test_the_key_may_have_another_name(job: Folder) -> None:
    run(job, [{"key": 7}], key_column="clip")
    assert job.rows() == [{"clip": 0, "key": 7}]


def test_a_row_nested_without_end_is_quarantined(job: Folder) -> None:
    endless: list[Any] = []
    endless.append(endless)
    rows, errors = run(job, [{"a": [[1]]}, {"a": endless}])
    assert rows == [{"a": [[1]]}]
    assert "recursion" in errors["1"]


# Columns that nothing is known of


@pytest.mark.parametrize("sink", ['write_parquet("out")', 'write_jsonl("out.jsonl")'])
def test_a_dict_that_is_always_empty_has_no_type(job: Folder, sink: str) -> None:
    """Arrow has a type for it, and Parquet has none."""
    job.write(f"pipeline = batten.from_range(5).map(lambda n: {{'a': {{}}}}).{sink}")
    ended = job.run("--jobs", "1")
    assert ended.code == 2
    assert ended.told[0] == "The type of 'a' can't be known: no value in the first 5 items."


def test_a_column_without_values_is_told_at_once_and_nothing_is_done_again(job: Folder) -> None:
    job.write("""
        def measure(item):
            open("calls", "a").write(f"{item}\\n")
            return {"a": item, "b": None, "c": [], "d": {"x": None}}

        pipeline = batten.from_range(5).map(measure).write_parquet("out").options(batch_size=3)
    """)
    ended = job.run("--jobs", "1")
    assert ended.code == 2
    what, safe, advice = ended.told
    assert what == "The type of 'b', 'c', 'd' can't be known: no value in the first 3 items."
    assert "used again" in safe
    assert not list((job.path / "out").iterdir())
    told = '.options(schema={"a": "int64", "b": "…", "c": "list<item: …>", "d": "struct<x: …>"})'
    assert advice == f"Say the types and run it again: {told}"
    assert job.run().code == 2
    assert job.calls()[:3] == ["0", "1", "2"]
    assert not {"0", "1", "2"} & set(job.calls()[3:])

    text = (job.path / "job.py").read_text()
    types = '"b": "string", "c": pa.list_(pa.int64()), "d": pa.struct({"x": pa.float32()})'
    job.write(
        text.replace(".options(", f'.options(schema={{"a": "int64", {types}}}, ').replace(
            "import batten", "import pyarrow as pa", 1
        )
    )
    ended = job.run("--json")
    assert ended.code == 0, ended.err
    assert ended.json["adopted_items"] >= 3
    assert set(job.calls()) == {"0", "1", "2", "3", "4"}
    assert not {"0", "1", "2"} & set(job.calls()[3:])
    assert job.rows()[4] == {"key": 4, "a": 4, "b": None, "c": [], "d": {"x": None}}


@pytest.mark.parametrize(
    "schema",
    [
        {"a": "double", "b": "string"},
        {"a": float, "b": str},
        {"a": pa.float64(), "b": pa.string()},
        {"key": "int64", "a": "double", "b": "string"},
        pa.schema({"a": pa.float64(), "b": pa.string()}),
        pa.schema([pa.field("a", pa.float64(), nullable=False), ("b", pa.string())]),
    ],
    ids=str,
)
def test_a_schema_may_be_said_in_many_ways(job: Folder, schema: Any) -> None:
    rows, errors = run(job, [{"a": 1}, {"b": "x", "a": 2.5}, {"a": "x"}], schema=schema)
    assert rows == [{"a": 1.0, "b": None}, {"a": 2.5, "b": "x"}]
    assert errors == {"2": f"{Fail}the column 'a' is string, the dataset's is double"}


def test_a_column_that_must_not_be_null_is_not(job: Folder) -> None:
    schema = pa.schema([pa.field("a", pa.int64(), nullable=False), ("b", pa.int64())])
    rows, errors = run(job, [{"a": 1}, {"b": 1}], schema=schema)
    assert rows == [{"a": 1, "b": None}]
    assert errors == {"1": f"{Fail}the column 'a' is null, which its schema does not allow"}


@pytest.mark.parametrize(
    ("schema", "what"),
    [
        ({"a": "integer"}, "schema= gives the column 'a' the type 'integer', which is none: "),
        ({"a": complex}, "the type <class 'complex'>, which is none: "),
        ("a int64", "schema= is a str."),
        (pa.schema([("a", pa.int64()), ("a", pa.int64())]), "schema= has the column 'a' twice."),
    ],
)
def test_a_wrong_schema_is_told_before_anything_is_done(
    job: Folder, schema: Any, what: str
) -> None:
    with pytest.raises(batten.UsageError) as caught:
        run(job, [{"a": 1}], schema=schema)
    assert what in caught.value.what
    assert list(job.path.iterdir()) == []


# Functions of all kinds


def make_closure(factor: int) -> Callable[[int], dict[str, int]]:
    return lambda item: {"a": factor * item}


class Scaled:
    def __init__(self) -> None:
        self.factor = 3

    def __call__(self, item: int) -> dict[str, int]:
        return {"a": self.factor * item}


@pytest.mark.parametrize("executor", ["processes", "threads", "serial"])
@pytest.mark.parametrize(
    "function", [lambda item: {"a": 3 * item}, make_closure(3), Scaled(), Scaled]
)
def test_functions_need_not_be_importable(job: Folder, function: Any, executor: Any) -> None:
    pipeline = batten.from_range(4).map(function).write_parquet(job.path / "out")
    pipeline.run(executor=executor, jobs=2)
    assert [row["a"] for row in job.rows()] == [0, 3, 6, 9]


# Sources


def test_no_items_is_complete_and_says_so(job: Folder) -> None:
    job.write("pipeline = batten.from_items([]).map(lambda x: {'a': x}).write_parquet('out')")
    ended = job.run()
    assert ended.code == 0
    assert "the source has no items: is it the right one?" in ended.err
    assert (job.path / "out.batten" / "COMPLETE").exists()
    assert job.batten("verify", "out").code == 0


def test_a_limit_of_none_says_nothing_of_the_source(job: Folder) -> None:
    job.write("pipeline = batten.from_range(40).map(lambda x: {'a': x}).write_parquet('out')")
    ended = job.run("--limit", "0")
    assert ended.code == 0
    assert "limited" in ended.err
    assert "the source has no items" not in ended.err


def test_duplicate_keys_are_counted_and_the_first_wins(job: Folder) -> None:
    items = [{"id": "a", "n": 1}, {"id": "b", "n": 2}, {"id": "a", "n": 3}, {"id": "a", "n": 4}]
    pipeline = (
        batten.from_items(items, key="id")
        .map(lambda item: {"n": item["n"]})
        .write_parquet(job.path / "out")
    )
    report = pipeline.run(executor="serial")
    assert job.rows() == [{"key": "a", "n": 1}, {"key": "b", "n": 2}]
    assert report.accounts is not None
    assert (report.accounts.source, report.accounts.duplicate) == (4, 2)
    assert pipeline.run().status == "nothing-to-do"


def test_keys_and_file_names_may_be_anything(job: Folder) -> None:
    folder = job.path / "in"
    folder.mkdir()
    names = [b"a\nb", b"q\"u'o", b"\xff\xfe", b" ", "é".encode(), b"back\\slash", b"%41", b"-n"]
    for name in names:
        (folder / os.fsdecode(name)).write_bytes(name)
    pipeline = (
        batten.from_files(folder / "*")
        .map(lambda path: {"content": path.read_bytes()})
        .write_parquet(job.path / "out")
    )
    pipeline.run(jobs=2)
    found = {row["content"]: row["key"] for row in job.rows()}
    assert sorted(found) == sorted(names)
    assert len(set(found.values())) == len(names)
    assert found["é".encode()] == "é"
    assert job.quarantined() == {}
    assert pipeline.run().status == "nothing-to-do"
    assert job.batten("verify", "out").code == 0
    assert job.batten("show", "out").code == 0


def test_a_failed_item_of_any_name_is_told_on_one_line(job: Folder) -> None:
    (job.path / "in").mkdir()
    for name in (b"a\nb", b"\xff\xfe"):
        (job.path / "in" / os.fsdecode(name)).touch()
    job.write("""
        def measure(path):
            raise ValueError(f"no video in\\n{path.name}")

        pipeline = batten.from_files("in/*").map(measure).write_parquet("out")
    """)
    ended = job.run("--jobs", "1")
    assert ended.code == 3
    assert (
        ended.err.splitlines()[0] == "First item that failed: 'a\\nb': ValueError: no video in a b"
    )
    assert job.quarantined()["//\\xff\\xfe"][0] == "ValueError: no video in \\udcff\\udcfe"
    shown = job.batten("show", "out")
    assert shown.code == 0
    assert len([line for line in shown.out.splitlines() if "failed" in line]) == 2


def test_a_file_that_vanished_since_the_plan_is_quarantined(job: Folder) -> None:
    folder = job.path / "in"
    folder.mkdir()
    for name in "abc":
        (folder / name).write_text(name)

    def measure(path: Path) -> dict[str, str]:
        (folder / "c").unlink(missing_ok=True)
        return {"text": path.read_text()}

    pipeline = batten.from_files(folder / "*").map(measure).write_parquet(job.path / "out")
    assert pipeline.run(executor="serial").status == "complete"
    assert [row["text"] for row in job.rows()] == ["a", "b"]
    ((key, (error, attempts)),) = job.quarantined().items()
    assert (key, attempts) == ("c", 1)
    assert error.startswith("FileNotFoundError: ")


def count_up() -> Iterator[int]:
    yield from range(3)


def test_generators_are_sources(job: Folder) -> None:
    pipeline = (
        batten.from_items(count_up).map(lambda item: {"a": item}).write_parquet(job.path / "out")
    )
    pipeline.run(jobs=2)
    assert [row["a"] for row in job.rows()] == [0, 1, 2]
    assert pipeline.run().status == "nothing-to-do"


def test_a_generator_that_raises_ends_the_run_and_is_read_again(job: Folder) -> None:
    job.write("""
        import os

        def rows():
            yield 1
            if not os.path.exists("up"):
                raise ConnectionError("the database is down")
            yield 2

        pipeline = batten.from_items(rows).map(lambda x: {"a": x}).write_parquet("out")
    """)
    ended = job.run()
    assert ended.code == 1
    assert "Listing the items failed after 1 of them: ConnectionError" in ended.err
    (job.path / "up").touch()
    assert job.run().code == 0
    assert [row["a"] for row in job.rows()] == [1, 2]

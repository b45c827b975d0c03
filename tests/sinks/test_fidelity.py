"""What a destination can't hold as it is: refused with the reason, set aside, or in all its digits.
Nothing becomes another value without a word."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

import batten
from batten.errors import RefusedError
from batten.pipeline.pipeline import Pipeline
from batten.sinks.rows import plain_values

if TYPE_CHECKING:
    from conftest import Lab

NAN = float("nan")
LONG = timedelta(days=100_000, microseconds=1)
FINE = pd.Timedelta(days=400, nanoseconds=1)
NEGATIVE = pd.Timedelta(days=-400, nanoseconds=-1)

DURATIONS = [
    (timedelta(seconds=5), 5.0),
    (timedelta(days=-1, microseconds=1), -86399.999999),
    (LONG, "8640000000.000001"),
    (FINE, "34560000.000000001"),
    (NEGATIVE, "-34560000.000000001"),
    (pd.Timedelta(1, "ns"), 1e-9),
    (timedelta(0), 0.0),
]


class Gives:
    def __init__(self, values: Sequence[Any]) -> None:
        self.values = values

    def __call__(self, number: int) -> dict[str, Any]:
        return {"value": self.values[number]}


def job(*values: Any, kind: Any = None) -> Pipeline:
    made = batten.from_range(len(values)).map(Gives(values), version="1")
    return made if kind is None else made.options(schema={"value": kind})


def read_jsonl(folder: Path, *values: Any, kind: Any = None) -> list[Any]:
    made = job(*values, kind=kind).write_jsonl(folder / "out.jsonl")
    assert made.run(executor="serial").quarantined == 0
    lines = (folder / "out.jsonl").read_text().splitlines()
    return [json.loads(line)["value"] for line in lines]


def read_sqlite(folder: Path, *values: Any, kind: Any = None) -> list[Any]:
    made = job(*values, kind=kind).write_sqlite(folder / "out.db", "made")
    assert made.run(executor="serial").quarantined == 0
    with closing(sqlite3.connect(folder / "out.db")) as database:
        return [value for (value,) in database.execute("SELECT value FROM made ORDER BY key")]


@pytest.mark.parametrize(("value", "told"), DURATIONS, ids=[str(told) for _, told in DURATIONS])
def test_a_duration_keeps_all_its_digits(value: timedelta, told: Any, tmp_path: Path) -> None:
    assert read_jsonl(tmp_path, value) == [told]
    assert read_jsonl(tmp_path / "within", {"took": [value]}) == [{"took": [told]}]
    (found,) = read_sqlite(tmp_path, value)
    nanoseconds = pd.Timedelta(value).as_unit("ns").value if value is not LONG else None
    exact = Decimal(nanoseconds).scaleb(-9) if nanoseconds is not None else Decimal(told)
    assert Decimal(str(found)) == exact
    assert json.loads(read_sqlite(tmp_path / "within", {"took": value})[0]) == {"took": told}


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("count", [2**62 + 1, -(2**62) - 1, 1, 0])
def test_a_duration_that_python_does_not_hold_is_told_in_seconds(unit: str, count: int) -> None:
    column = pa.array([count, None], pa.int64()).cast(pa.duration(unit))
    (found, nothing) = plain_values.list_values(column)
    told = plain_values.as_seconds(found) if isinstance(found, timedelta) else found
    power = {"s": 0, "ms": -3, "us": -6, "ns": -9}[unit]
    assert (Decimal(str(told)), nothing) == (Decimal(count).scaleb(power), None)


@pytest.mark.parametrize("make_lab", ["postgres"], indirect=True)
def test_what_stands_within_a_record_is_the_same_json_everywhere(lab: Lab) -> None:
    record = {
        "raw": b"\xff",
        "at": datetime(2026, 1, 2, 3, tzinfo=UTC),
        "took": LONG,
        "cost": Decimal("1.10"),
        "many": [b"a"],
    }
    expected = {
        "raw": "/w==",
        "at": "2026-01-02T03:00:00+00:00",
        "took": "8640000000.000001",
        "cost": "1.10",
        "many": ["YQ=="],
    }
    assert lab.write(job(record)).run(executor="serial").quarantined == 0
    assert lab.ask("SELECT value FROM rows") == [{"value": expected}]
    assert read_jsonl(lab.folder / "file", record) == [expected]
    assert list(map(json.loads, read_sqlite(lab.folder / "base", record))) == [expected]


def test_what_is_no_number_is_null_where_json_stands(tmp_path: Path) -> None:
    values = ([NAN, 1.0], [float("inf"), float("-inf")])
    expected = [[None, 1.0], [None, None]]
    assert read_jsonl(tmp_path, *values) == expected
    assert list(map(json.loads, read_sqlite(tmp_path, *values))) == expected
    assert read_jsonl(tmp_path / "plain", NAN, float("inf")) == [None, None]
    assert read_sqlite(tmp_path / "plain", NAN, float("inf")) == [None, float("inf")]


@pytest.mark.parametrize("make_lab", ["postgres"], indirect=True)
def test_what_is_no_number_within_a_list_is_set_aside_by_postgres(lab: Lab) -> None:
    report = lab.write(job([NAN], [1.0])).run(executor="serial")
    assert report.quarantined == 1
    assert lab.ask("SELECT value FROM rows") == [{"value": [1.0]}]
    (failed,) = batten.open(lab.folder / "rows").quarantined()
    assert "JSON has no NaN" in failed.error


@pytest.mark.parametrize("pixel", [-1, 65_536, 70_000])
def test_pixels_that_png_would_clip_are_set_aside(pixel: int, tmp_path: Path) -> None:
    fits = Image.new("I", (2, 2), 65_535)
    clipped = fits.copy()
    clipped.putpixel((0, 0), pixel)
    made = job(fits, clipped).write_parquet(tmp_path / "out")
    assert made.run(executor="serial").quarantined == 1
    (failed,) = batten.open(tmp_path / "out").quarantined()
    assert (failed.key, "PNG holds no pixels" in failed.error) == ("1", True)


FINE_TIMES = [
    pa.timestamp("ns"),
    pa.timestamp("ns", "UTC"),
    pa.list_(pa.timestamp("ns")),
    pa.struct([("at", pa.timestamp("ns"))]),
]


@pytest.mark.parametrize("make_lab", ["delta"], indirect=True)
@pytest.mark.parametrize("kind", FINE_TIMES, ids=str)
def test_no_table_of_delta_is_made_that_its_library_can_not_read(
    lab: Lab, kind: pa.DataType
) -> None:
    with pytest.raises(RefusedError, match="Delta Lake has no type for the column 'value'"):
        lab.write(job(None, kind=kind)).run(executor="serial")
    assert lab.read() == []


@pytest.mark.parametrize("make_lab", ["delta"], indirect=True)
def test_a_column_that_delta_does_not_read_is_not_added(lab: Lab) -> None:
    def run(**columns: Any) -> None:
        made = batten.from_range(2).map(Gives([1, 2]), version="1")
        made = made.options(schema={"value": "int64", **columns})
        lab.write(made).run(executor="serial", accept_change=True, add_columns=True)

    run()
    with pytest.raises(RefusedError, match="timestampNanos"):
        run(at=pa.timestamp("ns"))
    assert [row["value"] for row in lab.read()] == [1, 2]


def test_an_array_of_bytes_gets_to_sqlite(tmp_path: Path) -> None:
    (found,) = read_sqlite(tmp_path, np.array([b"a"]))
    assert json.loads(found) == ["YQ=="]

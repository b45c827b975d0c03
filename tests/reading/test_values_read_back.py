"""What a row may hold, read back by batten, pandas, DuckDB and Polars: the same values."""

from __future__ import annotations

import datetime
import decimal
import enum
import importlib
import io
import uuid
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypedDict
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pydantic import BaseModel

import batten


class Colour(enum.Enum):
    RED = "red"


class Box(BaseModel):
    width: int
    corners: list[tuple[float, float]]


class Row(TypedDict):
    colour: Colour
    place: PurePosixPath
    pair: tuple[int, int]
    name: uuid.UUID
    price: Annotated[decimal.Decimal, pa.decimal128(10, 2)]
    zoned: Annotated[datetime.datetime, pa.timestamp("us", "Europe/Berlin")]
    fine: Annotated[Any, pa.timestamp("ns")]
    missing: str | None
    absent: float | None
    embedding: Annotated[Any, pa.list_(pa.float32(), 3)]
    grid: Annotated[Any, pa.list_(pa.list_(pa.int16()))]
    tensor: Annotated[Any, pa.fixed_shape_tensor(pa.uint8(), [2, 2, 2])]
    image: bytes
    box: Box


try:
    IMAGE: Any = importlib.import_module("PIL.Image")
except ImportError:
    IMAGE = None

ZONED = datetime.datetime(2026, 4, 24, 12, tzinfo=ZoneInfo("Europe/Berlin"))
NAME = uuid.UUID(int=7)
NANOSECONDS = 1_777_000_000_000_000_001


def make(number: int) -> Row:
    return {
        "colour": Colour.RED,
        "place": PurePosixPath("a/b"),
        "pair": (number, 2),
        "name": NAME,
        "price": decimal.Decimal("1.50"),
        "zoned": ZONED,
        "fine": pd.Timestamp(NANOSECONDS),
        "missing": pd.NA,  # type: ignore[typeddict-item]
        "absent": pd.NaT,  # type: ignore[typeddict-item]
        "embedding": np.array([1, 2, 3], np.float32),
        "grid": np.array([[1, 2], [3, 4]], np.int16),
        "tensor": np.arange(8, dtype=np.uint8).reshape(2, 2, 2),
        "image": b"PNG" if IMAGE is None else IMAGE.new("RGB", (2, 2), (9, 8, 7)),
        "box": Box(width=number, corners=[(0, 1)]),
    }


def by_batten(out: Path) -> list[dict[str, Any]]:
    rows = batten.open(out).to_arrow()
    fine = rows.column("fine").cast(pa.int64()).to_pylist()
    tensors = rows.column("tensor").combine_chunks()
    arrays = tensors.to_numpy_ndarray().tolist()
    plain = rows.drop_columns(["fine", "tensor"]).to_pylist()
    return [
        {**row, "fine": time, "tensor": array}
        for row, time, array in zip(plain, fine, arrays, strict=True)
    ]


def by_pandas(out: Path) -> list[dict[str, Any]]:
    return pd.read_parquet(out).to_dict("records")


def by_duckdb(out: Path) -> list[dict[str, Any]]:
    import duckdb

    query = f"SELECT * REPLACE (epoch_ns(fine) AS fine) FROM read_parquet('{out}/*.parquet')"
    with duckdb.connect() as connection:
        return connection.sql(query).to_arrow_table().to_pylist()


def by_polars(out: Path) -> list[dict[str, Any]]:
    import polars

    frame = polars.read_parquet(out / "*.parquet")
    return frame.with_columns(polars.col("fine").cast(polars.Int64)).to_dicts()


@pytest.mark.parametrize("read", [by_batten, by_pandas, by_duckdb, by_polars])
def test_every_reader_finds_the_values(
    read: Callable[[Path], list[dict[str, Any]]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    report = batten.from_range(2).map(make).write_parquet(out).run(executor="serial")
    assert report.quarantined == 0, [each.error for each in batten.open(out).quarantined()]
    rows = read(out)
    assert len(rows) == 2
    for number, row in enumerate(rows):
        assert (row["colour"], row["place"], row["name"]) == ("red", "a/b", str(NAME))
        assert list(row["pair"]) == [number, 2]
        assert row["price"] == decimal.Decimal("1.50")
        assert row["zoned"] == ZONED
        assert _nanoseconds(row["fine"]) == NANOSECONDS
        assert row["missing"] is None or row["missing"] is pd.NA or row["missing"] != row["missing"]
        assert row["absent"] is None or row["absent"] != row["absent"]
        assert np.array_equal(np.array(row["embedding"]), [1, 2, 3])
        assert np.array_equal(np.stack(list(row["grid"])), [[1, 2], [3, 4]])
        assert np.array_equal(np.array(row["tensor"]).ravel(), np.arange(8))
        assert IMAGE is None or IMAGE.open(io.BytesIO(row["image"])).getpixel((0, 0)) == (9, 8, 7)
        assert row["box"]["width"] == number
        assert np.array_equal(np.stack(list(row["box"]["corners"])), [[0, 1]])


def _nanoseconds(value: Any) -> int:
    return int(value.value) if isinstance(value, pd.Timestamp) else value

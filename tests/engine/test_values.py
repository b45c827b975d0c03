"""Values of Python, NumPy, pandas, PIL and pydantic: stored as what they are, in every destination,
or refused with the reason."""

from __future__ import annotations

import collections
import contextlib
import datetime
import decimal
import enum
import io
import ipaddress
import json
import pathlib
import sqlite3
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Annotated, Any, TypedDict
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import batten
from batten.rows.fitting import make_tensors
from batten.sinks.databases.copying import encode_copy, name_type

np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")


class Size(enum.Enum):
    SMALL = 1


class Mood(enum.StrEnum):
    GLAD = "glad"


class Pair(collections.namedtuple("Pair", "a b")):
    """A record within a row."""


BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime.datetime(2026, 4, 24, 12, tzinfo=BERLIN)
NAIVE = NOON.replace(tzinfo=None)
EXACT = pd.Timestamp("2026-04-24T12:00:00.000000001", tz="Europe/Berlin")

VALUES: dict[str, tuple[Any, str, Any]] = {
    "an enum": (Size.SMALL, "int64", 1),
    "an enum of texts": (Mood.GLAD, "string", "glad"),
    "a path": (pathlib.PurePosixPath("a/b"), "string", "a/b"),
    "a UUID": (uuid.UUID(int=5), "string", str(uuid.UUID(int=5))),
    "an address": (ipaddress.ip_address("127.0.0.1"), "string", "127.0.0.1"),
    "a tuple": ((1, 2), "list<element: int64>", [1, 2]),
    "a set": ({"b", "a", "c"}, "list<element: string>", ["a", "b", "c"]),
    "a frozen set of enums": (frozenset([Size.SMALL]), "list<element: int64>", [1]),
    "a deque": (collections.deque([1]), "list<element: int64>", [1]),
    "a range": (range(2), "list<element: int64>", [0, 1]),
    "a named tuple": (Pair(1, "x"), "struct<a: int64, b: string>", {"a": 1, "b": "x"}),
    "an ordered dict": (
        collections.OrderedDict(a=Size.SMALL),
        "struct<a: int64>",
        {"a": 1},
    ),
    "a decimal": (decimal.Decimal("1.50"), "decimal128(3, 2)", decimal.Decimal("1.50")),
    "a zoned time": (NOON, "timestamp[us, tz=Europe/Berlin]", NOON),
    "a time of pandas": (pd.Timestamp(NOON), "timestamp[us, tz=Europe/Berlin]", NOON),
    "nanoseconds": (EXACT, "timestamp[ns, tz=Europe/Berlin]", EXACT),
    "nanoseconds within": (
        {"at": EXACT},
        "struct<at: timestamp[ns, tz=Europe/Berlin]>",
        {"at": EXACT},
    ),
    "a duration": (pd.Timedelta("1s"), "duration[us]", datetime.timedelta(seconds=1)),
    "a duration in nanoseconds": (pd.Timedelta("1ns"), "duration[ns]", pd.Timedelta("1ns")),
    "a number of NumPy": (np.int16(3), "int16", 3),
    "a truth of NumPy": (np.bool_(True), "bool", True),
    "a time of NumPy": (
        np.datetime64("2026-04-24T12:00:00.000001"),
        "timestamp[us]",
        NAIVE.replace(microsecond=1),
    ),
    "an array": (np.ones(2, "float32"), "list<element: float>", [1.0, 1.0]),
    "an array of no dimension": (np.array(5), "int64", 5),
    "an array of two dimensions": (
        np.ones((2, 2), "uint8"),
        "list<element: list<element: uint8>>",
        [[1, 1], [1, 1]],
    ),
    "an array of objects": (
        np.array([Size.SMALL, None], object),
        "list<element: int64>",
        [1, None],
    ),
    "an array of times": (
        np.array(["2026-04-24T12:00", "NaT"], "datetime64[us]"),
        "list<element: timestamp[us]>",
        [NAIVE, None],
    ),
    "a masked array": (np.ma.array([1, 2], mask=[0, 1]), "list<element: int64>", [1, None]),
    "a series": (pd.Series([1, 2]), "list<element: int64>", [1, 2]),
    "an Arrow array": (pa.array([1, 2]), "list<element: int64>", [1, 2]),
}


class _Gives:
    def __init__(self, *values: Any) -> None:
        self.values = values

    def __call__(self, number: int) -> dict[str, Any]:
        return {"value": self.values[number]}


def _run(out: Path, *values: Any, **options: Any) -> pa.Table:
    pipeline = batten.from_range(len(values)).map(_Gives(*values), version="1")
    pipeline = pipeline.options(**options) if options else pipeline
    report = pipeline.write_parquet(out).run(executor="serial")
    failed = [each.error for each in batten.open(out).quarantined()]
    assert (report.status, failed) == ("complete", [])
    return pq.read_table(out)


@pytest.mark.parametrize(("value", "kind", "stored"), VALUES.values(), ids=VALUES)
def test_a_value_is_stored_as_what_it_is(
    value: Any, kind: str, stored: Any, tmp_path: Path
) -> None:
    column = _run(tmp_path / "out", value, value).column("value")
    assert (str(column.type), column.to_pylist()) == (kind, [stored, stored])


@pytest.mark.parametrize("missing", [pd.NaT, pd.NA, np.datetime64("NaT"), None])
@pytest.mark.parametrize("there", [5, NOON, "x"])
def test_what_is_missing_is_null(missing: Any, there: Any, tmp_path: Path) -> None:
    column = _run(tmp_path / "out", missing, there).column("value")
    assert column.to_pylist() == [None, there]
    column = _run(tmp_path / "within", {"a": missing, "b": 1}, {"a": there, "b": 1}).column("value")
    assert [each["a"] for each in column.to_pylist()] == [None, there]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([np.int64(1), 2], "int64"),
        ([np.int8(1), np.float64(2)], "double"),
        ([np.float32(1), 2.0], "double"),
        ([np.bool_(True), False], "bool"),
        ([decimal.Decimal("1.5"), decimal.Decimal("100.25")], "decimal128(5, 2)"),
        ([NOON, NOON.astimezone(datetime.UTC)], "timestamp[us, tz=Europe/Berlin]"),
    ],
)
def test_alike_values_share_a_column(values: list[Any], kind: str, tmp_path: Path) -> None:
    column = _run(tmp_path / "out", *values).column("value")
    assert (str(column.type), column.to_pylist()) == (kind, values)


def test_sets_have_one_order_in_every_process(tmp_path: Path) -> None:
    job = tmp_path / "job.py"
    job.write_text(
        "import batten\n"
        "pipeline = batten.from_range(1).map(lambda n: {'v': {'a', 'b', 'c', 'd', 1.5}})"
        ".map(lambda row: {'v': {str(each) for each in row['v']}}).write_parquet('out/')\n"
    )
    found = set()
    for seed in "012":
        command = [sys.executable, "-m", "batten", "run", str(job), "--fresh", "--quiet"]
        env = {"PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin"}
        subprocess.run(command, check=True, env=env, cwd=tmp_path)
        found.add(str(pq.read_table(tmp_path / "out").column("v").to_pylist()))
    assert found == {"[['1.5', 'a', 'b', 'c', 'd']]"}


class Embedded(TypedDict):
    vector: Annotated[Any, pa.list_(pa.float32(), 3)]
    image: Annotated[Any, pa.fixed_shape_tensor(pa.uint8(), [2, 3])]


def _embed(number: int) -> Embedded:
    if number == 1:
        return {"vector": np.ones(2), "image": np.ones((2, 3), "uint8")}
    if number == 2:
        return {"vector": np.ones(3), "image": np.ones((3, 2), "uint8")}
    if number == 3:
        return {"vector": None, "image": None}
    return {"vector": [number, 1, 2], "image": np.full((2, 3), number, "uint8")}


def test_arrays_of_a_declared_shape(tmp_path: Path) -> None:
    pipeline = batten.from_range(6).map(_embed)
    pipeline.write_parquet(tmp_path / "out").run(executor="serial")
    failed = {each.key: each.error for each in batten.open(tmp_path / "out").quarantined()}
    assert failed.keys() == {"1", "2"}
    assert "'vector'" in failed["1"]
    assert "'image'" in failed["2"]
    table = pq.read_table(tmp_path / "out")
    assert str(table.schema.field("vector").type) == "fixed_size_list<element: float>[3]"
    images = table.column("image").combine_chunks()
    assert images.type == pa.fixed_shape_tensor(pa.uint8(), [2, 3])
    assert [each.is_valid for each in images] == [True, False, True, True]
    assert images[3].to_numpy().tolist() == [[5, 5, 5], [5, 5, 5]]
    texts = {each.name: str(each.type) for each in [*batten.open(tmp_path / "out").schema][1:]}
    again = batten.from_range(1).map(_embed).options(schema=texts)
    again.write_parquet(tmp_path / "again").run(executor="serial")
    assert (
        pq.read_schema(tmp_path / "again" / "part-000000.parquet").field("image").type
        == images.type
    )


def test_an_image_is_stored_as_png(tmp_path: Path) -> None:
    made = Image.new("RGB", (2, 3), "red")
    column = _run(tmp_path / "out", made, None).column("value")
    assert column.type == pa.binary()
    back = Image.open(io.BytesIO(column[0].as_py()))
    assert (back.format, back.size, back.getpixel((0, 0))) == ("PNG", (2, 3), (255, 0, 0))
    found = batten.from_range(1).map(_Gives(Image.new("CMYK", (1, 1))), version="1")
    found.options(schema={"value": Image.Image}).write_parquet(tmp_path / "b").run(jobs=1)
    (failed,) = batten.open(tmp_path / "b").quarantined()
    assert "mode CMYK can't be stored as PNG; image.convert('RGB') can" in failed.error


@pytest.mark.parametrize("value", [object(), 1 + 2j, decimal.Decimal("NaN"), 2**64, np.array([1j])])
def test_what_no_column_holds_is_quarantined_by_its_name(value: Any, tmp_path: Path) -> None:
    pipeline = (
        batten.from_range(2)
        .map(_Gives(value, None), version="1")
        .options(schema={"value": "int64"})
    )
    report = pipeline.write_parquet(tmp_path / "out").run(executor="serial")
    assert (report.accounts.committed, report.accounts.quarantined) == (1, 1)
    (failed,) = batten.open(tmp_path / "out").quarantined()
    assert "the column 'value'" in failed.error


@pytest.mark.parametrize("kind", ["time64[us]", "list<item: time64[us]>"])
def test_a_time_of_day_with_a_zone_is_none_without(kind: str, tmp_path: Path) -> None:
    zoned, plain = datetime.time(1, tzinfo=datetime.UTC), datetime.time(1)
    values = ([zoned], [plain]) if kind.startswith("list") else (zoned, plain)
    made = batten.from_range(2).map(_Gives(*values), version="1").options(schema={"value": kind})
    report = made.write_parquet(tmp_path / "out").run(executor="serial")
    assert (report.accounts.committed, report.accounts.quarantined) == (1, 1)
    (failed,) = batten.open(tmp_path / "out").quarantined()
    assert "the column 'value': no column holds a time of day with its zone" in failed.error


def test_a_declared_map_takes_dicts(tmp_path: Path) -> None:
    kind = "map<string, int64>"
    column = _run(tmp_path / "out", {"a": 1}, [("b", 2)], None, {}, schema={"value": kind})
    assert column.column("value").to_pylist() == [[("a", 1)], [("b", 2)], None, []]
    pipeline = batten.from_range(2).map(_Gives({"a": "x"}, {1: 1}), version="1")
    pipeline = pipeline.options(schema={"value": kind})
    report = pipeline.write_parquet(tmp_path / "bad").run(executor="serial")
    assert report.accounts.quarantined == 2


TENSOR = pa.fixed_shape_tensor(pa.uint8(), [2, 2])
SINKS: dict[str, tuple[Any, pa.DataType, Any, Any]] = {
    "a zoned time": (NOON, pa.timestamp("us", "Europe/Berlin"), NOON.isoformat(), NOON.isoformat()),
    "nanoseconds": (
        EXACT,
        pa.timestamp("ns", "Europe/Berlin"),
        "2026-04-24T12:00:00.000000001+02:00",
        "2026-04-24T12:00:00.000000001+02:00",
    ),
    "a decimal": (decimal.Decimal("1.50"), pa.decimal128(5, 2), "1.50", "1.50"),
    "an embedding": (np.ones(2), pa.list_(pa.float32(), 2), [1.0, 1.0], "[1.0, 1.0]"),
    "a tensor": (np.eye(2, dtype="uint8"), TENSOR, [[1, 0], [0, 1]], "[[1, 0], [0, 1]]"),
    "an image": (b"PNG", pa.binary(), "UE5H", b"PNG"),
}


@pytest.mark.parametrize(("value", "kind", "as_json", "in_sqlite"), SINKS.values(), ids=SINKS)
def test_what_other_destinations_make_of_a_value(
    value: Any, kind: pa.DataType, as_json: Any, in_sqlite: Any, tmp_path: Path
) -> None:
    pipeline = batten.from_range(2).map(_Gives(value, None), version="1")
    pipeline = pipeline.options(schema={"value": kind})
    pipeline.write_jsonl(tmp_path / "out.jsonl").run(executor="serial")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["value"] for row in rows] == [as_json, None]
    pipeline.write_sqlite(tmp_path / "out.db", "made").run(executor="serial")
    with contextlib.closing(sqlite3.connect(tmp_path / "out.db")) as database:
        found = database.execute("SELECT value FROM made ORDER BY key").fetchall()
    assert found == [(in_sqlite,), (None,)]


@pytest.mark.parametrize(
    ("kind", "is_told"),
    [
        *((pa.list_(pa.float32(), 2), True), (TENSOR, True), (pa.binary(), True)),
        *((pa.timestamp("ns", "UTC"), False), (pa.decimal128(5, 2), False)),
    ],
    ids=str,
)
def test_csv_says_what_it_cannot_hold(kind: pa.DataType, is_told: bool, tmp_path: Path) -> None:
    pipeline = batten.from_range(1).map(_Gives(None), version="1").options(schema={"value": kind})
    pipeline = pipeline.write_csv(tmp_path / "out.csv")
    if is_told:
        with pytest.raises(batten.UsageError, match="CSV can't hold the column 'value'"):
            pipeline.run(executor="serial")
    else:
        assert pipeline.run(executor="serial").status == "complete"


def test_delta_says_what_it_cannot_hold(tmp_path: Path) -> None:
    pytest.importorskip("deltalake")
    pipeline = batten.from_range(1).map(_Gives(None), version="1")
    pipeline = pipeline.options(schema={"value": TENSOR}).write_delta(tmp_path / "lake")
    with pytest.raises(batten.RefusedError, match="Delta Lake has no type for the column 'value'"):
        pipeline.run(executor="serial")


def test_postgres_holds_tensors_as_lists() -> None:
    images = make_tensors(pa.chunked_array([pa.array([[[1, 0], [0, 1]], None])]), TENSOR)
    batch = pa.record_batch([images.chunk(0)], names=["value"])
    assert name_type(TENSOR) == "jsonb"
    assert encode_copy(batch).to_pybytes() == b'"[[1, 0], [0, 1]]"\n\n'


def test_a_library_that_has_zones_ignored_changes_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYARROW_IGNORE_TIMEZONE", "1")
    noon = datetime.datetime(2026, 4, 24, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    batten.from_range(2).map(lambda n: {"at": noon}).write_parquet(tmp_path / "out").run(
        executor="serial", progress=False
    )
    assert batten.open(tmp_path / "out").to_arrow()["at"].to_pylist() == [noon, noon]

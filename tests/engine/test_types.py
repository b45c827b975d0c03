"""Types that are printed can be given back, and what a class declares is used."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import pathlib
import random
import re
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any, Literal, NamedTuple, NewType, TypedDict

import pyarrow as pa
import pyarrow.parquet as pq
import pydantic
import pytest

import batten
from batten.rows.python_types import read_type
from batten.rows.schema import read_schema_option
from batten.rows.type_texts import read_type_text
from batten.run.identity import identify_pipeline
from batten.sinks.files.formats import FORMATS

LEAVES: list[pa.DataType] = [
    *(pa.null(), pa.bool_(), pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.float64()),
    *(pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary()),
    *(pa.binary_view(), pa.binary(16), pa.date32(), pa.date64(), pa.time32("s"), pa.time64("ns")),
    *(pa.timestamp("us"), pa.timestamp("ns", "UTC"), pa.timestamp("s", "Europe/Berlin")),
    *(pa.timestamp("ms", "+05:30"), pa.duration("ms"), pa.month_day_nano_interval()),
    *(pa.decimal32(5, 2), pa.decimal64(10, 2), pa.decimal128(10, -2), pa.decimal256(50, 3)),
    *(pa.uuid(), pa.json_(), pa.bool8()),
]


def _random_type(seeded: random.Random, depth: int) -> pa.DataType:
    if depth == 0 or seeded.random() < 0.2:
        return seeded.choice(LEAVES)

    def inner() -> pa.DataType:
        return _random_type(seeded, depth - 1)

    def field() -> pa.Field:
        name = seeded.choice(["a", "b c", "é", "x<y>", "[z]", "tz=", "not null"])
        kind = inner()
        return pa.field(name, kind, nullable=kind == pa.null() or seeded.random() < 0.7)

    makers: list[Callable[[], pa.DataType]] = [
        lambda: pa.list_(inner()),
        lambda: pa.list_(field()),
        lambda: pa.large_list(field()),
        lambda: pa.list_view(inner()),
        lambda: pa.large_list_view(inner()),
        lambda: pa.list_(field(), seeded.randrange(9)),
        lambda: pa.struct([field() for _ in range(seeded.randrange(4))]),
        lambda: pa.map_(seeded.choice(LEAVES[1:]), inner(), keys_sorted=seeded.random() < 0.3),
        lambda: pa.map_(pa.string(), pa.field("items", inner())),
        lambda: pa.dictionary(pa.int32(), inner(), ordered=seeded.random() < 0.3),
        lambda: pa.run_end_encoded(pa.int32(), inner()),
    ]
    return seeded.choice(makers)()


def test_every_printed_type_can_be_given_back(seeded: random.Random) -> None:
    kinds = [*LEAVES, *(_random_type(seeded, 4) for _ in range(3000))]
    for kind in kinds:
        found = read_type_text(str(kind))
        assert str(found) == str(kind)
        assert found.equals(kind), str(kind)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "strin",
            "list<item: string",
            "list<string>",
            "struct<a: int64,b: int8>",
            "map<string>",
        ),
        *("decimal128(10)", "timestamp[us, tz=UTC", "int64 ", "int64 x", "…", "list<item: …>"),
        *("fixed_size_list<item: int8>", "extension<who.knows>", "dictionary<values=string>"),
    ],
)
def test_what_is_no_type_is_refused_with_the_ways_to_say_one(text: str) -> None:
    if text == "int64 ":
        assert read_type_text(text) == pa.int64()
        return
    with pytest.raises(batten.UsageError, match=re.escape(repr(text))) as refused:
        read_schema_option({"a": text}, "key")
    assert "list[str]" in refused.value.next


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Box(TypedDict):
    left: int
    right: float


@dataclasses.dataclass
class Point:
    x: float
    y: float | None = None


class Span(NamedTuple):
    start: int
    stop: int


class Page(pydantic.BaseModel):
    title: str
    note: str | None = None
    tags: list[str] = []
    points: list[Point] = []
    colour: Colour = Colour.RED

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def size(self) -> int:
        return len(self.title)


TYPES: list[tuple[Any, str]] = [
    (str | None, "string"),
    (list[str], "list<item: string>"),
    (list[list[int]], "list<item: list<item: int64>>"),
    (set[bytes], "list<item: binary>"),
    (tuple[float, ...], "list<item: double>"),
    (tuple[int, int], "list<item: int64>"),
    (int | float | None, "double"),
    (Annotated[int, "of pixels"], "int64"),
    (Literal["a", "b"], "string"),
    (NewType("Name", str), "string"),
    (Colour, "string"),
    (pathlib.Path, "string"),
    (uuid.UUID, "string"),
    (datetime.datetime, "timestamp[us]"),
    (datetime.date, "date32[day]"),
    (datetime.timedelta, "duration[us]"),
    (decimal.Decimal, "decimal128(38, 9)"),
    (Box, "struct<left: int64, right: double>"),
    (list[Point], "list<item: struct<x: double, y: double>>"),
    (Span, "struct<start: int64, stop: int64>"),
    (pa.int8(), "int8"),
    ("timestamp[us, tz=UTC]", "timestamp[us, tz=UTC]"),
]


@pytest.mark.parametrize(("kind", "text"), TYPES, ids=[text for _, text in TYPES])
def test_types_of_python_are_types_of_columns(kind: Any, text: str) -> None:
    assert str(read_type(kind)) == text


@pytest.mark.parametrize("kind", [Any, object, dict[str, int], dict, list, int | str, 5, ...])
def test_types_that_say_too_little_are_refused(kind: Any) -> None:
    with pytest.raises(batten.UsageError, match="gives the column 'a' the type"):
        read_schema_option({"a": kind}, "key")


def test_a_class_of_rows_is_a_schema(tmp_path: Any) -> None:
    schema = read_schema_option(Page, "key")
    assert [f"{field.name}: {field.type}" for field in schema] == [
        "title: string",
        "note: string",
        "tags: list<item: string>",
        "points: list<item: struct<x: double, y: double>>",
        "colour: string",
        "size: int64",
    ]
    assert read_schema_option(Box, "left").names == ["right"]
    pipeline = batten.from_range(3).map(lambda n: Page(title="a" * n, points=[Point(1.0)]))
    pipeline.options(schema=Page).write_parquet(tmp_path / "out").run(executor="serial")
    (row, *_) = pq.read_table(tmp_path / "out").to_pylist()
    assert (row["points"], row["colour"]) == ([{"x": 1.0, "y": None}], "red")


def test_a_class_that_has_other_fields_is_another_schema() -> None:
    def digest(kind: Any) -> str:
        pipeline = batten.from_range(1).map(_as_page).options(schema=kind)
        return identify_pipeline(pipeline, {}).fingerprint.digest

    one = dataclasses.make_dataclass("Row", [("a", int)])
    other = dataclasses.make_dataclass("Row", [("a", str)])
    assert digest(one) != digest(other)
    assert digest({"row": one}) != digest({"row": other})
    assert digest(one) == digest(dataclasses.make_dataclass("Row", [("a", int)]))


def _as_page(number: int) -> Page:
    return Page(title=str(number))


def _as_pages(number: int) -> Iterator[Page]:
    yield Page(title=str(number))


async def _as_page_later(number: int) -> Page:
    return Page(title=str(number))


async def _as_pages_later(number: int) -> AsyncIterator[Page]:
    yield Page(title=str(number))


class _Maker:
    def __call__(self, number: int) -> Page | None:
        return Page(title=str(number))


def _is_anything(_: Page) -> bool:
    return True


def _as_noted(number: int) -> Page:
    return Page(title=str(number), note="at last" if number == 4 else None)


@pytest.mark.parametrize(
    "step",
    [
        ("map", _as_page),
        ("map", _as_page_later),
        ("map", _Maker),
        ("map", _Maker()),
        ("flat_map", _as_pages),
        ("flat_map", _as_pages_later),
    ],
    ids=["map", "async map", "class", "object", "flat_map", "async flat_map"],
)
def test_what_is_declared_is_used_where_no_row_has_a_value(step: Any, tmp_path: Any) -> None:
    kind, function = step
    pipeline = getattr(batten.from_range(4), kind)(function)
    pipeline = pipeline.filter(_is_anything) if kind == "map" else pipeline
    report = pipeline.write_parquet(tmp_path / "out").run()
    assert report.status == "complete"
    schema = pq.read_table(tmp_path / "out").schema
    assert str(schema.field("note").type) == "string"
    assert schema.field("tags").type.value_type == pa.string()


def test_a_first_batch_without_a_value_stops_no_job(tmp_path: Any) -> None:
    pipeline = batten.from_range(6).map(_as_noted).options(batch_size=2)
    report = pipeline.write_parquet(tmp_path / "out").run(executor="serial")
    assert (report.status, report.accounts.quarantined) == ("complete", 0)
    notes = pq.read_table(tmp_path / "out").column("note").to_pylist()
    assert notes == [None, None, None, None, "at last", None]


def _undeclared(number: int) -> dict[str, Any]:
    return {"tags": ["x"], "meta": {"k": 1.5, "when": None}, "what": None, "at": _AT}


_AT = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def test_what_the_refusal_says_can_be_pasted(tmp_path: Any) -> None:
    pipeline = batten.from_range(3).map(_undeclared)
    with pytest.raises(batten.UsageError, match="can't be known") as refused:
        pipeline.write_parquet(tmp_path / "out").run(executor="serial")
    advised = re.search(r"\.options\(schema=(\{.*\})\)", refused.value.next)
    assert advised is not None
    assert '"meta": "struct<k: double, when: …>"' in advised[1]
    schema = eval(advised[1].replace("…", "string"))
    pipeline = pipeline.options(schema=schema)
    report = pipeline.write_parquet(tmp_path / "out").run(executor="serial")
    assert (report.status, report.accounts.quarantined) == ("complete", 0)


def _count(number: int) -> dict[str, int]:
    return {"n": number}


UNFIT: list[pa.DataType] = [
    *(pa.decimal128(5, -2), pa.list_(pa.decimal256(5, -2)), pa.month_day_nano_interval()),
    *(pa.dense_union([pa.field("a", pa.int8())]), pa.binary(0)),
    *(pa.run_end_encoded(pa.int32(), pa.string()), pa.dictionary(pa.int8(), pa.list_(pa.int8()))),
]


@pytest.mark.parametrize("kind", UNFIT, ids=str)
def test_a_type_that_no_file_can_hold_is_refused_before_anything_is_done(
    kind: pa.DataType, tmp_path: pathlib.Path
) -> None:
    called: list[int] = []
    made = batten.from_range(3).map(called.append).options(schema=pa.schema([("a", kind)]))
    with pytest.raises(batten.UsageError, match=r"'a' the type .* which Parquet can't hold"):
        made.write_parquet(tmp_path / "out").run(executor="serial")
    assert (called, list(tmp_path.iterdir())) == ([], [])
    with pytest.raises(batten.UsageError, match="Parquet can't hold the column 'a'"):
        FORMATS["parquet"](pa.schema([("a", kind)]))


@pytest.mark.parametrize("kind", UNFIT, ids=str)
def test_tables_with_a_type_that_no_file_can_hold_are_refused(
    kind: pa.DataType, tmp_path: pathlib.Path
) -> None:
    def make(batch: pa.Table) -> pa.Table:
        return batch.append_column("a", pa.nulls(len(batch), kind))

    made = batten.from_range(3).map(_count).map_batches(make).write_parquet(tmp_path / "out")
    with pytest.raises(batten.UsageError, match=r"'a' of type .* Parquet can't hold") as told:
        made.run(executor="serial")
    assert "Give the column another type" in told.value.next
    assert batten.diagnose(tmp_path / "out").state == "INTERRUPTED"


def test_types_with_a_field_that_is_never_null_can_be_held(tmp_path: pathlib.Path) -> None:
    kind = pa.struct([pa.field("a", pa.int8(), nullable=False)])
    made = batten.from_range(3).map(lambda n: {"a": {"a": n}}, version="1")
    made = made.options(schema=pa.schema([pa.field("a", kind)]))
    made.write_parquet(tmp_path / "out").run(executor="serial")
    assert pq.read_table(tmp_path / "out").schema.field("a").type == kind


@pytest.mark.parametrize("batch_size", [1, 2, 6])
@pytest.mark.parametrize("depth", [1, 2])
def test_a_record_may_be_null_though_its_fields_may_not(
    depth: int, batch_size: int, tmp_path: pathlib.Path
) -> None:
    def make(number: int) -> dict[str, Any]:
        value: Any = {"a": number}
        for _ in range(1, depth):
            value = {"a": value}
        return {"d": value if number in (0, 5) else None}

    kind: pa.DataType = pa.int8()
    for _ in range(depth):
        kind = pa.struct([pa.field("a", kind, nullable=False)])
    made = batten.from_range(6).map(make, version="1").options(schema=pa.schema([("d", kind)]))
    made = made.options(batch_size=batch_size)
    report = made.write_parquet(tmp_path / "out").run(executor="serial")
    assert (report.accounts.committed, report.accounts.quarantined) == (6, 0)
    read = pq.read_table(tmp_path / "out").column("d").to_pylist()
    assert read == [make(number)["d"] for number in range(6)]


def test_values_that_are_no_columns_are_stored_as_what_stands_for_them(tmp_path: Any) -> None:
    np = pytest.importorskip("numpy")

    def work(number: int) -> dict[str, Any]:
        if number == 2:
            return {"path": object()}
        return {
            "path": pathlib.Path("a/b"),
            "id": uuid.UUID(int=number),
            "colour": Colour.BLUE,
            "pair": (1, 2),
            "spans": [Span(1, 2), Span(3, 4)],
            "point": Point(1.0, 2.0),
            "image": np.eye(2),
        }

    report = batten.from_range(3).map(work).write_parquet(tmp_path / "out").run(executor="serial")
    assert report.accounts.quarantined == 1
    (row, _) = pq.read_table(tmp_path / "out").drop_columns(["key"]).to_pylist()
    assert row == {
        "path": "a/b",
        "id": str(uuid.UUID(int=0)),
        "colour": "blue",
        "pair": [1, 2],
        "spans": [{"start": 1, "stop": 2}, {"start": 3, "stop": 4}],
        "point": {"x": 1.0, "y": 2.0},
        "image": [[1.0, 0.0], [0.0, 1.0]],
    }

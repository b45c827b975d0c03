"""The fields of a row class are the schema, named by `schema=` or by a return annotation."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Generic, NamedTuple, NotRequired, TypedDict, TypeVar
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pydantic
import pytest

import batten
from batten.rows.declared import find_declared
from batten.rows.python_types import read_type


class Box(TypedDict):
    left: int
    note: NotRequired[str]


@dataclasses.dataclass
class Reading:
    number: int
    ratio: float = 0.5
    label: str | None = None


class Model(pydantic.BaseModel):
    number: int
    ratio: float = 0.5
    label: str | None = None


class Pair(NamedTuple):
    number: int
    ratio: float = 0.5
    label: str | None = None


class Fields(TypedDict):
    number: int
    ratio: float
    label: str | None


def _as_reading(n: int) -> Reading:
    return Reading(n)


def _as_model(n: int) -> Model | None:
    return Model(number=n)


def _as_pair(n: int) -> Pair:
    return Pair(n)


def _as_dict(n: int) -> Fields:
    return {"label": None, "number": n, "ratio": 1}


def _as_many(n: int) -> list[Reading]:
    return [Reading(n)]


def _as_stream(n: int) -> Iterator[Reading]:
    yield Reading(n)


def _none_at_all(n: int) -> list[Reading]:
    return []


def _run(tmp_path: Path, function: Callable[..., Any], kind: str = "map", **options: Any) -> Any:
    pipeline = getattr(batten.from_range(3), kind)(function)
    pipeline = pipeline.options(**options) if options else pipeline
    return pipeline.write_parquet(tmp_path / "out").run(executor="serial")


def _columns(tmp_path: Path) -> list[str]:
    schema = pq.read_schema(tmp_path / "out" / "part-000000.parquet")
    return [f"{each.name}: {each.type}" for each in schema][1:]


@pytest.mark.parametrize(
    ("kind", "function"),
    [
        *(("map", _as_reading), ("map", _as_model), ("map", _as_pair), ("map", _as_dict)),
        *(("flat_map", _as_many), ("flat_map", _as_stream), ("flat_map", _none_at_all)),
        ("map", functools.partial(_as_reading)),
    ],
)
@pytest.mark.parametrize("is_named", [False, True])
def test_the_fields_are_the_schema(
    kind: str, function: Any, is_named: bool, tmp_path: Path
) -> None:
    if is_named:
        pipeline = getattr(batten.from_range(3), kind)(lambda n: function(n))
        report = pipeline.options(schema=Model).write_parquet(tmp_path / "out").run(jobs=1)
    else:
        report = _run(tmp_path, function, kind)
    assert (report.status, report.accounts.quarantined) == ("complete", 0)
    assert _columns(tmp_path) == ["number: int64", "ratio: double", "label: string"]


def test_a_class_within_a_function_is_found(tmp_path: Path) -> None:
    @dataclasses.dataclass
    class Row:
        number: int
        label: str | None = None

    def work(n: int) -> Row:
        return Row(n)

    _run(tmp_path, work)
    assert _columns(tmp_path) == ["number: int64", "label: string"]


def test_a_wrong_value_names_the_field_and_the_item(tmp_path: Path) -> None:
    def work(n: int) -> Fields:
        wrong: Any = "two" if n == 0 else n
        return {"number": wrong, "ratio": 1.0, "label": None}

    report = _run(tmp_path, work)
    assert (report.accounts.committed, report.accounts.quarantined) == (2, 1)
    (failed,) = batten.open(tmp_path / "out").quarantined()
    assert failed.key == "0"
    assert "the column 'number' is string, the dataset's is int64" in failed.error


class Inner(TypedDict):
    sizes: list[int]


class Outer(TypedDict):
    name: str
    inner: Inner


def test_a_wrong_value_within_names_its_place(tmp_path: Path) -> None:
    def work(n: int) -> Outer:
        wrong: Any = ["x"] if n == 1 else [n]
        return {"name": "a", "inner": {"sizes": wrong}}

    _run(tmp_path, work)
    (failed,) = batten.open(tmp_path / "out").quarantined()
    assert "the column 'inner.sizes[]' is string, the dataset's is int64" in failed.error


@dataclasses.dataclass
class Event:
    at: datetime.datetime
    price: decimal.Decimal
    times: list[datetime.datetime]
    seen: datetime.datetime | None = None


def test_what_a_type_leaves_open_the_first_rows_settle(tmp_path: Path) -> None:
    berlin = ZoneInfo("Europe/Berlin")

    def work(n: int) -> Event:
        at = datetime.datetime(2026, 4, 24 + n, 12, tzinfo=berlin)
        return Event(at, decimal.Decimal("1.00000000001"), [at])

    report = _run(tmp_path, work)
    assert report.accounts.quarantined == 0
    assert _columns(tmp_path) == [
        "at: timestamp[us, tz=Europe/Berlin]",
        "price: decimal128(38, 11)",
        "times: list<element: timestamp[us, tz=Europe/Berlin]>",
        "seen: timestamp[us]",
    ]
    pipeline = batten.from_range(3).map(work).options(schema=Event)
    assert pipeline.write_parquet(tmp_path / "named").run(jobs=1).accounts.quarantined == 0


class Aliased(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(serialize_by_alias=True)
    frames: int = pydantic.Field(serialization_alias="Frames")
    secret: str = pydantic.Field(default="x", exclude=True)
    address: pydantic.HttpUrl = pydantic.HttpUrl("http://example.org/")
    at: pydantic.AwareDatetime = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    price: Annotated[decimal.Decimal, pydantic.Field(max_digits=10, decimal_places=2)] = (
        decimal.Decimal("1.50")
    )
    shown: Annotated[int, pydantic.PlainSerializer(str, return_type=str)] = 5
    written: datetime.date = datetime.date(2026, 1, 1)
    names: pydantic.RootModel[list[str]] = pydantic.RootModel[list[str]](["a"])
    inner: Model = Model(number=1)
    either: int | float = 1

    @pydantic.field_serializer("written")
    def write(self, day: datetime.date) -> str:
        return day.isoformat()

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> int:
        return self.frames * 2


def _as_aliased(n: int) -> Aliased:
    return Aliased(frames=n)


def test_a_model_of_pydantic_is_taken_as_it_is_dumped(tmp_path: Path) -> None:
    assert _run(tmp_path, _as_aliased).accounts.quarantined == 0
    assert _columns(tmp_path) == [
        *("Frames: int64", "address: string", "at: timestamp[us, tz=UTC]"),
        *("price: decimal128(10, 2)", "shown: string", "written: string"),
        "names: list<element: string>",
        "inner: struct<number: int64, ratio: double, label: string>",
        *("either: double", "double: int64"),
    ]
    pipeline = batten.from_range(3).map(lambda n: Aliased(frames=n)).options(schema=Aliased)
    assert pipeline.write_parquet(tmp_path / "named").run(jobs=1).accounts.quarantined == 0


class Loose(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    number: int
    anything: Any = None


def _as_loose(n: int) -> Loose:
    return Loose(number=n, anything="x", more=1.5)  # type: ignore[call-arg]


def test_a_class_that_says_not_all_leaves_the_rest_to_the_rows(tmp_path: Path) -> None:
    assert _run(tmp_path, _as_loose).accounts.quarantined == 0
    assert _columns(tmp_path) == ["number: int64", "anything: string", "more: double"]


class Node(TypedDict):
    name: str
    children: list[Node]


@dataclasses.dataclass
class Strange:
    a: int
    b: NoSuchName  # type: ignore[name-defined] # noqa: F821


_Untyped = collections.namedtuple("_Untyped", "a b")
T = TypeVar("T")


@dataclasses.dataclass
class Held(Generic[T]):
    value: T


def _as_node(n: int) -> Node: ...  # type: ignore[empty-body]
def _as_strange(n: int) -> Strange: ...  # type: ignore[empty-body]
def _as_untyped(n: int) -> _Untyped: ...  # type: ignore[empty-body]
def _as_held(n: int) -> Held[int]: ...  # type: ignore[empty-body]
def _as_nothing(n: int) -> None: ...
def _as_text(n: int) -> str: ...  # type: ignore[empty-body]


@pytest.mark.parametrize(
    "function", [_as_node, _as_strange, _as_untyped, _as_held, _as_nothing, _as_text, len, print]
)
def test_odd_annotations_stop_no_job(function: Any) -> None:
    pipeline = batten.from_range(1).map(function)
    declared = find_declared(pipeline.steps, None, "key")
    assert not declared.is_settled


def test_a_class_that_holds_itself_is_refused_as_a_schema(tmp_path: Path) -> None:
    with pytest.raises(batten.UsageError, match="holds itself"):
        _run(tmp_path, _as_text, schema=Node)


def test_a_type_of_arrow_beside_one_of_python_says_it_exactly() -> None:
    class Vectors(TypedDict):
        embedding: Annotated[list[float], pa.list_(pa.float32(), 3)]
        small: Annotated[int, pa.int8()] | None

    found = find_declared((), Vectors, "key")
    assert found.schema == pa.schema({"embedding": pa.list_(pa.float32(), 3), "small": pa.int8()})
    assert found.is_settled
    assert read_type(list[Annotated[int, pa.int8()]]) == pa.list_(pa.int8())

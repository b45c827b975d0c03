"""What Avro can hold: types of columns and values of items."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastavro
import pyarrow as pa
import pytest
from tests.kafka.registry import Registry

from batten.errors import RefusedError
from batten.inspect.show import show
from batten.sinks.kafka.avro.rows import list_values

if TYPE_CHECKING:
    from batten.crashlab.servers.broker import Broker


from tests.kafka.avro import job, read_without_registry
from tests.kafka.rows import run, see_failure

LOCAL = datetime.fromisoformat("2026-04-24T06:00")
ALL: dict[str, tuple[pa.DataType, Any, Any]] = {
    "none": (pa.null(), None, None),
    "flag": (pa.bool_(), True, True),
    "small": (pa.int8(), -5, -5),
    "unsigned": (pa.uint32(), 2**32 - 1, 2**32 - 1),
    "large": (pa.int64(), -(2**63), -(2**63)),
    "half": (pa.float16(), 0.5, 0.5),
    "real": (pa.float64(), 1.25, 1.25),
    "text": (pa.large_string(), "ä\0", "ä\0"),
    "raw": (pa.binary(), b"\xff", b"\xff"),
    "fixed": (pa.binary(3), b"abc", b"abc"),
    "cents": (pa.decimal128(38, 2), Decimal("-12.30"), Decimal("-12.30")),
    "wide": (pa.decimal256(76, 0), Decimal("9" * 76), Decimal("9" * 76)),
    "day": (pa.date32(), date(1969, 12, 31), date(1969, 12, 31)),
    "day64": (pa.date64(), date(1969, 12, 31), date(1969, 12, 31)),
    "at": (pa.time32("s"), time(1, 2, 3), time(1, 2, 3)),
    "at_micros": (pa.time64("us"), time(1, 2, 3, 4), time(1, 2, 3, 4)),
    "since": (
        pa.timestamp("us", "Europe/Berlin"),
        datetime(2026, 4, 24, 6, 0, 0, 1, tzinfo=UTC),
        datetime(2026, 4, 24, 6, 0, 0, 1, tzinfo=UTC),
    ),
    "local": (pa.timestamp("s"), LOCAL, LOCAL),
    "nanos": (pa.timestamp("ns", "UTC"), pa.scalar(7, pa.int64()), 7),
    "tags": (pa.list_(pa.string()), ["a", None], ["a", None]),
    "pairs": (pa.list_(pa.int32(), 2), [1, 2], [1, 2]),
    "view": (pa.list_view(pa.int64()), [1], [1]),
    "inner": (
        pa.struct({"since": pa.date32(), "of": pa.list_(pa.struct({"x": pa.binary(1)}))}),
        {"since": date(2026, 4, 24), "of": [{"x": b"y"}]},
        {"since": date(2026, 4, 24), "of": [{"x": b"y"}]},
    ),
    "counts": (pa.map_(pa.string(), pa.int64()), {"-type": 1, "b": None}, {"-type": 1, "b": None}),
    "numbered": (
        pa.map_(pa.int64(), pa.date32()),
        [(1, date(2026, 4, 24))],
        [{"key": 1, "value": date(2026, 4, 24)}],
    ),
    "word": (pa.dictionary(pa.int8(), pa.string()), "x", "x"),
    "grid": (pa.fixed_shape_tensor(pa.int64(), [2, 2]), None, None),
}
"""By column: its type, a value, and what a reader gets."""


def make_batch() -> pa.RecordBatch:
    """A row of values and a row of nulls, in the middle of others."""
    arrays = []
    for kind, value, _ in ALL.values():
        if isinstance(value, pa.Scalar):
            arrays.append(pa.array([None, value.as_py(), None, None], pa.int64()).cast(kind))
        elif isinstance(kind, pa.BaseExtensionType):
            storage = pa.array([None, [1, 2, 3, 4], None, None], kind.storage_type)
            arrays.append(pa.ExtensionArray.from_storage(kind, storage))
        else:
            arrays.append(pa.array([None, value, None, None], kind))
    return pa.RecordBatch.from_arrays(arrays, names=list(ALL)).slice(1, 2)


def test_all_types_are_read_back(registry: Registry, tmp_path: Path) -> None:
    from batten.sinks.kafka.avro.format import AvroValues
    from batten.sinks.kafka.sink import KafkaSink

    sink = KafkaSink(topic="t", servers="x", format="avro", schema_registry=registry.address)
    values = AvroValues(sink, None)  # type: ignore[arg-type]
    batch = make_batch()
    values.prepare(batch.schema)
    [schema] = registry.schemas.values()
    there, nulls = [
        fastavro.schemaless_reader(io.BytesIO(each[5:]), json.loads(schema), None)
        for each in values.encode(batch)
        if isinstance(each, bytes)
    ]
    expected = {name: told for name, (_, _, told) in ALL.items()}
    assert there == {**expected, "grid": [[1, 2], [3, 4]]}
    assert nulls == dict.fromkeys(ALL)
    assert values.encode(batch.slice(0, 0)) == []


def test_columns_that_can_not_be_null_are_no_unions(registry: Registry) -> None:
    from batten.sinks.kafka.avro.schemas import make_schema

    fields = [pa.field("a", pa.int64(), nullable=False), pa.field("b", pa.int64())]
    assert make_schema(pa.schema(fields), "Row")["fields"] == [
        {"name": "a", "type": "long"},
        {"name": "b", "type": ["null", "long"], "default": None},
    ]


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"a b": pa.int64()}, "column 'a b' has a name that Avro does not allow"),
        ({"ä": pa.int64()}, "column 'ä' has a name"),
        ({"a": pa.struct({"1": pa.int64()})}, "column 'a.1' has a name"),
        ({"a": pa.list_(pa.struct({"x-y": pa.int64()}))}, "column 'a.x-y' has a name"),
        ({"a": pa.duration("s")}, r"column 'a' is duration\[s\]"),
        ({"a": pa.uint64()}, "column 'a' is uint64"),
        ({"a": pa.time64("ns")}, r"column 'a' is time64\[ns\]"),
    ],
    ids=repr,
)
def test_columns_that_avro_can_not_have_are_refused_before_anything_is_written(
    schema: dict[str, pa.DataType], told: str, broker: Broker, topic: str, tmp_path: Path
) -> None:
    def nothing(number: int) -> dict[str, None]:
        return dict.fromkeys(schema)

    given = {"key": pa.int64(), **schema}
    raised = see_failure(RefusedError, told, job(broker, topic, tmp_path, nothing, schema=given))
    assert 'format="json"' in raised.next
    topics = broker.admin().list_topics(timeout=30).topics
    assert not [each for each in topics if each.startswith(topic)]


def repeat(number: int) -> dict[str, Any]:
    return {"counts": [("a", 1), ("a" if number == 3 else "b", 2)]}


def test_an_item_that_avro_can_not_hold_is_set_aside(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    schema = {"key": pa.int64(), "counts": pa.map_(pa.string(), pa.int64())}
    report = run(job(broker, topic, tmp_path, repeat, schema=schema))
    assert (report.accounts.committed, report.accounts.quarantined) == (5, 1)
    (failed,) = show(tmp_path / "out").quarantined
    assert (failed.key, "Avro can't hold it" in failed.error) == ("3", True)
    assert [row["key"] for row in read_without_registry(broker, topic)] == [0, 1, 2, 4, 5]


def test_schemas_that_differ_in_what_numbers_mean_have_fingerprints_of_their_own(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    """A fingerprint leaves the scale out."""

    def price(number: int) -> dict[str, Decimal]:
        return {"price": Decimal("1.5")}

    for scale in (1, 3):
        schema = {"key": pa.int64(), "price": pa.decimal128(9, scale)}
        folder = tmp_path / str(scale)
        folder.mkdir()
        run(job(broker, topic, folder, price, items=1, schema=schema, dataset=str(scale)))
    assert [str(row["price"]) for row in read_without_registry(broker, topic)] == ["1.5", "1.500"]


def test_seconds_are_told_in_what_avro_has() -> None:
    kept = pa.array([timedelta(0).seconds, None, 5], pa.int32()).cast(pa.time32("s"))
    assert list_values(kept) == [0, None, 5000]

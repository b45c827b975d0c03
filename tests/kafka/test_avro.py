"""Values of Avro, with a schema registry and without one."""

from __future__ import annotations

import inspect
import io
import json
import pickle
import random
import sqlite3
import struct
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastavro
import pyarrow as pa
import pytest
from tests.kafka.registry import Fault, Registry

import batten
from batten.crashlab.servers.broker_relay import Asked, BrokerRelay, nth
from batten.crashlab.servers.relay import Mishap
from batten.errors import RefusedError, StorageError, UsageError
from batten.inspect.show import show
from batten.kafka import registry as registry_client
from batten.kafka import schema_topic
from batten.kafka.schema_topic import ENDING
from batten.pipeline.pipeline import Pipeline
from batten.sinks.kafka import destination
from batten.sinks.kafka.avro import format
from batten.sinks.kafka.avro.rows import list_values
from batten.sinks.kafka.tokens import ENDING as TOKENS
from batten.testing.kills import kill_at_line

if TYPE_CHECKING:
    from batten.crashlab.servers.broker import Broker

KILLS = 3
LINES = 200
HELD = "hunter2-of-the-test"
LOCAL = datetime.fromisoformat("2026-04-24T06:00")


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry().running() as made:
        yield made


def double(number: int) -> dict[str, int]:
    return {"double": 2 * number}


def job(
    broker: Broker, topic: str, folder: Path, make: Any = double, *, items: int = 6, **options: Any
) -> Pipeline:
    made = batten.from_range(items).map(make, version="1").options(batch_size=2)
    if schema := options.pop("schema", None):
        made = made.options(schema=schema)
    given = {"servers": broker.servers, "format": "avro", **options}
    written = made.write_kafka(topic, **given)
    return replace(written, output=folder / "out")


def run(pipeline: Pipeline, **options: Any) -> Any:
    return pipeline.run(executor="serial", **options)


def read_without_registry(broker: Broker, topic: str) -> list[Any]:
    """As the guide says it."""
    schemas = {
        each.key(): fastavro.parse_schema(json.loads(each.value()))
        for each in broker.read(topic + ENDING)
    }

    def decode(value: bytes) -> Any:
        assert value[:2] == b"\xc3\x01"
        return fastavro.schemaless_reader(io.BytesIO(value[10:]), schemas[value[2:10]], None)

    return [decode(each.value()) for each in broker.read(topic)]


def read_with_confluent(broker: Broker, topic: str, registry: Registry) -> list[Any]:
    """By the deserializer that others read with."""
    from confluent_kafka.schema_registry import SchemaRegistryClient
    from confluent_kafka.schema_registry.avro import AvroDeserializer
    from confluent_kafka.serialization import MessageField, SerializationContext

    decode = AvroDeserializer(SchemaRegistryClient({"url": registry.address}))
    context = SerializationContext(topic, MessageField.VALUE)
    return [decode(each.value(), context) for each in broker.read(topic)]


def test_without_a_registry_schemas_lie_in_a_topic(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    run(job(broker, topic, tmp_path))
    rows = [{"key": number, "double": 2 * number} for number in range(6)]
    assert read_without_registry(broker, topic) == rows
    run(job(broker, topic, tmp_path, items=8))
    assert len(read_without_registry(broker, topic)) == 8
    assert len({each.key() for each in broker.read(topic + ENDING)}) == 1
    policy = broker.admin().list_topics(timeout=30).topics[topic + ENDING]
    assert len(policy.partitions) == 1


def test_confluents_deserializer_reads_what_was_registered(
    broker: Broker, topic: str, registry: Registry, tmp_path: Path
) -> None:
    registry.schemas[1] = "of another subject"
    run(job(broker, topic, tmp_path, schema_registry=registry.address))
    assert registry.versions == {f"{topic}-value": [2]}
    rows = [{"key": number, "double": 2 * number} for number in range(6)]
    assert read_with_confluent(broker, topic, registry) == rows
    assert {each.value()[:5] for each in broker.read(topic)} == {struct.pack(">bI", 0, 2)}
    assert broker.read(topic + ENDING) == []
    again = run(job(broker, topic, tmp_path, schema_registry=registry.address))
    assert again.status == "nothing-to-do"


def test_a_second_destination_gets_its_schema_before_the_first_gets_rows(
    broker: Broker, topic: str, registry: Registry, tmp_path: Path
) -> None:
    registry.fails = (409, b'{"error_code": 409, "message": "It is incompatible"}')
    made = batten.from_range(6).map(double, version="1").options(batch_size=2)
    first = made.write_sqlite(tmp_path / "rows.db", table="rows", ledger=tmp_path / "out")
    given = {"servers": broker.servers, "format": "avro", "schema_registry": registry.address}
    both = first.write_kafka(topic, **given)
    with pytest.raises(RefusedError, match="HTTP 409"):
        run(both)
    with closing(sqlite3.connect(tmp_path / "rows.db")) as base:
        tables = base.execute("SELECT name FROM sqlite_master WHERE name = 'rows'").fetchall()
        assert [base.execute("SELECT * FROM rows").fetchall() for _ in tables] in ([], [[]])
    run(both)
    assert [row["key"] for row in read_with_confluent(broker, topic, registry)] == list(range(6))


def test_batches_of_before_and_after_a_new_column_are_read_alike(
    broker: Broker, topic: str, registry: Registry, tmp_path: Path
) -> None:
    registry.fails = (500, b"")
    pipeline = job(broker, topic, tmp_path, schema_registry=registry.address)
    with pytest.raises(StorageError):
        run(pipeline, limit=4)
    more = job(broker, topic, tmp_path, add, schema_registry=registry.address)
    run(more, accept_change=True, add_columns=True)
    rows = read_with_confluent(broker, topic, registry)
    assert [(row["key"], row["double"]) for row in rows] == [(n, 2 * n) for n in range(6)]
    assert [row.get("triple") for row in rows][-2:] == [12, 15]


def test_without_transactions_the_schema_is_there_too(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    run(job(broker, topic, tmp_path, transactions=False))
    assert [row["key"] for row in read_without_registry(broker, topic)] == list(range(6))


@pytest.mark.parametrize("failure", list(Mishap), ids=lambda each: each.name)
@pytest.mark.parametrize("request_kind", [Asked.CREATE_TOPICS, Asked.PRODUCE])
def test_a_connection_fails_while_a_schema_is_written(
    request_kind: Asked,
    failure: Mishap,
    broker: Broker,
    relay: BrokerRelay,
    topic: str,
    tmp_path: Path,
) -> None:
    relay.fail(nth(request_kind, 0), failure)
    seconds = 2.0 if failure in (Mishap.HANG_BEFORE, Mishap.HANG_AFTER) else 20.0
    with suppress(StorageError):
        run(job(broker, topic, tmp_path, servers=relay.servers, timeout_seconds=seconds))
    relay.fail(None, failure)
    run(job(broker, topic, tmp_path, servers=relay.servers))
    assert [row["key"] for row in read_without_registry(broker, topic)] == list(range(6))


def test_killed_at_any_line_each_value_has_its_schema(
    broker: Broker, registry: Registry, topic: str, tmp_path: Path, seeded: random.Random
) -> None:
    files = [inspect.getfile(each) for each in (destination, format, registry_client, schema_topic)]
    for name, options in (("a", {}), ("b", {"schema_registry": registry.address})):
        folder, own = tmp_path / name, f"{topic}-{name}"
        folder.mkdir()
        pipeline = job(broker, own, folder, **options)
        for number in range(KILLS):
            is_killed = kill_at_line(
                lambda each=pipeline: run(each), files, seeded.randrange(1, LINES)
            )
            assert is_killed or number
            if options:
                read_with_confluent(broker, own, registry)
            else:
                read_without_registry(broker, own)
        run(pipeline)
    assert [row["key"] for row in read_without_registry(broker, f"{topic}-a")] == list(range(6))
    rows = read_with_confluent(broker, f"{topic}-b", registry)
    assert [row["key"] for row in rows] == list(range(6))


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
    with pytest.raises(RefusedError, match=told) as raised:
        run(job(broker, topic, tmp_path, nothing, schema=given))
    assert 'format="json"' in raised.value.next
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


def add(number: int) -> dict[str, int]:
    return {"double": 2 * number, "triple": 3 * number}


def rename(number: int) -> dict[str, str]:
    return {"double": str(number)}


def test_what_does_not_fit_the_subject_is_refused_before_anything_is_written(
    broker: Broker, topic: str, registry: Registry, tmp_path: Path
) -> None:
    run(job(broker, topic, tmp_path, schema_registry=registry.address))
    for name, make, fits in (("other", rename, False), ("more", add, True)):
        folder = tmp_path / name
        folder.mkdir()
        pipeline = job(broker, topic, folder, make, dataset=name, schema_registry=registry.address)
        if fits:
            run(pipeline)
            continue
        with pytest.raises(RefusedError, match=r"HTTP 409: .*incompatible") as raised:
            run(pipeline)
        assert f"the schemas that {topic}-value has" in raised.value.next
        assert len(broker.read(topic)) == 6
    assert [row.get("triple") for row in read_with_confluent(broker, topic, registry)][6:] == [
        3 * number for number in range(6)
    ]


@pytest.mark.parametrize(
    "fails",
    [
        *Fault,
        *((status, b"") for status in (500, 503, 429, 408)),
        (500, b'{"error_code": 50001, "message": "Error in the backend data store"}'),
        *((200, body) for body in (b"", b"<html>", b"[]", b'{"id": "1"}', b'{"id": -1}')),
        (200, b'{"id": true}'),
        (200, b'{"id": 2147483648}'),
        (200, b"[" * 100_000),
    ],
    ids=lambda each: str(each)[:40],
)
def test_a_registry_that_fails_is_told_and_the_next_run_goes_on(
    fails: Any, broker: Broker, topic: str, registry: Registry, tmp_path: Path
) -> None:
    registry.fails = fails
    seconds = 1 if fails is Fault.HANGS else 20
    pipeline = job(
        broker, topic, tmp_path, schema_registry=registry.address, timeout_seconds=seconds
    )
    with pytest.raises(StorageError, match=f"Registering the schema {topic}-value at") as raised:
        run(pipeline)
    assert "a schema registry answers there, then run the same command again" in raised.value.next
    assert broker.read(topic) == []
    run(job(broker, topic, tmp_path, schema_registry=registry.address))
    assert [row["key"] for row in read_with_confluent(broker, topic, registry)] == list(range(6))
    assert registry.versions == {f"{topic}-value": [1]}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((404, b"<html>no such page"), "HTTP 404"),
        ((401, b'{"error_code": 401, "message": "Unauthorized"}'), "HTTP 401: Unauthorized"),
        ((403, b""), "HTTP 403"),
        ((422, b'{"error_code": 42201, "message": "Invalid\\n  schema."}'), "Invalid schema"),
        ((307, b""), "HTTP 307"),
    ],
    ids=str,
)
def test_a_registry_that_says_no_is_told(
    answer: Any, told: str, broker: Broker, topic: str, registry: Registry, tmp_path: Path
) -> None:
    registry.fails = answer
    with pytest.raises(RefusedError, match=told):
        run(job(broker, topic, tmp_path, schema_registry=registry.address))
    assert len(registry.asked) == 1
    assert broker.read(topic) == []


def test_a_registry_that_is_not_there_is_told(broker: Broker, topic: str, tmp_path: Path) -> None:
    gone = "http://127.0.0.1:1"
    with pytest.raises(StorageError, match="refused"):
        run(job(broker, topic, tmp_path, schema_registry=gone))
    assert broker.read(topic) == []


def test_a_password_is_read_when_it_is_needed_and_kept_nowhere(
    broker: Broker,
    topic: str,
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = registry.address.removeprefix("http://")
    login = b64encode(f"me@home:{HELD}".encode()).decode()
    registry.authorization = f"Basic {login}"
    monkeypatch.delenv("REGISTRY_ADDRESS", raising=False)
    pipeline = job(broker, topic, tmp_path, schema_registry=batten.Secret("REGISTRY_ADDRESS"))
    with pytest.raises(UsageError, match="REGISTRY_ADDRESS is not set"):
        run(pipeline)
    assert list(tmp_path.iterdir()) == []
    for wrong in (f"http://me:{HELD}@", f"{HELD}://{place}"):
        monkeypatch.setenv("REGISTRY_ADDRESS", wrong)
        with pytest.raises(UsageError, match="REGISTRY_ADDRESS") as raised:
            run(pipeline)
        assert HELD not in str(raised.value)
    monkeypatch.setenv("REGISTRY_ADDRESS", f"http://me:wrong-{HELD}@{place}")
    with pytest.raises(RefusedError, match="HTTP 401") as refused:
        run(pipeline)
    assert HELD not in str(refused.value)
    monkeypatch.setenv("REGISTRY_ADDRESS", f"http://me%40home:{HELD}@{place}/")
    run(pipeline)
    assert len(broker.read(topic)) == 6
    assert HELD not in repr(pipeline)
    assert HELD.encode() not in pickle.dumps(pipeline.sinks)
    held = (HELD.encode(), login.encode())
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not [each for each in files if any(secret in each for secret in held)]
    for name in (topic, topic + TOKENS):
        values = [each.value() for each in broker.read(name)]
        assert not [each for each in values if any(secret in each for secret in held)]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"schema_registry": "http://me:secret@registry"}, "has an @"),
        ({"schema_registry": "schemas.example:8081"}, "no address of a registry"),
        ({"schema_registry": "ftp://registry"}, "no address of a registry"),
        ({"schema_registry": "http://schemas.example:8081?x=1"}, "no address of a registry"),
        ({"schema_registry": "http://registry:x"}, "no address of a registry"),
        ({"schema_registry": 5}, "is no address"),
        ({"schema_registry": "http://registry", "format": "json"}, "is for values of Avro"),
    ],
)
def test_options_that_can_not_be_are_refused(
    options: dict[str, Any], told: str, tmp_path: Path
) -> None:
    made = batten.from_range(3).map(double, version="1")
    given = {"servers": "localhost:9092", "format": "avro", **options}
    with pytest.raises(UsageError, match=told):
        run(replace(made.write_kafka("rows", **given), output=tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [f"of{ENDING}", "x" * 235])
def test_a_topic_whose_schemas_could_not_lie_beside_it_is_refused(
    name: str, broker: Broker, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="can't get rows"):
        run(job(broker, name, tmp_path))


def test_schemas_that_may_expire_are_refused(broker: Broker, topic: str, tmp_path: Path) -> None:
    broker.make(topic + ENDING, cleanup_policy="delete")
    with pytest.raises(RefusedError, match="keep schemas for ever"):
        run(job(broker, topic, tmp_path))
    assert broker.read(topic) == []


def test_seconds_are_told_in_what_avro_has() -> None:
    kept = pa.array([timedelta(0).seconds, None, 5], pa.int32()).cast(pa.time32("s"))
    assert list_values(kept) == [0, None, 5000]


class Decode:
    """As the guide has it."""

    def __init__(self, address: str) -> None:
        from confluent_kafka.schema_registry import SchemaRegistryClient
        from confluent_kafka.schema_registry.avro import AvroDeserializer

        self._decode = AvroDeserializer(SchemaRegistryClient({"url": address}))

    def __call__(self, message: dict[str, Any]) -> dict[str, Any]:
        return {"order": self._decode(message["value"], None)["key"]}


def test_values_of_avro_are_landed_and_decoded_by_a_step(
    broker: Broker, topic: str, registry: Registry, tmp_path: Path
) -> None:
    run(job(broker, topic, tmp_path, schema_registry=registry.address))
    landed = batten.from_kafka(
        topic, servers=broker.servers, into=tmp_path / "landed", format="bytes"
    )
    decode = Decode(registry.address)
    run(landed.map(decode, version="1").write_parquet(tmp_path / "orders"))
    rows = batten.open(tmp_path / "orders").to_arrow().to_pylist()
    assert [row["order"] for row in rows] == list(range(6))

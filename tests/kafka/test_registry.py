"""Values of Avro with a schema registry, which may fail or say no."""

from __future__ import annotations

import pickle
import struct
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.kafka.registry import Fault, Registry

import batten
from batten.errors import RefusedError, StorageError, UsageError
from batten.kafka.schema_topic import ENDING
from batten.sinks.kafka.tokens import ENDING as TOKENS

if TYPE_CHECKING:
    from batten.crashlab.servers.broker import Broker


from tests.kafka.avro import add, job, read_with_confluent
from tests.kafka.rows import double, run, see_failure

HELD = "hunter2-of-the-test"


def rename(number: int) -> dict[str, str]:
    return {"double": str(number)}


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
        raised = see_failure(RefusedError, r"HTTP 409: .*incompatible", pipeline)
        assert f"the schemas that {topic}-value has" in raised.next
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
    raised = see_failure(StorageError, f"Registering the schema {topic}-value at", pipeline)
    assert "a schema registry answers there, then run the same command again" in raised.next
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
    see_failure(RefusedError, told, job(broker, topic, tmp_path, schema_registry=registry.address))
    assert len(registry.asked) == 1
    assert broker.read(topic) == []


def test_a_registry_that_is_not_there_is_told(broker: Broker, topic: str, tmp_path: Path) -> None:
    gone = "http://127.0.0.1:1"
    see_failure(StorageError, "refused", job(broker, topic, tmp_path, schema_registry=gone))
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
    see_failure(UsageError, "REGISTRY_ADDRESS is not set", pipeline)
    assert list(tmp_path.iterdir()) == []
    for wrong in (f"http://me:{HELD}@", f"{HELD}://{place}"):
        monkeypatch.setenv("REGISTRY_ADDRESS", wrong)
        raised = see_failure(UsageError, "REGISTRY_ADDRESS", pipeline)
        assert HELD not in str(raised)
    monkeypatch.setenv("REGISTRY_ADDRESS", f"http://me:wrong-{HELD}@{place}")
    refused = see_failure(RefusedError, "HTTP 401", pipeline)
    assert HELD not in str(refused)
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
    see_failure(
        UsageError, told, replace(made.write_kafka("rows", **given), output=tmp_path / "out")
    )
    assert list(tmp_path.iterdir()) == []


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

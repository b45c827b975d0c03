"""Jobs whose rows go to a topic."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from tests.kafka.rows import ask_topic, double, job, list_keys, run, see_failure
from tests.kafka.watching import watching

import batten
from batten.crashlab.staging import SCHEMA, stage_batch
from batten.errors import BusyError, InconsistentError, RefusedError, UsageError
from batten.inspect.diagnose import diagnose
from batten.inspect.show import show
from batten.model.disk.destinations.delivery import CAN_NOT_BE_ASKED, Delivery
from batten.model.disk.destinations.tokens import PublishEnd
from batten.model.disk.records import decode_record, encode_record
from batten.plan.differs_errors import ChangedJobError
from batten.sinks.kafka.sink import KafkaSink
from batten.sinks.kafka.tokens import ENDING
from batten.testing.opening import open_sink

if TYPE_CHECKING:
    from batten.crashlab.servers.broker import Broker


def test_rows_keys_and_headers(broker: Broker, topic: str, tmp_path: Path) -> None:
    run(job(broker, topic, tmp_path, key="double"))
    found = broker.read(topic)
    assert [json.loads(each.value()) for each in found] == [
        {"key": number, "double": 2 * number} for number in range(12)
    ]
    assert [each.key() for each in found] == [str(2 * number).encode() for number in range(12)]
    assert found[5].headers() == [
        ("batten-dataset", b"out"),
        ("batten-batch", b"1"),
        ("batten-key", b"5"),
    ]
    again = run(job(broker, topic, tmp_path, key="double"))
    assert (again.status, len(broker.read(topic))) == ("nothing-to-do", 12)


OF_JAVA = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
}
"""What Kafka's own tests say of its hash of keys."""


def test_keys_go_to_the_partition_that_java_chooses(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    broker.make(topic, partitions=7)
    made = batten.from_items(list(OF_JAVA)).map(lambda text: {"text": text}, version="1")
    written = made.write_kafka(topic, servers=broker.servers, key="text")
    run(replace(written, output=tmp_path / "out"))
    found = {each.key().decode(): each.partition() for each in broker.read(topic)}
    assert found == {text: (number & 0x7FFFFFFF) % 7 for text, number in OF_JAVA.items()}


def test_batches_without_keys_go_round_the_partitions(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    broker.make(topic, partitions=2)
    run(job(broker, topic, tmp_path))
    found = [(each.partition(), json.loads(each.value())["key"]) for each in broker.read(topic)]
    assert found == [(0, n) for n in (0, 1, 2, 3, 8, 9, 10, 11)] + [(1, n) for n in (4, 5, 6, 7)]


def test_values_of_arrow_bring_their_columns(broker: Broker, topic: str, tmp_path: Path) -> None:
    run(job(broker, topic, tmp_path, format="arrow", items=3))
    rows = [
        pa.ipc.open_stream(io.BytesIO(each.value())).read_all().to_pylist()
        for each in broker.read(topic)
    ]
    assert rows == [[{"key": number, "double": 2 * number}] for number in range(3)]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"format": "xml"}, "none of"),
        ({"config": {"transactional.id": "x"}}, "by itself"),
        ({"key": "absent"}, "no column 'absent'"),
    ],
)
def test_what_can_not_be_is_told_first(
    options: dict[str, Any], told: str, broker: Broker, topic: str, tmp_path: Path
) -> None:
    with pytest.raises((UsageError, RefusedError), match=told):
        run(job(broker, topic, tmp_path, **options))
    assert broker.read(topic) == []


def test_an_older_process_of_the_same_name_can_add_nothing_more(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    sink = KafkaSink(topic=topic, servers=broker.servers, timeout_seconds=20)
    older, newer = open_sink(sink, tmp_path), open_sink(sink, tmp_path)
    try:
        older.prepare(SCHEMA)
        assert older.publish(stage_batch(0, [0, 1])) is PublishEnd.COMMITTED
        assert newer.publish(stage_batch(1, [2, 3])) is PublishEnd.COMMITTED
        with pytest.raises(BusyError, match="has taken over"):
            older.publish(stage_batch(2, [4, 5]))
        assert newer.publish(stage_batch(2, [4, 5])) is PublishEnd.COMMITTED
    finally:
        older.close()
        newer.close()
    assert list_keys(broker, topic) == list(range(6))


def test_without_transactions_the_weaker_promise_is_told(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    pipeline = job(broker, topic, tmp_path, transactions=False)
    report = run(pipeline, limit=4)
    assert report.destinations[0].promise == "at least once"
    run(pipeline)
    assert list_keys(broker, topic) == list(range(12))
    assert broker.read(topic + ENDING) == []
    found = diagnose(tmp_path / "out")
    assert found.unseen == {f"topic {topic} at {broker.servers}": CAN_NOT_BE_ASKED}
    assert found.to_json()["destinations"][0]["promise"] == "at least once"
    assert show(tmp_path / "out").to_json()["destinations"][0]["promise"] == "at least once"
    run(job(broker, topic, tmp_path, transactions=False, items=14))
    assert list_keys(broker, topic) == list(range(14))


def test_batches_that_were_given_without_tokens_are_told_as_that(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    run(job(broker, topic, tmp_path, transactions=False), limit=8)
    told = see_failure(
        InconsistentError, "given batches without tokens", job(broker, topic, tmp_path)
    )
    assert "transactions=False" in told.next
    run(job(broker, topic, tmp_path, transactions=False))
    assert list_keys(broker, topic) == list(range(12))


def test_verify_asks_the_topic(broker: Broker, topic: str, tmp_path: Path) -> None:
    run(job(broker, topic, tmp_path))
    assert ask_topic(tmp_path).findings == ()
    broker.delete([topic + ENDING])
    (lacking,) = ask_topic(tmp_path).findings
    assert "it has no token of 3 batches" in lacking.evidence
    broker.delete([topic])
    (gone,) = ask_topic(tmp_path).findings
    assert "it is gone" in gone.evidence


@pytest.mark.parametrize(
    "changed",
    [{"format": "arrow"}, {"format": "avro"}, {"key": "double"}, {"transactions": False}],
    ids=str,
)
def test_rows_of_another_form_do_not_come_beside_those_there_unasked(
    changed: dict[str, Any], broker: Broker, topic: str, tmp_path: Path
) -> None:
    with_tokens = {"transactions": changed.get("transactions", True)}
    run(job(broker, topic, tmp_path, **with_tokens), limit=4)
    now = {"format": "arrow", **with_tokens, **changed}
    told = see_failure(
        ChangedJobError,
        "given 1 batch with json values and no keys",
        job(broker, topic, tmp_path, **now),
    )
    assert "(accept_change=True)" in told.next
    see_failure(
        ChangedJobError,
        "would now get rows with",
        job(broker, topic, tmp_path, **now),
        dry_run=True,
    )
    assert len(broker.read(topic)) == 4
    run(job(broker, topic, tmp_path, **now), limit=8, accept_change=True)
    assert len(broker.read(topic)) == 8
    see_failure(
        ChangedJobError,
        r"given 2 batches with (arrow|avro) values",
        job(broker, topic, tmp_path, **with_tokens),
    )


@pytest.mark.parametrize("transactions", [True, False])
def test_another_form_is_noticed_where_the_source_grew(
    transactions: bool, broker: Broker, topic: str, tmp_path: Path
) -> None:
    given = {"transactions": transactions}
    run(job(broker, topic, tmp_path, **given))
    for options in ({"items": 20}, {"items": 20}):
        with pytest.raises(ChangedJobError):
            run(job(broker, topic, tmp_path, format="arrow", **given, **options))
    assert len(broker.read(topic)) == 12
    run(job(broker, topic, tmp_path, items=20, **given))
    assert len(broker.read_rows(topic)) == 20


def test_a_form_that_is_accepted_where_nothing_is_left_to_do_is_that_of_later_batches(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    run(job(broker, topic, tmp_path))
    with pytest.raises(ChangedJobError):
        run(job(broker, topic, tmp_path, format="arrow"))
    run(job(broker, topic, tmp_path, format="arrow"), accept_change=True)
    assert run(job(broker, topic, tmp_path, format="arrow")).status == "nothing-to-do"
    run(job(broker, topic, tmp_path, format="arrow", items=13))
    assert len(broker.read(topic)) == 13


def test_a_record_of_an_earlier_batten_says_no_form(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    run(job(broker, topic, tmp_path), limit=4)
    (record,) = (tmp_path / "out.batten" / "deliveries").iterdir()
    known = decode_record(Delivery, record.read_bytes())
    assert known.form == "json values and no keys"
    record.write_bytes(encode_record(replace(known, form="")))
    run(job(broker, topic, tmp_path, format="arrow"))
    assert decode_record(Delivery, record.read_bytes()).form == "arrow values and no keys"


def test_what_changed_at_a_destination_is_told_by_diagnose_too(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    run(job(broker, topic, tmp_path), limit=4)
    with pytest.raises(ChangedJobError):
        run(job(broker, topic, tmp_path, key="double"))
    assert "accept_change=True" in str(diagnose(tmp_path / "out").to_json())


def test_batches_that_end_early_wait_for_those_before_them(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    """With several workers, too, who reads all the while sees them in the order of the plan."""
    broker.make(topic)
    gate = tmp_path / "gate"
    os.mkfifo(gate)

    def work(number: int) -> dict[str, int]:
        # The first item waits until the last one of the second batch is worked on.
        if number in (0, 5):
            gate.open("rb" if number == 0 else "wb").close()
        return double(number)

    pipeline = job(broker, topic, tmp_path, work, items=30, batch_size=3)
    with watching(broker.servers) as watcher:
        watcher.watch(topic, [list(range(first, first + 3)) for first in range(0, 30, 3)])
        pipeline.run(executor="processes", jobs=3)
        assert watcher.ask()
    assert list_keys(broker, topic) == list(range(30))

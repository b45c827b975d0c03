"""What a topic takes, and topics that go, change or are made anew meanwhile."""

from __future__ import annotations

import json
import os
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from tests.kafka.landing import make_producer
from tests.kafka.rows import ask_topic, double, job, list_keys, run, see_failure

import batten
from batten.errors import InconsistentError, RefusedError
from batten.inspect.show import show
from batten.kafka.cluster import Cluster
from batten.sinks.kafka.tokens import ENDING

if TYPE_CHECKING:
    from batten.crashlab.servers.broker import Broker


def grow(number: int) -> dict[str, str]:
    """No compression makes it small."""
    return {"text": os.urandom(3000 if number == 5 else 10).hex()}


def test_an_item_that_is_too_large_is_set_aside(broker: Broker, topic: str, tmp_path: Path) -> None:
    broker.make(topic, max_message_bytes="2000")
    report = run(job(broker, topic, tmp_path, grow))
    assert (report.accounts.committed, report.accounts.quarantined) == (11, 1)
    keys = list_keys(broker, topic)
    assert keys == [number for number in range(12) if number != 5]
    (failed,) = show(tmp_path / "out").quarantined
    assert failed.key == "5"
    assert "the topic takes 2,000" in failed.error


def test_a_batch_of_many_small_messages_fits_a_topic_of_small_ones(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    broker.make(topic, max_message_bytes="2000")
    run(job(broker, topic, tmp_path, items=400, batch_size=400))
    assert list_keys(broker, topic) == list(range(400))


@pytest.mark.parametrize("transactions", [True, False])
def test_the_first_rows_come_in_a_later_run(
    transactions: bool, broker: Broker, topic: str, tmp_path: Path
) -> None:
    """No item gave a row before, so the dataset is made anew, and its batches have other rows."""

    def is_large(item: dict[str, int]) -> bool:
        return item["number"] >= 4

    def keep(item: dict[str, int]) -> dict[str, int]:
        return item

    def write(name: str, items: int) -> None:
        lines = "".join(json.dumps({"number": number}) + "\n" for number in range(items))
        (tmp_path / "in.jsonl").write_text(lines)
        made = batten.from_jsonl(tmp_path / "in.jsonl", key="number").filter(is_large).map(keep)
        written = made.options(batch_size=2).write_kafka(
            f"{topic}-{name}", servers=broker.servers, transactions=transactions
        )
        for _ in range(2):
            run(replace(written, output=tmp_path / name))
            found = [row["number"] for row in broker.read_rows(f"{topic}-{name}")]
            assert found == list(range(4, items))

    for items in (3, 4, 7, 12):
        write("grown", items)
    write("at-once", 12)


@pytest.mark.parametrize("transactions", [True, False])
def test_a_compacted_topic_takes_rows_with_a_key_alone(
    transactions: bool, broker: Broker, topic: str, tmp_path: Path
) -> None:
    def leave_out(number: int) -> dict[str, str | None]:
        return {"name": None if number == 5 else f"n{number}"}

    broker.make(topic, cleanup_policy="compact")
    told = see_failure(
        RefusedError,
        "takes no message without a key",
        job(broker, topic, tmp_path, transactions=transactions),
    )
    assert "key=…" in told.next
    keyed = tmp_path / "keyed"
    report = run(job(broker, topic, keyed, leave_out, key="name", transactions=transactions))
    assert (report.accounts.committed, report.accounts.quarantined) == (11, 1)
    (failed,) = show(keyed / "out").quarantined
    assert (failed.key, "has no key" in failed.error) == ("5", True)


@pytest.mark.parametrize("transactions", [True, False])
def test_why_a_broker_did_not_take_a_message_is_told(
    transactions: bool,
    broker: Broker,
    topic: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Here nobody knew before that it would not: to read its settings may be forbidden."""
    monkeypatch.setattr(Cluster, "read_setting", lambda *_: "")
    broker.make(topic, cleanup_policy="compact")
    told = see_failure(
        RefusedError, "INVALID_RECORD", job(broker, topic, tmp_path, transactions=transactions)
    )
    assert told.next.startswith("Correct the topic, or config=…")
    assert broker.read(topic) == []


def test_a_token_may_be_larger_than_the_topic_lets_a_row_be(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    """It tells what became of each item, and lies in another topic."""

    def leave_out(number: int) -> list[dict[str, int]]:
        return [double(number)] * (number % 2)

    broker.make(topic, max_message_bytes="1000")
    made = batten.from_range(2000).flat_map(leave_out, version="1").options(batch_size=2000)
    written = made.write_kafka(topic, servers=broker.servers)
    run(replace(written, output=tmp_path / "out"))
    (token,) = broker.read(topic + ENDING)
    assert len(token.value()) > 1000
    assert len(broker.read(topic)) == 1000


@pytest.mark.parametrize("transactions", [True, False])
def test_a_topic_may_take_larger_messages_than_clients_send(
    transactions: bool, broker: Broker, topic: str, tmp_path: Path
) -> None:
    broker.make(topic, max_message_bytes="2000000000")
    run(job(broker, topic, tmp_path, transactions=transactions))
    assert len(broker.read(topic)) == 12


def test_a_topic_with_another_id_is_told(broker: Broker, topic: str, tmp_path: Path) -> None:
    """Also where it has as many messages. The broker of the tests gives no ids, so tokens do."""
    run(job(broker, topic, tmp_path), limit=8)
    producer = make_producer(broker)
    for each in broker.read(topic + ENDING):
        told = {**json.loads(each.value()), "topic_id": f"of-{each.key().decode()}"}
        producer.produce(topic + ENDING, json.dumps(told), each.key(), 0)
    producer.flush(30)
    see_failure(InconsistentError, "was made anew: it has another id", job(broker, topic, tmp_path))
    assert len(broker.read(topic)) == 8


@pytest.mark.parametrize("is_made_anew", [False, True])
def test_a_topic_that_is_gone_is_told(
    is_made_anew: bool, broker: Broker, topic: str, tmp_path: Path
) -> None:
    pipeline = job(broker, topic, tmp_path)
    run(pipeline, limit=4)
    broker.delete([topic])
    if is_made_anew:
        broker.make(topic)
    see_failure(InconsistentError, "made anew" if is_made_anew else "is gone", pipeline)
    assert broker.read(topic) == []
    broker.delete([topic, topic + ENDING])
    see_failure(InconsistentError, "has it no more", pipeline)


def test_a_topic_with_more_partitions_is_written_on(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    run(job(broker, topic, tmp_path, key="double"), limit=4)
    broker.grow(topic, 3)
    run(job(broker, topic, tmp_path, key="double"))
    found = broker.read(topic)
    assert sorted(json.loads(each.value())["key"] for each in found) == list(range(12))
    for partition in range(3):
        keys = [json.loads(m.value())["key"] for m in found if m.partition() == partition]
        assert keys == sorted(keys)


@pytest.mark.parametrize("is_gone", [False, True])
def test_a_topic_changes_while_a_run_writes_to_it(
    is_gone: bool, broker: Broker, topic: str, tmp_path: Path
) -> None:
    def change(number: int) -> dict[str, int]:
        if number == 7:
            broker.delete([topic]) if is_gone else broker.grow(topic, 4)
        return double(number)

    given = {"items": 30, "batch_size": 3, "timeout_seconds": 20}
    pipeline = job(broker, topic, tmp_path, change, **given)
    if is_gone:
        see_failure(InconsistentError, r"is gone|was made anew", pipeline)
        return
    run(pipeline)
    assert sorted(row["key"] for row in broker.read_rows(topic)) == list(range(30))


@pytest.mark.parametrize("is_made_anew", [False, True])
def test_the_topic_of_tokens_goes_while_a_run_writes(
    is_made_anew: bool, broker: Broker, topic: str, tmp_path: Path
) -> None:
    def change(number: int) -> dict[str, int]:
        if number == 7:
            broker.delete([topic + ENDING])
            if is_made_anew:
                broker.make(topic + ENDING)
        return double(number)

    given = {"items": 30, "batch_size": 3, "timeout_seconds": 20}
    pipeline = job(broker, topic, tmp_path, change, **given)
    see_failure(InconsistentError, f"{topic + ENDING} (is gone|was made anew)", pipeline)
    assert len(broker.read(topic)) < 9
    assert broker.read(topic + ENDING) == []


def test_tokens_that_may_expire_are_refused(broker: Broker, topic: str, tmp_path: Path) -> None:
    broker.make(topic + ENDING, cleanup_policy="delete")
    see_failure(RefusedError, "keep tokens for ever", job(broker, topic, tmp_path))
    assert broker.read(topic) == []


def test_a_broker_hears_later_of_a_topic_that_was_made(
    broker: Broker, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[str] = set()
    ask = AdminClient.describe_configs

    def hear_later(admin: AdminClient, resources: list[Any]) -> Any:
        (resource,) = resources
        if resource.name in asked:
            return ask(admin, resources)
        asked.add(resource.name)
        answer: Future[Any] = Future()
        answer.set_exception(KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)))
        return {resource: answer}

    monkeypatch.setattr(AdminClient, "describe_configs", hear_later)
    run(job(broker, topic, tmp_path))
    assert asked == {topic, topic + ENDING}
    assert len(broker.read(topic)) == 12


def test_a_topic_is_known_by_its_id(
    broker: Broker, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here another one of that name has as many messages as it had."""
    find = Cluster.find_topic

    def give_id(id: str) -> None:
        def give(cluster: Cluster, name: str) -> Any:
            found = find(cluster, name)
            return found and found._replace(id=f"{id} of {name}" if name == topic else "")

        monkeypatch.setattr(Cluster, "find_topic", give)

    give_id("one")
    run(job(broker, topic, tmp_path), limit=4)
    assert ask_topic(tmp_path).findings == ()
    give_id("two")
    see_failure(InconsistentError, "it has another id", job(broker, topic, tmp_path))
    (told,) = ask_topic(tmp_path).findings
    assert "it has another id" in told.evidence
    give_id("one")
    run(job(broker, topic, tmp_path))
    assert len(broker.read(topic)) == 12

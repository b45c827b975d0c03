"""What is odd about topics, settings and offsets is told, and loses nothing."""

from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.kafka import rows
from tests.kafka.landing import begin, forget, job, make_producer, make_with, send, values
from tests.kafka.rows import ask_topic, run, see_failure

import batten
from batten.errors import InconsistentError, UsageError
from batten.kafka.client_errors import tell
from batten.kafka.cluster import Topic
from batten.pipeline.topics.landing import (
    READER,
    Reached,
    TopicPlace,
    _begin,
    _land_partition,
    land_topic,
    look_at_topic,
    save_reached,
)
from batten.sinks.kafka.tokens import ENDING

if TYPE_CHECKING:
    from batten.crashlab.servers.broker import Broker

HELD = "hunter2-of-the-test"


def place_of(topic: str, servers: str, into: Path, **more: Any) -> TopicPlace:
    given: dict[str, Any] = {"group": "", "config": {}, "timeout_seconds": 20, **more}
    return TopicPlace(topic=topic, servers=servers, into=into, **given)


def test_a_token_that_was_taken_away_is_lacking_before_compaction_as_after_it(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    run(rows.job(broker, topic, tmp_path))
    producer = make_producer(broker)
    producer.produce(topic + ENDING, None, b'["out",1]', 0)
    producer.flush(30)
    (lacking,) = ask_topic(tmp_path).findings
    assert "no token of 1 batch" in lacking.evidence


@pytest.mark.parametrize("name", ["a/b", "..", "ä", "", "x" * 250, "x" * 240, f"of{ENDING}"])
def test_what_is_no_name_of_a_topic_for_rows_is_refused(
    name: str, broker: Broker, tmp_path: Path
) -> None:
    pipeline = rows.job(broker, name, tmp_path, ledger="rows")
    see_failure(UsageError, r"can't (be the name of a topic|get rows)", pipeline)
    assert list(tmp_path.iterdir()) == []


def test_what_goes_before_the_first_landing_of_a_partition_is_lost(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    broker.make(topic)
    pipeline = job(broker, topic, tmp_path)
    run(pipeline)
    send(broker, topic, *range(6))
    forget(broker, topic, 2)
    see_failure(InconsistentError, "the offsets 0 to 1 of partition 0", pipeline)


def test_a_landing_begins_where_the_topic_does(broker: Broker, topic: str, tmp_path: Path) -> None:
    make_with(broker, topic, *range(6))
    forget(broker, topic, 2)
    run(job(broker, topic, tmp_path, until="0:1"))
    run(job(broker, topic, tmp_path, until="0:4"))
    assert values(tmp_path) == ["2", "3"]
    forget(broker, topic, 5)
    (tmp_path / "landed" / "reached.json").unlink()
    see_failure(
        InconsistentError, "the offsets 4 to 4 of partition 0", job(broker, topic, tmp_path)
    )


def test_fewer_partitions_are_another_topic(broker: Broker, topic: str, tmp_path: Path) -> None:
    broker.make(topic, partitions=2)
    run(job(broker, topic, tmp_path))
    broker.delete([topic])
    broker.make(topic)
    see_failure(InconsistentError, "made anew", job(broker, topic, tmp_path))


def test_a_topic_with_another_id_is_not_landed(tmp_path: Path) -> None:
    place = TopicPlace(
        topic="x", servers="y", into=tmp_path, group="", config={}, timeout_seconds=1
    )
    for known, now in (("one", "one"), ("", "one"), ("one", "")):
        assert _begin(place, Reached(known, {0: 3}, ""), Topic(now, 1), {0: 0}).id == "one"
    with pytest.raises(InconsistentError, match="made anew, or has lost messages: it has another"):
        _begin(place, Reached("one", {0: 3}, ""), Topic("two", 1), {0: 0})


def test_a_group_is_told_how_far_was_landed_and_never_asked(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    from confluent_kafka import Consumer, TopicPartition

    make_with(broker, topic, 1, 2, 3)
    group = f"of-{topic}"
    watcher = Consumer({"bootstrap.servers": broker.servers, "group.id": group, "log_level": 0})
    run(job(broker, topic, tmp_path, group=group))
    (told,) = watcher.committed([TopicPartition(topic, 0)], 30)
    assert told.offset == 3
    watcher.commit(offsets=[TopicPartition(topic, 0, 0)], asynchronous=False)
    watcher.close()
    assert run(job(broker, topic, tmp_path, group=group)).executed_items == 0


def test_a_time_before_all_times_of_a_broker_is_before_all_messages(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    make_with(broker, topic, 1)
    for until in ("1969-12-31T23:59:59.999", "1969-12-31T23:59:59.998", "0001-01-02"):
        run(job(broker, topic, tmp_path, until=until))
        assert not list((tmp_path / "landed").rglob("*.jsonl"))
    see_failure(UsageError, "names partition 7", job(broker, topic, tmp_path, until="0:1,7:1"))


def test_a_value_that_is_nested_too_deeply_is_set_aside(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    make_with(broker, topic, 1, b"[" * 100_000)
    report = run(job(broker, topic, tmp_path))
    assert (report.accounts.committed, report.accounts.quarantined) == (1, 1)


@pytest.mark.parametrize(
    "settings",
    [
        {"config": {"group.id": "x"}},
        {"config": {"metadata.broker.list": "elsewhere:9092"}},
        {"servers": "user:password@localhost:9092"},
    ],
)
def test_settings_that_can_not_be_are_refused_for_a_source_and_a_sink(
    settings: dict[str, Any],
) -> None:
    given = {"servers": "localhost:9092", **settings}
    with pytest.raises(UsageError, match=r"by itself|has an @"):
        batten.from_kafka("rows", into="landed", **given)
    made = batten.from_range(3).map(rows.double, version="1").write_kafka("rows", **given)
    with pytest.raises(UsageError, match=r"by itself|has an @"):
        made.run(executor="serial")


@pytest.mark.parametrize(
    "settings",
    [
        *({"servers": each} for each in ("", " ", ",", "a:0", "a:65536", "a:b", "a b")),
        *({"servers": each} for each in ("a:1,,b:2", "http://a:1/x", "[::1", "a:1\x1b[31m")),
        *({"timeout_seconds": each} for each in (-1, float("nan"), float("inf"), "5", None, 1e12)),
        *({"config": each} for each in ("x", ["a"], {5: "x"})),
    ],
    ids=repr,
)
def test_options_that_can_not_be_are_refused_for_a_source_and_a_sink(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    given = {"servers": "localhost:9092", **settings}
    with pytest.raises(UsageError):
        batten.from_kafka("rows", into=tmp_path / "landed", **given)
    made = batten.from_range(3).map(rows.double, version="1")
    with pytest.raises(UsageError):
        replace(made.write_kafka("rows", **given), output=tmp_path / "out").run()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "servers", ["a", "a:1", "a:1,b:2", "a:1, b.example:65535 ", "[::1]:9092", "SSL://a-b_c:1"]
)
def test_addresses_of_brokers(servers: str, tmp_path: Path) -> None:
    assert batten.from_kafka("rows", servers=servers, into=tmp_path)


@pytest.mark.parametrize(
    "until",
    [
        *("", "now ", "NOW", "now\n", "0", "0:1,", "0:-1", "0:1,0:2", "1:5,01:5", "٣:٤"),
        *("0:99999999999999999999", "2026-04-24T25:00", "1e9", None, 5, b"now", {0: 5}),
        datetime(2026, 4, 24, tzinfo=UTC),
    ],
)
def test_what_is_no_end_of_a_run_is_refused(until: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="until="):
        batten.from_kafka("rows", servers="localhost", into=tmp_path, until=until)


def test_values_that_a_source_does_not_decode_can_be_had_as_bytes(tmp_path: Path) -> None:
    given: dict[str, Any] = {"servers": "localhost", "into": tmp_path, "format": "avro"}
    with pytest.raises(UsageError, match="format='avro' is none of") as told:
        batten.from_kafka("rows", **given)
    assert '"bytes"' in told.value.next


def test_why_there_was_no_answer_is_told(tmp_path: Path) -> None:
    made = batten.from_kafka(
        "rows", servers="127.0.0.1:1", into=tmp_path / "landed", timeout_seconds=5
    )
    with pytest.raises(batten.StorageError, match=r"no answer in 5 s; .* Connection refused"):
        run(made.map(rows.double, version="1").write_parquet(tmp_path / "out"))


def test_a_secret_is_read_when_it_is_needed_and_kept_nowhere(
    broker: Broker, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BROKER_PASSWORD", raising=False)
    secret = {"sasl.password": batten.Secret("BROKER_PASSWORD")}
    make_with(broker, topic, 1)
    pipeline = job(broker, topic, tmp_path, config=secret)
    see_failure(UsageError, "BROKER_PASSWORD is not set", pipeline)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("BROKER_PASSWORD", HELD)
    run(pipeline)
    assert values(tmp_path) == ["1"]
    assert HELD not in repr(pipeline)
    assert HELD.encode() not in pickle.dumps(pipeline.source)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if HELD.encode() in path.read_bytes()]


def test_what_another_job_lands_meanwhile_is_no_loss(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    make_with(broker, topic, *range(2))
    place = place_of(topic, broker.servers, tmp_path / "landed")
    _, before = look_at_topic(place, "now")
    send(broker, topic, *range(2, 6))
    land_topic(place, "now")
    landed = {path.name for path in place.folder(0).iterdir()}
    assert _land_partition(place, 0, before[0], "now") == before[0].target
    assert {path.name for path in place.folder(0).iterdir()} == landed


def test_a_broker_that_is_not_there_to_be_read_is_not_told_as_one_to_write_to(
    tmp_path: Path,
) -> None:
    place = place_of("x", "127.0.0.1:1", tmp_path / "landed", timeout_seconds=1)
    with pytest.raises(batten.StorageError) as raised:
        land_topic(place, "now")
    assert raised.value.safe.startswith("What was landed stays.")


def test_no_error_tells_a_setting_that_is_a_secret() -> None:
    from confluent_kafka import KafkaError

    hidden = {"sasl.password": HELD, "ssl.key.pem": HELD + "1", "sasl.username": ""}
    hidden["sasl.oauthbearer.config"] = HELD + "2"
    for name, value in hidden.items():
        error = KafkaError(KafkaError._INVALID_ARG, f"{value} can't be {name}")
        assert HELD not in str(tell("Reading", "topic x", error, {name: value}, READER))
    place = place_of("x", "y", Path(), config=hidden)
    assert HELD not in repr(place)


LOST = "_DESTROY_BROKER _FAIL _INTR _NODE_UPDATE _OUTDATED _PARTIAL _RETRY _TIMED_OUT _TRANSPORT"
REFUSED = "_AUTHENTICATION _INVALID_ARG _SSL _UNKNOWN_TOPIC _UNSUPPORTED_FEATURE"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, batten.StorageError) for name in f"{LOST} _UNDERFLOW _UNKNOWN_BROKER".split()),
        *((name, batten.RefusedError) for name in REFUSED.split()),
    ],
)
def test_a_connection_that_the_client_lost_is_nothing_to_correct(
    name: str, kind: type[Exception]
) -> None:
    from confluent_kafka import KafkaError

    error = KafkaError(getattr(KafkaError, name))
    assert isinstance(tell("Reading", "topic x", error, {}, READER), kind)


def test_no_output_lies_where_a_topic_is_landed(tmp_path: Path) -> None:
    source = batten.from_kafka("rows", servers="localhost:9092", into=tmp_path / "landed")
    with pytest.raises(UsageError, match="lies where the topic is landed"):
        source.map(rows.double, version="1").write_parquet(tmp_path / "landed/out").run()


def test_what_is_not_decided_is_left_for_a_later_run(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    make_with(broker, topic, 0, 1)
    producer = begin(broker, topic)
    producer.produce(topic, b"2", b"k", 0, headers=[("h", b"\xff")])
    producer.flush(30)
    send(broker, topic, 3)
    run(job(broker, topic, tmp_path))
    assert values(tmp_path) == ["0", "1"]
    producer.commit_transaction(30)
    producer.close()
    run(job(broker, topic, tmp_path))
    assert values(tmp_path) == ["0", "1", "2", "3"]


def test_what_goes_while_it_is_landed_is_named(broker: Broker, topic: str, tmp_path: Path) -> None:
    make_with(broker, topic, *range(6))
    place = place_of(topic, broker.servers, tmp_path / "landed")
    reached, before = look_at_topic(place, "now")
    save_reached(place, reached)
    forget(broker, topic, 4)
    with pytest.raises(InconsistentError, match="the offsets 0 to 3 of partition 0"):
        _land_partition(place, 0, before[0], "now")
    assert not list(place.folder(0).glob("*.jsonl"))

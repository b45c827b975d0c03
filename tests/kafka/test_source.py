"""Topics as sources: what is read is landed first, and each message becomes an item once."""

from __future__ import annotations

import inspect
import json
import random
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.kafka.compacted import send_compacted
from tests.kafka.landing import forget, job, make_producer, make_with, send, take, values
from tests.kafka.rows import run, see_failure

import batten
from batten.cli.main import main
from batten.errors import InconsistentError, RefusedError, UsageError
from batten.kafka.cluster import Cluster, Topic
from batten.pipeline.topics import landing, source
from batten.testing.kills import kill_at_line

if TYPE_CHECKING:
    from batten.crashlab.servers.broker import Broker


def test_what_comes_is_landed_and_worked_on_once(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    broker.make(topic, partitions=2)
    send(broker, topic, 1, 2, 3)
    send(broker, topic, "undone", commit=False)
    send(broker, topic, 4, partition=1)
    pipeline = job(broker, topic, tmp_path, group="watchers")
    run(pipeline)
    assert values(tmp_path) == ["1", "2", "3", "4"]
    assert run(pipeline).executed_items == 0
    send(broker, topic, 5)
    assert run(pipeline).executed_items == 1
    assert sorted(values(tmp_path)) == ["1", "2", "3", "4", "5"]


def test_a_message_that_is_not_json_is_set_aside(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    make_with(broker, topic, 1, b"{", b"\xff\x00")
    report = run(job(broker, topic, tmp_path))
    assert (report.accounts.committed, report.accounts.quarantined) == (1, 2)
    into = {"into": tmp_path / "landed", "servers": broker.servers}
    as_bytes = batten.from_kafka(topic, format="bytes", **into).map(take, version="1")
    run(as_bytes.write_parquet(tmp_path / "out2"))
    rows = batten.open(tmp_path / "out2").to_arrow().to_pylist()
    assert [row["value"] for row in rows] == [str(b"1"), str(b"{"), str(b"\xff\x00")]


def test_a_message_with_a_header_that_can_not_be_read_is_set_aside(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    """Many are read before: Python then calls the client in another way, which hides its error."""
    make_with(broker, topic, *range(30))
    send_compacted(broker.servers, topic, {0: (b"k", b"30")}, 1, {"\udcff": b"\xff"})
    send(broker, topic, 31)
    pipeline = job(broker, topic, tmp_path)
    assert "is not UTF-8" in pipeline.preview(limit=40).failed[0].error
    report = run(pipeline)
    assert (report.accounts.committed, report.accounts.quarantined) == (31, 1)
    assert values(tmp_path) == [*map(str, range(30)), "31"]
    assert run(pipeline).executed_items == 0


JOB = """
import batten

def take(item):
    return {{"value": str(item["value"])}}

pipeline = batten.from_kafka({topic!r}, servers={servers!r}, into="landed").map(take)
pipeline = pipeline.write_parquet("out")
rest = batten.from_range(3).map(take).write_parquet("rest")
"""


def test_the_command_says_where_a_run_ends(
    broker: Broker, topic: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_with(broker, topic, 1, 2, 3)
    job_file = tmp_path / "bills.py"
    job_file.write_text(JOB.format(topic=topic, servers=broker.servers))
    given = ["run", f"{job_file}:pipeline", "--quiet", "--jobs", "1"]
    assert main([*given, "--until", "0:2"]) == 0
    assert len(batten.open(tmp_path / "out").to_arrow()) == 2
    assert main([*given, "--until", "soon"]) == 2
    assert "neither 'now' nor a time" in capsys.readouterr().err
    assert main(["run", f"{job_file}:rest", "--until", "now"]) == 2
    assert "jobs that begin with from_kafka" in capsys.readouterr().err
    assert main([*given, "--until", "now"]) == 0
    assert len(batten.open(tmp_path / "out").to_arrow()) == 3


@pytest.mark.parametrize("is_landed", [False, True])
def test_a_look_lands_nothing(is_landed: bool, broker: Broker, topic: str, tmp_path: Path) -> None:
    broker.make(topic, partitions=2)
    send(broker, topic, 1, 2)
    pipeline = job(broker, topic, tmp_path)
    if is_landed:
        run(pipeline)
    send(broker, topic, 3, b"{")
    send(broker, topic, 4, partition=1)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    accounts = pipeline.run(executor="serial", dry_run=True).accounts
    assert accounts.committed + accounts.pending == 5
    seen = pipeline.preview(limit=4)
    assert [row["value"] for row in seen.rows] == ["1", "2", "3"]
    assert len(seen.failed) == 1
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    run(pipeline)
    assert sorted(values(tmp_path)) == ["1", "2", "3", "4"]


def test_until_ends_a_run(broker: Broker, topic: str, tmp_path: Path) -> None:
    make_with(broker, topic, 1, 2, 3)
    run(job(broker, topic, tmp_path, until="0:2"))
    assert values(tmp_path) == ["1", "2"]
    run(job(broker, topic, tmp_path, until="2020-01-01"))
    assert values(tmp_path) == ["1", "2"]
    later = datetime.fromtimestamp(time.time() + 3600, UTC).isoformat()
    run(job(broker, topic, tmp_path, until=later))
    assert values(tmp_path) == ["1", "2", "3"]
    with pytest.raises(UsageError, match="neither 'now' nor"):
        job(broker, topic, tmp_path, until="soon")


def test_until_a_time_between_messages(broker: Broker, topic: str, tmp_path: Path) -> None:
    broker.make(topic, partitions=2)
    first = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
    producer = make_producer(broker)
    for number in range(4):
        at = round(1000 * (first + timedelta(minutes=number)).timestamp())
        given = (b"%d" % number, b"k", number // 3)
        producer.produce(topic, *given, timestamp=at, headers=[("h", b"\xff")])
    producer.flush(30)
    for seconds, expected in ((30, ["0"]), (60, ["0"]), (61, ["0", "1"]), (180, ["0", "1", "2"])):
        until = (first + timedelta(seconds=seconds)).isoformat()
        run(job(broker, topic, tmp_path, until=until))
        assert values(tmp_path) == expected
    run(job(broker, topic, tmp_path))
    assert values(tmp_path) == ["0", "1", "2", "3"]


def test_until_offsets_leaves_a_partition_that_is_not_named(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    broker.make(topic, partitions=2)
    for partition in range(2):
        send(broker, topic, f"{partition}a", f"{partition}b", partition=partition)
    for until in ("1:1", "0:0", "1:1"):
        run(job(broker, topic, tmp_path, until=until))
        assert values(tmp_path) == ["1a"]
    run(job(broker, topic, tmp_path, until="0:1"))
    assert values(tmp_path) == ["1a", "0a"]
    run(job(broker, topic, tmp_path))
    assert sorted(values(tmp_path)) == ["0a", "0b", "1a", "1b"]


def test_a_partition_that_is_added_later_is_read_from_its_first_message(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    make_with(broker, topic, 1)
    pipeline = job(broker, topic, tmp_path)
    run(pipeline)
    broker.grow(topic, 3)
    send(broker, topic, 2, 3, partition=2)
    assert run(pipeline).executed_items == 2
    assert values(tmp_path) == ["1", "2", "3"]


def test_a_topic_with_another_id_is_told_though_it_has_as_many_messages(
    broker: Broker, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker of the tests gives none."""

    def give(id: str) -> None:
        monkeypatch.setattr(Cluster, "find_topic", lambda *_: Topic(id, 1))

    make_with(broker, topic, 1)
    pipeline = job(broker, topic, tmp_path)
    for id in ("", "one", "", "one"):
        give(id)
        run(pipeline)
    broker.delete([topic])
    make_with(broker, topic, 2, 3)
    give("two")
    see_failure(InconsistentError, "it has another id", pipeline)
    assert values(tmp_path) == ["1"]


def test_what_is_gone_before_it_was_landed_is_named(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    make_with(broker, topic, *range(4))
    pipeline = job(broker, topic, tmp_path)
    run(pipeline)
    send(broker, topic, *range(4, 8))
    forget(broker, topic, 7)
    see_failure(InconsistentError, "the offsets 5 to 6 of partition 0", pipeline)
    assert values(tmp_path) == ["0", "1", "2", "3"]


def test_a_topic_that_is_gone_or_made_anew_is_told(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    make_with(broker, topic, *range(4))
    pipeline = job(broker, topic, tmp_path)
    run(pipeline)
    broker.delete([topic])
    see_failure(RefusedError, "is not there", pipeline)
    broker.make(topic)
    see_failure(InconsistentError, "made anew", pipeline)
    assert values(tmp_path) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("kills", [3, pytest.param(60, marks=pytest.mark.crash)])
def test_killed_at_any_line_each_message_is_an_item_once(
    kills: int, broker: Broker, topic: str, tmp_path: Path, seeded: random.Random
) -> None:
    broker.make(topic)
    pipeline = job(broker, topic, tmp_path)
    files = [inspect.getfile(each) for each in (landing, source)]
    for number in range(kills):
        send(broker, topic, *range(5 * number, 5 * number + 5))
        kill_at_line(lambda: run(pipeline), files, seeded.randrange(1, 150))
    run(pipeline)
    assert values(tmp_path) == [str(number) for number in range(5 * kills)]


def test_landed_messages_that_are_worked_on_are_deleted_and_not_read_again(
    broker: Broker, topic: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broker.make(topic, partitions=2)
    pipeline = job(broker, topic, tmp_path)
    for number in range(3):
        send(broker, topic, 2 * number, 2 * number + 1)
        send(broker, topic, f"p{number}", partition=1)
        run(pipeline)
    landed = tmp_path / "landed"
    assert len(list(landed.rglob("*.jsonl"))) == 6
    assert main(["clean", "--landed", str(landed)]) == 0
    assert "removed 4 files of landed items" in capsys.readouterr().out
    assert len(list(landed.rglob("*.jsonl"))) == 2
    assert main(["verify", str(landed)]) == 0
    (landed / "reached.json").unlink()
    send(broker, topic, 6)
    assert run(pipeline).executed_items == 1
    assert sorted(values(tmp_path)) == [*map(str, range(7)), "p0", "p1", "p2"]
    see_failure(RefusedError, "were deleted", replace(pipeline, output=tmp_path / "other"))


def test_a_folder_has_one_topic(broker: Broker, topic: str, tmp_path: Path) -> None:
    """A broker may give topics no id, so their names tell them apart."""
    other = f"{topic}-other"
    for name in (topic, other):
        broker.make(name)
        send(broker, name, 1, 2)
    send(broker, other, 3, 4)
    run(job(broker, topic, tmp_path))
    second = batten.from_kafka(other, servers=broker.servers, into=tmp_path / "landed")
    second = second.map(take, version="1").write_parquet(tmp_path / "second")
    for options in ({}, {"dry_run": True}):
        with pytest.raises(RefusedError, match=f"of another topic, {topic}"):
            second.run(executor="serial", **options)
    run(job(broker, topic, tmp_path))
    assert values(tmp_path) == ["1", "2"]


def test_a_folder_of_an_earlier_version_learns_its_topic(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    make_with(broker, topic, 1)
    run(job(broker, topic, tmp_path))
    reached = tmp_path / "landed" / "reached.json"
    told = json.loads(reached.read_text())
    assert told.pop("topic") == topic
    reached.write_text(json.dumps(told))
    send(broker, topic, 2)
    run(job(broker, topic, tmp_path))
    assert values(tmp_path) == ["1", "2"]
    assert json.loads(reached.read_text())["topic"] == topic


def test_a_dataset_goes_on_with_its_own_landing_alone(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    for name in (topic, f"{topic}-other"):
        broker.make(name)
        send(broker, name, 1, 2)
    run(job(broker, topic, tmp_path))
    other = batten.from_kafka(f"{topic}-other", servers=broker.servers, into=tmp_path / "others")
    other = other.map(take, version="1").options(batch_size=4).write_parquet(tmp_path / "out")
    with pytest.raises(RefusedError, match="The landing can't change within one dataset"):
        other.run(executor="serial", accept_change=True)
    assert not (tmp_path / "others").exists()
    send(broker, topic, 3)
    job(broker, topic, tmp_path, format="text").run(executor="serial", accept_change=True)
    assert values(tmp_path) == ["1", "2", "3"]

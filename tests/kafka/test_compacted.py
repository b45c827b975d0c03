"""Offsets that have no record, since compaction removed it. A reader gets to the end all the same,
and nobody takes a gap for a loss."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.kafka import rows
from tests.kafka.compacted import HEADERS, Record, send_compacted
from tests.kafka.landing import job, send, values
from tests.kafka.rows import ask_topic, run, see_failure

from batten.cli.main import main
from batten.crashlab.servers.broker import OTHER
from batten.errors import InconsistentError
from batten.sinks.kafka.tokens import ENDING

if TYPE_CHECKING:
    from batten.crashlab.servers.broker import Broker

pytestmark = pytest.mark.skipif(
    bool(OTHER), reason="Apache Kafka takes no batch with gaps from a producer"
)

PLACES = {
    "nothing is removed": ([0, 1, 2], 3),
    "the first are": ([5, 6, 7], 8),
    "some between are": ([0, 4, 9], 10),
    "the last are": ([0, 1, 2], 9),
    "most are": ([40, 45, 55], 99),
}
"""Which offsets of three tokens are left, and how many there were."""


def make_compacted(broker: Broker, topic: str) -> None:
    broker.delete([topic])
    broker.make(topic, cleanup_policy="compact")


def take_tokens(broker: Broker, topic: str) -> list[Record]:
    found = broker.read(topic + ENDING)
    make_compacted(broker, topic + ENDING)
    return [(each.key(), each.value()) for each in found]


@pytest.mark.parametrize("places", PLACES)
def test_tokens_are_read_to_the_end_of_a_compacted_topic(
    places: str, broker: Broker, topic: str, tmp_path: Path
) -> None:
    offsets, many = PLACES[places]
    run(rows.job(broker, topic, tmp_path))
    tokens = take_tokens(broker, topic)
    send_compacted(broker.servers, topic + ENDING, dict(zip(offsets, tokens, strict=True)), many)
    assert ask_topic(tmp_path).findings == ()
    there = broker.read_rows(topic)
    # Another ledger knows of nothing: it asks for the tokens, and finds all batches there.
    again = rows.job(broker, topic, tmp_path / "again", dataset="out")
    assert run(again).executed_items == 12
    assert broker.read_rows(topic) == there


def test_of_a_batch_whose_token_compaction_took_away_the_rest_is_known(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    run(rows.job(broker, topic, tmp_path))
    first, taken, last = take_tokens(broker, topic)
    kept = {1: first, 6: (taken[0], None), 8: last}
    send_compacted(broker.servers, topic + ENDING, kept, 12)
    (lacking,) = ask_topic(tmp_path).findings
    assert "no token of 1 batch" in lacking.evidence


def test_a_topic_of_tokens_of_which_nothing_is_left_has_none(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    run(rows.job(broker, topic, tmp_path))
    take_tokens(broker, topic)
    send_compacted(broker.servers, topic + ENDING, {}, 6)
    (lacking,) = ask_topic(tmp_path).findings
    assert "no token of 3 batches" in lacking.evidence


def test_a_topic_with_another_id_is_another_topic(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    """The broker of the tests gives none, so they are written into the tokens."""
    run(rows.job(broker, topic, tmp_path))
    tokens = [
        (key, (value or b"").replace(b'"topic_id":""', b'"topic_id":"id-%d"' % (number // 2)))
        for number, (key, value) in enumerate(take_tokens(broker, topic))
    ]
    send_compacted(broker.servers, topic + ENDING, dict(enumerate(tokens)), 3)
    (found,) = ask_topic(tmp_path).findings
    assert "it has another id" in found.evidence
    again = rows.job(broker, topic, tmp_path / "again", dataset="out")
    see_failure(InconsistentError, "was made anew: it has another id", again)


UNTIL = {
    "now": ["1", "2", "3"],
    "0:3": [],
    "0:6": ["1"],
    "0:9": ["1", "2"],
    "0:20": ["1", "2", "3"],
}


def send_with_gaps(broker: Broker, topic: str) -> None:
    kept = {3: (b"k", b"1"), 8: (b"k", b"2"), 12: (b"k", b"3")}
    send_compacted(broker.servers, topic, kept, 20, HEADERS)


@pytest.mark.parametrize("until", UNTIL)
def test_a_compacted_topic_is_read_up_to_any_offset(
    until: str, broker: Broker, topic: str, tmp_path: Path
) -> None:
    make_compacted(broker, topic)
    send_with_gaps(broker, topic)
    pipeline = job(broker, topic, tmp_path, until=until)
    assert [row["value"] for row in pipeline.preview().rows] == UNTIL[until]
    run(pipeline)
    assert values(tmp_path) == UNTIL[until]
    assert run(pipeline).executed_items == 0
    run(job(broker, topic, tmp_path))
    send(broker, topic, 4)
    send_with_gaps(broker, topic)
    run(job(broker, topic, tmp_path))
    assert values(tmp_path) == ["1", "2", "3", "4", "1", "2", "3"]
    assert main(["verify", str(tmp_path / "landed")]) == 0


def test_a_topic_of_which_all_was_removed_gives_nothing_and_goes_on(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    make_compacted(broker, topic)
    send_compacted(broker.servers, topic, {}, 7)
    run(job(broker, topic, tmp_path))
    send(broker, topic, "undone", commit=False)
    run(job(broker, topic, tmp_path))
    assert not list((tmp_path / "landed").rglob("*.jsonl"))
    send(broker, topic, 1)
    run(job(broker, topic, tmp_path))
    assert values(tmp_path) == ["1"]

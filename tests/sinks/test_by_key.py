"""Rows that take the places of others with the same key, in tables of files and of databases."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import batten
from batten.crashlab.power import record_cuts, sample_states
from batten.crashlab.promises import UNHARMED
from batten.crashlab.staging import SCHEMA, stage_batch
from batten.drive.publishing import waiting
from batten.drive.run import run_on
from batten.errors import CorruptError, RefusedError
from batten.ledger.facts.observe import observe_output
from batten.ledger.judge import judge
from batten.model.disk.destinations.tokens import PublishEnd
from batten.model.disk.names import Layout
from batten.model.words import State
from batten.pipeline.pipeline import Pipeline
from batten.run.run_options import RunOptions
from batten.sinks.base import RejectedError, Sink, Staged
from batten.sinks.lakes.delta import sink as delta_sink
from batten.storage.twin.memory import MemoryStorage

if TYPE_CHECKING:
    from conftest import Lab

Row = dict[str, Any]

lakes = pytest.mark.parametrize("make_lab", ["delta", "iceberg"], indirect=True)
delta = pytest.mark.parametrize("make_lab", ["delta"], indirect=True)
LEDGER = Layout("table", is_inside=True)


def keyed(lab: Lab, *key: str) -> Lab:
    sink: Any = lab.sink
    made: Sink = replace(sink, key=key or ("key",))
    return replace(lab, sink=made)


def rows_of(*pairs: tuple[int, str]) -> list[Row]:
    return [{"key": key, "name": name} for key, name in pairs]


def stage(batch: int, *pairs: tuple[int, str], digest: str = "", revision: int = 0) -> Staged:
    """A batch whose items are the keys of its rows."""
    keys = list(dict.fromkeys(key for key, _ in pairs))
    staged = stage_batch(batch, keys, rows=rows_of(*pairs), digest=digest or f"d{batch}")
    return replace(staged, revision=revision, load_keys=lambda: [str(key) for key in keys])


def publish(lab: Lab, *batches: Staged) -> None:
    destination = lab.open()
    destination.prepare(SCHEMA)
    for staged in batches:
        assert destination.publish(staged) is PublishEnd.COMMITTED
        assert destination.publish(staged) is PublishEnd.LOST_RACE
    destination.close()


def test_a_row_takes_the_place_of_one_with_the_same_key(lab: Lab) -> None:
    """Of another batch, of another program, and of the same batch, where the last one stays."""
    if lab.kind in ("sqlite", "postgres"):
        lab.make("key bigint PRIMARY KEY, name text")
    lab = keyed(lab)
    publish(lab, stage(0, (0, "a"), (1, "b"), (2, "c")))
    lab.append(rows_of((7, "theirs"), (8, "theirs")))
    publish(lab, stage(1, (1, "new"), (3, "first"), (3, "last"), (8, "ours")))
    expected = rows_of((0, "a"), (1, "new"), (2, "c"), (3, "last"), (7, "theirs"), (8, "ours"))
    assert lab.read() == expected
    publish(lab, stage(2, (0, "z")))
    assert lab.read() == [*rows_of((0, "z")), *expected[1:]]


@lakes
def test_of_several_columns_all_must_be_alike(lab: Lab) -> None:
    lab = keyed(lab, "key", "name")
    publish(lab, stage(0, (0, "a"), (0, "b"), (1, "a")), stage(1, (0, "b"), (1, "b")))
    assert lab.read() == rows_of((0, "a"), (0, "b"), (1, "a"), (1, "b"))


@lakes
def test_a_batch_that_has_changed_leaves_nothing_of_what_it_was(lab: Lab) -> None:
    lab = keyed(lab, "key", "name")
    first = stage(0, (0, "a"), (0, "b"), (1, "a"))
    publish(lab, first, stage(1, (2, "a")))
    gone = replace(stage(0, (0, "c"), digest="e", revision=1), load_keys=lambda: ["0", "1"])
    publish(lab, gone)
    assert lab.read() == rows_of((0, "c"), (2, "a"))
    empty = replace(gone, rows=0, read=lambda: iter(()), token=replace(gone.token, digest="f"))
    publish(lab, empty)
    assert lab.read() == rows_of((2, "a"))
    # The very file of before comes back.
    publish(lab, replace(first, revision=2, token=replace(first.token, digest="g")))
    assert lab.read() == rows_of((0, "a"), (0, "b"), (1, "a"), (2, "a"))
    publish(lab, replace(first, revision=3, token=replace(first.token, digest="h")))
    assert lab.read() == rows_of((0, "a"), (0, "b"), (1, "a"), (2, "a"))


@lakes
def test_a_null_in_the_key_is_quarantined(lab: Lab) -> None:
    schema = pa.schema([("key", pa.int64()), ("name", pa.string())])
    destination = keyed(lab, "key", "name").open()
    destination.prepare(schema)
    rows: list[Row] = [{"key": 0, "name": "a"}, {"key": 1, "name": None}]
    with pytest.raises(RejectedError, match="null in 'name'") as rejected:
        destination.publish(stage_batch(0, [0, 1], rows=rows, schema=schema))
    assert list(rejected.value.errors) == [1]


@lakes
def test_a_key_that_no_row_has_is_refused(lab: Lab) -> None:
    destination = keyed(lab, "id").open()
    with pytest.raises(RefusedError, match="'id' is part of key="):
        destination.prepare(SCHEMA)


@lakes
def test_a_key_may_be_of_any_type(lab: Lab) -> None:
    made = batten.from_items([{"id": "a"}, {"id": "b"}], key="id", removed="drop")
    values = {
        "at": pa.scalar(0, pa.timestamp("us", "UTC")),
        "day": pa.scalar(1, pa.date32()),
        "price": pa.scalar("1.50").cast(pa.decimal128(9, 2)),
        "is_new": pa.scalar(True),
        "code": pa.scalar(b"\x00x"),
    }
    row = {name: value.as_py() for name, value in values.items()}

    def describe(item: Row) -> Row:
        return {**row, "count": len(item["id"])}

    for count in (1, 2):
        made = batten.from_items(
            [{"id": "a", "n": count}, {"id": "b", "n": 1}], key="id", removed="drop"
        )
        options = {"key": ("key", *row)}
        lab.write(made.map(describe), **options).run(executor="serial")
        assert [each["key"] for each in lab.read()] == ["a", "b"]


# --- Delta Lake alone ----------------------------------------------------------------------------


def table_of(lab: Lab) -> deltalake.DeltaTable:
    return deltalake.DeltaTable(lab.folder / "table")


def append(lab: Lab, *pairs: tuple[int, str]) -> None:
    rows = pa.Table.from_pylist(rows_of(*pairs), schema=SCHEMA)
    deltalake.write_deltalake(lab.folder / "table", rows, mode="append")


@delta
def test_what_is_left_of_two_files_alike_stays_twice(lab: Lab) -> None:
    lab = keyed(lab)
    publish(lab, stage(0, (0, "a")))
    for _ in range(2):
        append(lab, (5, "same"), (6, "goes"))
    publish(lab, stage(1, (6, "ours")))
    assert lab.read() == rows_of((0, "a"), (5, "same"), (5, "same"), (6, "ours"))


@delta
def test_files_without_such_keys_stay_as_they_are(lab: Lab) -> None:
    lab = keyed(lab)
    publish(lab, stage(0, (0, "a"), (1, "b")))
    append(lab, (10, "x"), (30, "y"))
    before = set(table_of(lab).file_uris())
    publish(lab, stage(1, (20, "between")))
    assert before < set(table_of(lab).file_uris())
    publish(lab, stage(2, (1, "new")))
    assert len(before & set(table_of(lab).file_uris())) == 1
    assert len(lab.read()) == 5


@delta
def test_files_are_known_after_compaction_and_from_a_checkpoint(lab: Lab) -> None:
    lab = keyed(lab)
    publish(lab, stage(0, (0, "a"), (1, "b")), stage(1, (2, "c")))
    append(lab, (7, "theirs"))
    table = table_of(lab)
    table.optimize.compact()
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    table.create_checkpoint()
    for path in sorted((lab.folder / "table" / "_delta_log").glob("*.json"))[: table.version()]:
        path.unlink()
    publish(lab, stage(2, (1, "new"), (7, "ours")))
    assert lab.read() == rows_of((0, "a"), (1, "new"), (2, "c"), (7, "ours"))
    back = stage(0, (0, "a"), (1, "b"), digest="e", revision=1)
    publish(lab, back)
    assert lab.read() == rows_of((0, "a"), (1, "b"), (2, "c"), (7, "ours"))


@delta
@pytest.mark.parametrize("name", ["delta.appendOnly", "delta.enableChangeDataFeed"])
def test_a_table_that_lets_no_row_go_is_refused(lab: Lab, name: str) -> None:
    made = deltalake.Schema.from_arrow(SCHEMA)
    deltalake.DeltaTable.create(lab.folder / "table", schema=made, configuration={name: "true"})
    with pytest.raises(RefusedError, match="are to be replaced"):
        keyed(lab).open().prepare(SCHEMA)
    lab.open().prepare(SCHEMA)


@delta
@pytest.mark.parametrize("what", ["deletion vector", "elsewhere"])
def test_a_file_that_can_not_be_rewritten_is_told(lab: Lab, what: str) -> None:
    lab = keyed(lab)
    publish(lab, stage(0, (0, "a")))
    entry = lab.folder / "table" / "_delta_log" / f"{1:020}.json"
    lines = [json.loads(line) for line in entry.read_text().splitlines()]
    for line in lines:
        if add := line.get("add"):
            if what == "elsewhere":
                add["path"] = "s3://bucket/part.parquet"
            else:
                add["deletionVector"] = {"storageType": "i", "pathOrInlineDv": "x"}
    entry.write_text("".join(json.dumps(line) + "\n" for line in lines))
    destination = lab.open()
    destination.prepare(SCHEMA)
    with pytest.raises(RefusedError, match="may hold rows that are to be replaced"):
        destination.publish(stage(1, (0, "b")))
    assert destination.publish(stage(1, (5, "b"))) is PublishEnd.COMMITTED


@delta
def test_a_file_that_can_not_be_read_is_told(lab: Lab) -> None:
    lab = keyed(lab)
    publish(lab, stage(0, (0, "a")))
    (path,) = (lab.folder / "table").glob("*.parquet")
    path.write_bytes(b"torn")
    destination = lab.open()
    destination.prepare(SCHEMA)
    with pytest.raises(CorruptError, match="can't be read"):
        destination.publish(stage(1, (0, "b")))


# --- power cuts ----------------------------------------------------------------------------------


def describe(item: Row) -> list[Row]:
    return [{"name": name} for name in item["names"]]


ITEMS = [{"id": str(number), "names": ["a", "b"]} for number in range(5)]
LATER = [{"id": "0", "names": ["c"]}, {"id": "1", "names": []}, *ITEMS[3:]]


def pipeline(items: Sequence[Row], **options: Any) -> Pipeline:
    made = batten.from_items(items, key="id", removed="drop").flat_map(describe, version="1")
    return made.options(batch_size=2).write_delta(f"/{LEDGER.output}", **options)


BY_KEY: dict[str, Any] = {"key": ("key", "name")}
AT_ONCE: dict[str, Any] = {"mode": "replace"}
OF_A_RUN: dict[str, Any] = {"mode": "replace", "where": {"day": "1"}}


def run(storage: MemoryStorage, options: dict[str, Any], items: Sequence[Row] = LATER) -> None:
    run_on(storage, pipeline(items, **options), RunOptions(jobs=1, executor="serial"))


def read_table(storage: MemoryStorage) -> list[tuple[str, str]]:
    """The rows that the log says are there: every entry and file must be whole."""
    files = {name: data for name, data in storage.snapshot().items() if data is not None}
    entries = sorted(name for name in files if name.endswith(".json") and "/_delta_log/" in name)
    assert entries == [f"table/_delta_log/{number:020}.json" for number in range(len(entries))]
    there: set[str] = set()
    for name in entries:
        actions = [json.loads(line) for line in files[name].splitlines()]
        there -= {each["remove"]["path"] for each in actions if "remove" in each}
        there |= {each["add"]["path"] for each in actions if "add" in each}
    rows = [
        row
        for path in there
        for row in pq.read_table(pa.BufferReader(files[f"table/{path}"])).to_pylist()
    ]
    return sorted((row["key"], row["name"]) for row in rows)


def rows_of_items(items: Sequence[Row]) -> list[tuple[str, str]]:
    return sorted((item["id"], name) for item in items for name in item["names"])


@pytest.mark.parametrize("sample", [12, pytest.param(400, marks=pytest.mark.crash)])
@pytest.mark.parametrize(
    "options", [BY_KEY, AT_ONCE, OF_A_RUN], ids=["by-key", "at-once", "of-a-run"]
)
def test_power_is_lost_while_items_change(
    options: dict[str, Any], sample: int, seeded: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch is the old one or the new one, whole; or all of them are."""
    monkeypatch.setattr(waiting, "PUBLISH_SECONDS", 0.0)
    monkeypatch.setattr(delta_sink, "CHECKPOINT_ENTRIES", 2)
    storage = MemoryStorage()
    run(storage, options, ITEMS)
    cuts = record_cuts(storage, partial(run, options=options), LEDGER)
    assert read_table(storage) == rows_of_items(LATER)
    for found in sample_states(cuts, seeded, sample):
        rows = read_table(found.storage)
        batches = [{"0", "1"}, {"2", "3"}, {"4"}]
        for batch in batches if options is BY_KEY else [set().union(*batches)]:
            kept = [row for row in rows if row[0] in batch]
            states = [
                [row for row in rows_of_items(each) if row[0] in batch] for each in (ITEMS, LATER)
            ]
            assert kept in states, found.how
        judgement = judge(observe_output(found.storage, LEDGER))
        assert judgement.verdict.state in UNHARMED, (found.how, judgement)
        run(found.storage, options)
        assert read_table(found.storage) == rows_of_items(LATER), found.how
        state = judge(observe_output(found.storage, LEDGER)).verdict.state
        assert state is State.COMPLETE, found.how

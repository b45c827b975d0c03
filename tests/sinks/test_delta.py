"""Tables of Delta Lake: what other writers do to them, what they ask of writers, power cuts."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
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
from batten.errors import CorruptError, InconsistentError, RefusedError
from batten.ledger.facts.observe import observe_output
from batten.ledger.judge import judge
from batten.model.disk.destinations.tokens import PublishEnd, TokenState
from batten.model.disk.names import Layout
from batten.model.words import State
from batten.pipeline.pipeline import Pipeline
from batten.run.run_options import RunOptions
from batten.sinks.base import RejectedError
from batten.sinks.lakes.delta import sink as delta_sink
from batten.storage.changing import steps
from batten.storage.twin.memory import MemoryStorage

if TYPE_CHECKING:
    from conftest import Lab

delta = pytest.mark.parametrize("make_lab", ["delta"], indirect=True)
LEDGER = Layout("table", is_inside=True)


def append(lab: Lab, *keys: int) -> None:
    """As another program does, in an entry of its own."""
    rows = pa.Table.from_pylist([{"key": key, "name": "theirs"} for key in keys], schema=SCHEMA)
    deltalake.write_deltalake(lab.folder / "table", rows, mode="append")


@delta
def test_other_writers_and_checkpoints_do_not_hide_a_token(lab: Lab) -> None:
    destination = lab.open()
    destination.prepare(SCHEMA)
    for batch in range(3):
        append(lab, 100 + batch)
        assert destination.publish(stage_batch(batch, [batch])) is PublishEnd.COMMITTED
    table = deltalake.DeltaTable(lab.folder / "table")
    table.optimize.compact()
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    table.create_checkpoint()
    table = deltalake.DeltaTable(lab.folder / "table")
    for path in sorted((lab.folder / "table" / "_delta_log").glob("*.json"))[: table.version()]:
        path.unlink()
    again = lab.open()
    tokens = [stage_batch(batch, [batch]).token for batch in range(4)]
    assert again.lookup(tokens) == [
        TokenState.SAME,
        TokenState.SAME,
        TokenState.SAME,
        TokenState.ABSENT,
    ]
    again.prepare(SCHEMA)
    assert again.publish(stage_batch(2, [2])) is PublishEnd.LOST_RACE
    assert again.publish(stage_batch(3, [3])) is PublishEnd.COMMITTED
    assert [row["key"] for row in lab.read()] == [0, 1, 2, 3, 100, 101, 102]


@delta
def test_checkpoints_are_made_as_often_as_the_table_says(lab: Lab) -> None:
    path = lab.folder / "table"
    made = deltalake.Schema.from_arrow(SCHEMA)
    settings = {"delta.checkpointInterval": "3"}
    deltalake.DeltaTable.create(path, schema=made, configuration=settings)
    destination = lab.open()
    destination.prepare(SCHEMA)
    for batch in range(8):
        assert destination.publish(stage_batch(batch, [batch])) is PublishEnd.COMMITTED
        assert [row["key"] for row in lab.read()] == list(range(batch + 1))
    log = path / "_delta_log"
    made_of = sorted(each.name for each in log.glob("*.parquet"))
    assert made_of == [f"{number:020}.checkpoint.parquet" for number in (3, 6)]
    assert json.loads((log / "_last_checkpoint").read_text())["version"] == 6
    for number in range(6):
        (log / f"{number:020}.json").unlink()
    assert [row["key"] for row in lab.read()] == list(range(8))
    tokens = [stage_batch(batch, [batch]).token for batch in range(9)]
    assert lab.open().lookup(tokens) == [*[TokenState.SAME] * 8, TokenState.ABSENT]
    assert list((path / "_batten").glob("*/*")) == []


@delta
def test_outcomes_of_earlier_tries_do_not_count(lab: Lab) -> None:
    """In a checkpoint they are in any order: here the last one is before the first."""
    path = lab.folder / "table"
    destination = lab.open()
    destination.prepare(SCHEMA)
    for failed in ([1, 2, 3], [1, 2]):
        destination.publish(stage_batch(0, [0, 1, 2, 3], failed=failed))
    entries = [path / "_delta_log" / f"{number:020}.json" for number in (1, 2)]
    first, last = (entry.read_text() for entry in entries)
    stale = next(line for line in first.splitlines() if ":1c3q" in line)
    assert ":1c2q1c" in last
    entries[0].write_text(first.replace(stale + "\n", ""))
    entries[1].write_text(last + stale + "\n")
    assert lab.open().publish(stage_batch(0, [0, 1, 2, 3])) is PublishEnd.COMMITTED
    assert [row["key"] for row in lab.read()] == [0, 1, 2, 3]


@delta
@pytest.mark.parametrize("is_retried", [False, True])
def test_an_entry_that_another_writes_first_is_not_built_upon(lab: Lab, is_retried: bool) -> None:
    """Between the look at the log and the new entry: the number is taken, and all is read anew."""
    mine, other = lab.open(), lab.open()
    mine.prepare(SCHEMA)
    other.prepare(SCHEMA)
    if is_retried:
        other.publish(stage_batch(0, [0, 1], failed=[1]))
    staged = stage_batch(0, [0, 1])

    def read_when_other_was_quicker() -> Iterator[pa.RecordBatch]:
        other.publish(staged)
        return staged.read()

    def load_when_other_was_quicker() -> bytes:
        other.publish(staged)
        return staged.load()

    late = replace(staged, read=read_when_other_was_quicker, load=load_when_other_was_quicker)
    assert mine.publish(late) is PublishEnd.LOST_RACE
    assert mine.lookup([staged.token]) == [TokenState.SAME]
    assert [row["key"] for row in lab.read()] == [0, 1]


@delta
def test_what_a_killed_run_left_is_durable_before_it_counts(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination = lab.open()
    destination.prepare(SCHEMA)
    destination.publish(stage_batch(0, [0]))
    synced: list[str] = []
    do = steps.do

    def note(step: str, name: str, *arguments: Any, **options: Any) -> Any:
        if step.startswith("sync_names"):
            synced.append(name)
        return do(step, name, *arguments, **options)

    monkeypatch.setattr(steps, "do", note)
    assert lab.open().lookup([stage_batch(0, [0]).token]) == [TokenState.SAME]
    assert set(synced) == {"table", "table/_delta_log"}


@delta
def test_others_read_what_is_skipped_by_its_statistics(lab: Lab) -> None:
    destination = lab.open()
    destination.prepare(SCHEMA)
    destination.publish(stage_batch(0, [1, 2, 3]))
    destination.publish(stage_batch(1, [7, 8]))
    table = deltalake.DeltaTable(lab.folder / "table")
    told = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    kept = ("num_records", "min.key", "max.key", "max.name", "null_count.name")
    assert [tuple(each[name] for name in kept) for each in reversed(told)] == [
        (3, 1, 3, "n3", 0),
        (2, 7, 8, "n8", 0),
    ]
    found = table.to_pyarrow_dataset().to_table(filter=pa.compute.field("key") > 3)
    assert found.column("key").to_pylist() == [7, 8]


def make_table(
    lab: Lab,
    *,
    protocol: tuple[int, int, Sequence[str]] | None = None,
    mark: dict[str, Any] | None = None,
    **settings: Any,
) -> None:
    """As another program does: with versions for readers and writers and features of writers, and
    with marks on the column `name`."""
    path = lab.folder / "table"
    deltalake.DeltaTable.create(path, schema=deltalake.Schema.from_arrow(SCHEMA), **settings)
    entry = path / "_delta_log" / f"{0:020}.json"
    lines = [json.loads(line) for line in entry.read_text().splitlines()]
    for line in lines:
        if "protocol" in line and protocol is not None:
            reader, writer, features = protocol
            line["protocol"] = {"minReaderVersion": reader, "minWriterVersion": writer}
            if features:
                line["protocol"]["writerFeatures"] = list(features)
        if "metaData" in line:
            schema = json.loads(line["metaData"]["schemaString"])
            schema["fields"][1]["metadata"] |= mark or {}
            line["metaData"]["schemaString"] = json.dumps(schema, separators=(",", ":"))
    entry.write_text("".join(json.dumps(line) + "\n" for line in lines))


MAPPING = {"delta.columnMapping.mode": "name"}


@delta
@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"partition_by": ["name"]}, "is partitioned by 'name'"),
        ({"protocol": (1, 7, ["inCommitTimestamp"])}, "'inCommitTimestamp'"),
        ({"protocol": (1, 7, ["rowTracking", "appendOnly"])}, "'rowTracking'"),
        ({"protocol": (3, 8, [])}, "writers of version 8"),
        ({"protocol": (2, 5, []), "configuration": MAPPING}, "maps the names of its columns"),
        ({"protocol": (1, 4, []), "mark": {"delta.generationExpression": "key"}}, "generation"),
        ({"protocol": (1, 6, []), "mark": {"delta.identity.start": 1}}, "identity"),
        ({"protocol": (1, 2, []), "mark": {"delta.invariants": "{}"}}, "invariants"),
    ],
)
def test_what_a_table_asks_of_writers_and_batten_cannot_do(
    lab: Lab, asked: dict[str, Any], told: str
) -> None:
    make_table(lab, **asked)
    destination = lab.open()
    with pytest.raises(RefusedError, match=told) as refused:
        destination.prepare(SCHEMA)
    assert "another table" in refused.value.next
    assert len(list((lab.folder / "table" / "_delta_log").iterdir())) == 1


@delta
@pytest.mark.parametrize(
    "asked",
    [
        {"configuration": {"delta.enableDeletionVectors": "true"}},
        {"configuration": {"delta.enableChangeDataFeed": "true"}},
        {"configuration": {"delta.appendOnly": "true"}},
        {"protocol": (1, 7, ["appendOnly", "checkConstraints", "generatedColumns"])},
        {"protocol": (1, 6, [])},
    ],
)
def test_what_a_table_asks_of_writers_and_adding_keeps(lab: Lab, asked: dict[str, Any]) -> None:
    make_table(lab, **asked)
    destination = lab.open()
    destination.prepare(SCHEMA)
    assert destination.publish(stage_batch(0, [0, 1])) is PublishEnd.COMMITTED
    # By the log alone: its other readers know no deletion vectors.
    assert deltalake.DeltaTable(lab.folder / "table").count() == 2


@delta
def test_a_null_where_the_table_has_none_is_refused(lab: Lab) -> None:
    strict = pa.schema([SCHEMA.field("key"), pa.field("name", pa.string(), nullable=False)])
    made = deltalake.Schema.from_arrow(strict)
    deltalake.DeltaTable.create(lab.folder / "table", schema=made)
    destination = lab.open()
    destination.prepare(SCHEMA)
    assert destination.publish(stage_batch(0, [0])) is PublishEnd.COMMITTED
    lacking = stage_batch(1, [1], rows=[{"key": 1, "name": None}])
    with pytest.raises(RejectedError, match="a null, which the column 'name' can't hold"):
        destination.publish(lacking)
    assert destination.lookup([lacking.token]) == [TokenState.ABSENT]
    assert [row["key"] for row in lab.read()] == [0]


@delta
def test_a_constraint_that_is_added_meanwhile_is_seen(lab: Lab) -> None:
    destination = lab.open()
    destination.prepare(SCHEMA)
    destination.publish(stage_batch(0, [0]))
    deltalake.DeltaTable(lab.folder / "table").alter.add_constraint({"small": "key < 10"})
    with pytest.raises(RefusedError, match="constraints"):
        destination.publish(stage_batch(1, [1]))


@delta
def test_values_are_cast_to_the_columns_of_the_table(lab: Lab) -> None:
    schema = pa.schema([("key", pa.int64()), ("small", pa.uint16()), ("kind", pa.large_string())])
    rows = [{"key": 0, "small": 7, "kind": "a"}]
    destination = lab.open()
    destination.prepare(schema)
    destination.publish(stage_batch(0, [0], schema=schema, rows=rows))
    assert lab.read() == rows
    wide = [{"key": 1, "small": 40000, "kind": "b"}]
    with pytest.raises(RejectedError, match="small"):
        destination.publish(stage_batch(1, [1], schema=schema, rows=wide))
    assert lab.read() == rows


@delta
def test_a_type_that_the_format_has_not_is_told(lab: Lab) -> None:
    destination = lab.open()
    with pytest.raises(RefusedError, match="'took'"):
        destination.prepare(pa.schema([("key", pa.int64()), ("took", pa.duration("us"))]))
    assert list((lab.folder / "table").glob("_delta_log/*")) == []


@delta
def test_a_folder_that_is_no_table_is_refused(lab: Lab) -> None:
    (lab.folder / "table").mkdir()
    (lab.folder / "table" / "mine.txt").write_text("mine")
    with pytest.raises(RefusedError, match=r"mine\.txt"):
        lab.open()


@delta
@pytest.mark.parametrize("text", ["", "{", "[]\n"])
def test_an_entry_that_cannot_be_read_is_told(lab: Lab, text: str) -> None:
    destination = lab.open()
    destination.prepare(SCHEMA)
    (lab.folder / "table" / "_delta_log" / f"{1:020}.json").write_text(text)
    with pytest.raises(CorruptError, match="can't be read"):
        lab.open().lookup([stage_batch(0, [0]).token])


@delta
def test_a_table_that_is_made_anew_meanwhile_is_not_added_to_as_the_old_one(lab: Lab) -> None:
    destination = lab.open()
    destination.prepare(SCHEMA)
    for batch in range(3):
        destination.publish(stage_batch(batch, [batch]))
    lab.drop()
    with pytest.raises(InconsistentError, match="gone"):
        destination.publish(stage_batch(3, [3]))
    append(lab, 100)
    assert destination.publish(stage_batch(3, [3])) is PublishEnd.COMMITTED
    assert [row["key"] for row in lab.read()] == [3, 100]


# --- power cuts --------------------------------------------------------------------------------


def square(number: int) -> dict[str, int]:
    return {"square": number * number}


def pipeline(items: int) -> Pipeline:
    made = batten.from_range(items).map(square, version="1").options(batch_size=2)
    return made.write_delta(f"/{LEDGER.output}")


def run(storage: MemoryStorage) -> Any:
    return run_on(storage, pipeline(5), RunOptions(jobs=1, executor="serial"))


def read_table(storage: MemoryStorage) -> list[int]:
    """The keys of the rows that the log says are there: every entry and file must be whole."""
    keys: list[int] = []
    files = {name: data for name, data in storage.snapshot().items() if data is not None}
    entries = sorted(name for name in files if name.endswith(".json") and "/_delta_log/" in name)
    for name in files:
        if name.endswith(".checkpoint.parquet"):
            assert pq.read_metadata(pa.BufferReader(files[name])).num_rows > 0
    assert entries == [f"table/_delta_log/{number:020}.json" for number in range(len(entries))]
    for name in entries:
        for line in files[name].splitlines():
            added = json.loads(line).get("add")
            if added is not None:
                part = pq.read_table(pa.BufferReader(files[f"table/{added['path']}"]))
                keys += part.column("key").to_pylist()
    return keys


@pytest.mark.parametrize("sample", [12, pytest.param(400, marks=pytest.mark.crash)])
@pytest.mark.parametrize("before", [0, 3])
def test_power_is_lost(
    before: int, sample: int, seeded: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "PUBLISH_SECONDS", 0.0)
    monkeypatch.setattr(delta_sink, "CHECKPOINT_ENTRIES", 2)
    storage = MemoryStorage()
    if before:
        run_on(storage, pipeline(before), RunOptions(jobs=1, executor="serial"))
    cuts = record_cuts(storage, run, LEDGER)
    assert read_table(storage) == list(range(5))
    for found in sample_states(cuts, seeded, sample):
        keys = read_table(found.storage)
        assert keys == list(range(len(keys))), found.how
        judgement = judge(observe_output(found.storage, LEDGER))
        assert judgement.verdict.state in UNHARMED, (found.how, judgement)
        if judgement.verdict.state is State.COMPLETE:
            assert len(keys) in (before, 5), found.how
        run(found.storage)
        assert read_table(found.storage) == list(range(5)), found.how
        state = judge(observe_output(found.storage, LEDGER)).verdict.state
        assert state is State.COMPLETE, found.how


def test_paths_are_plain(tmp_path: Path) -> None:
    with pytest.raises(batten.UsageError, match="Two sinks"):
        batten.from_range(1).write_delta(tmp_path / "t").write_delta(tmp_path / "t")

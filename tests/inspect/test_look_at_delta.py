"""What others do to a Delta table: its log says whether the rows that a job gave are there still.
What it does not say is told, and no state is guessed."""

from __future__ import annotations

import json
import uuid
from base64 import b85encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import batten
from batten.inspect.verifying.verify import verify
from batten.lookup.look_at_delta import _B85, _Z85

Action = dict[str, Any]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "out"
    made = batten.from_range(9).map(lambda n: {"square": n * n}, version="1")
    made.options(batch_size=3).write_delta(path).run(executor="serial")
    return path


def opened(path: Path) -> deltalake.DeltaTable:
    return deltalake.DeltaTable(path)


def rows(*keys: int) -> pa.Table:
    schema = pa.schema([pa.field("key", pa.int64(), nullable=False), ("square", pa.int64())])
    return pa.table({"key": list(keys), "square": list(keys)}, schema=schema)


def append(path: Path) -> None:
    deltalake.write_deltalake(path, rows(100, 101, 102), mode="append")


def overwrite(path: Path) -> None:
    deltalake.write_deltalake(path, rows(*range(200, 220)), mode="overwrite")


def overwrite_part(path: Path) -> None:
    deltalake.write_deltalake(path, rows(4, 4), mode="overwrite", predicate="key = 4")


def delete(path: Path) -> None:
    opened(path).delete("key = 4")


def delete_theirs(path: Path) -> None:
    append(path)
    opened(path).delete("key > 99")


def update(path: Path) -> None:
    opened(path).update(updates={"square": "7"}, predicate="key = 4")


def compact(path: Path) -> None:
    opened(path).optimize.compact()


def compact_with_theirs(path: Path) -> None:
    append(path)
    compact(path)


def delete_from_compacted(path: Path) -> None:
    compact_with_theirs(path)
    opened(path).delete("key > 101")


def delete_many_from_compacted(path: Path) -> None:
    compact_with_theirs(path)
    opened(path).delete("key < 5")


def merge(path: Path) -> None:
    change = opened(path).merge(rows(4, 300), "s.key = t.key", source_alias="s", target_alias="t")
    change.when_matched_update_all().when_not_matched_insert_all().execute()


def vacuum(path: Path) -> None:
    compact(path)
    opened(path).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)


def restore(path: Path) -> None:
    overwrite(path)
    opened(path).restore(3)


def restore_too_far(path: Path) -> None:
    append(path)
    append(path)
    opened(path).restore(2)


def checkpoint(path: Path) -> None:
    """Of the whole log, as after a month: the entries are gone."""
    opened(path).create_checkpoint()
    for entry in (path / "_delta_log").glob("*.json"):
        entry.unlink()


SOUND, LACKING, UNTOLD = "sound", "lacking", "untold"

CHANGES: list[tuple[Callable[[Path], object], str]] = [
    (append, SOUND),
    (overwrite, LACKING),
    (overwrite_part, UNTOLD),
    (delete, LACKING),
    (delete_theirs, SOUND),
    (update, SOUND),
    (compact, SOUND),
    (compact_with_theirs, SOUND),
    (delete_from_compacted, UNTOLD),
    (delete_many_from_compacted, LACKING),
    (merge, UNTOLD),
    (vacuum, SOUND),
    (restore, SOUND),
    (restore_too_far, LACKING),
]


def check(path: Path, wanted: str) -> None:
    for state, damage, unseen in (
        (
            (found := batten.diagnose(path)).state,
            [each for each in found.findings if each.severity.value == "inconsistent"],
            found.unseen,
        ),
        (
            (read := verify(path)).diagnosis.state,
            read.damage,
            read.diagnosis.unseen,
        ),
    ):
        assert (state == "INCONSISTENT") is (wanted == LACKING), damage
        assert bool(damage) is (wanted == LACKING)
        told = unseen.get(path.name, "")
        assert told.startswith("can't be looked at") is (wanted == UNTOLD), told


@pytest.mark.parametrize(("change", "wanted"), CHANGES)
def test_what_another_program_did_is_seen(
    change: Callable[[Path], object], wanted: str, table: Path
) -> None:
    change(table)
    check(table, wanted)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (append, SOUND),
        (overwrite, UNTOLD),
        (delete, UNTOLD),
        (compact, UNTOLD),
        (delete_many_from_compacted, LACKING),
    ],
)
def test_a_checkpoint_tells_less_than_the_log(
    change: Callable[[Path], object], wanted: str, table: Path
) -> None:
    """Whose rows lie in a file that others made is not told by a checkpoint."""
    change(table)
    if change is delete:
        append(table)
    checkpoint(table)
    assert "only verify reads" in batten.diagnose(table).unseen["out"]
    read = verify(table)
    assert bool(read.damage) is (wanted == LACKING), read.damage
    assert ("out" in read.diagnosis.unseen) is (wanted != SOUND)


def read_log(path: Path) -> list[Action]:
    entries = sorted((path / "_delta_log").glob("*.json"))
    return [json.loads(line) for entry in entries for line in entry.read_text().splitlines()]


def list_state(path: Path) -> list[Action]:
    """The actions of a checkpoint: tokens, protocol, metadata and files."""
    kept = ("protocol", "metaData", "txn", "add")
    state = [each for each in read_log(path) if any(kind in each for kind in kept)]
    for each in state:
        if "protocol" in each:
            features = ["v2Checkpoint"]
            each["protocol"] = {
                "minReaderVersion": 3,
                "minWriterVersion": 7,
                "readerFeatures": features,
                "writerFeatures": features,
            }
    return state


TEXTS = pa.map_(pa.string(), pa.string())
ADD = pa.struct(
    [
        ("path", pa.string()),
        ("partitionValues", TEXTS),
        ("size", pa.int64()),
        ("modificationTime", pa.int64()),
        ("dataChange", pa.bool_()),
        ("stats", pa.string()),
    ]
)
KINDS = {
    "protocol": pa.struct(
        [
            ("minReaderVersion", pa.int32()),
            ("minWriterVersion", pa.int32()),
            ("readerFeatures", pa.list_(pa.string())),
            ("writerFeatures", pa.list_(pa.string())),
        ]
    ),
    "metaData": pa.struct(
        [
            ("id", pa.string()),
            ("name", pa.string()),
            ("format", pa.struct([("provider", pa.string()), ("options", TEXTS)])),
            ("schemaString", pa.string()),
            ("partitionColumns", pa.list_(pa.string())),
            ("createdTime", pa.int64()),
            ("configuration", TEXTS),
        ]
    ),
    "txn": pa.struct([("appId", pa.string()), ("version", pa.int64())]),
    "add": ADD,
    "sidecar": pa.struct(
        [("path", pa.string()), ("sizeInBytes", pa.int64()), ("modificationTime", pa.int64())]
    ),
    "checkpointMetadata": pa.struct([("version", pa.int64())]),
}


def write_actions(path: Path, actions: list[Action]) -> None:
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".json":
        path.write_text("".join(json.dumps(each) + "\n" for each in actions))
        return
    kinds = [kind for kind in KINDS if any(kind in each for each in actions)]
    schema = pa.schema([(kind, KINDS[kind]) for kind in kinds])
    whole = [{kind: each.get(kind) for kind in kinds} for each in actions]
    pq.write_table(pa.Table.from_pylist(whole, schema), path)


def make_second_version(path: Path, ending: str, *, has_sidecars: bool) -> list[Path]:
    """A checkpoint of the second version in the place of the log."""
    log, state = path / "_delta_log", list_state(path)
    version = len(list(log.glob("*.json"))) - 1
    told: Action = {"checkpointMetadata": {"version": version}}
    sidecars = []
    if has_sidecars:
        files = [each for each in state if "add" in each]
        state = [each for each in state if "add" not in each]
        for some in (files[:1], files[1:]):
            name = f"{uuid.uuid4()}.parquet"
            write_actions(log / "_sidecars" / name, some)
            size = (log / "_sidecars" / name).stat().st_size
            state.append({"sidecar": {"path": name, "sizeInBytes": size, "modificationTime": 1}})
            sidecars.append(log / "_sidecars" / name)
    for entry in log.glob("*.json"):
        entry.unlink()
    write_actions(log / f"{version:020}.checkpoint.{uuid.uuid4()}.{ending}", [told, *state])
    return sidecars


@pytest.mark.parametrize("ending", ["json", "parquet"])
@pytest.mark.parametrize("has_sidecars", [False, True])
def test_a_checkpoint_of_the_second_version_is_read(
    ending: str, has_sidecars: bool, table: Path
) -> None:
    append(table)
    sidecars = make_second_version(table, ending, has_sidecars=has_sidecars)
    assert opened(table).count() == 12
    read = verify(table)
    assert read.is_sound, read.damage
    assert not read.diagnosis.unseen
    next(table.glob("part-000001*")).unlink()
    (damage,) = verify(table).damage
    assert "1 file of it is gone, part-000001" in damage.evidence
    for sidecar in sidecars:
        sidecar.unlink()
    told = verify(table).damage[0].evidence
    assert bool(sidecars) is (
        told == f"{sidecars[0].name} of its log is gone" if sidecars else False
    )


def test_a_checkpoint_of_several_files_is_read(table: Path) -> None:
    state = list_state(table)
    log = table / "_delta_log"
    for entry in log.glob("*.json"):
        entry.unlink()
    for number, some in enumerate((state[:4], state[4:]), start=1):
        name = f"{3:020}.checkpoint.{number:010}.{2:010}.parquet"
        write_actions(log / name, some)
    assert opened(table).count() == 9
    assert verify(table).is_sound
    assert not verify(table).diagnosis.unseen
    next(log.glob("*2.parquet")).unlink()
    assert not verify(table).is_sound


def add_entry(path: Path, *actions: Action) -> None:
    log = path / "_delta_log"
    number = len(list(log.glob("*.json")))
    write_actions(log / f"{number:020}.json", list(actions))


def put_vector(path: Path, *, deleted: int, operation: str = "DELETE") -> Path:
    """As another program deletes rows without writing a file anew."""
    (add,) = [each["add"] for each in read_log(path) if "000001-" in str(each.get("add"))]
    named = uuid.uuid4()
    told = b85encode(named.bytes).decode().translate(str.maketrans(_B85, _Z85))
    vector = {
        "storageType": "u",
        "pathOrInlineDv": told,
        "offset": 1,
        "sizeInBytes": 36,
        "cardinality": deleted,
    }
    file = path / f"deletion_vector_{named}.bin"
    file.write_bytes(b"\1" + bytes(44))
    add_entry(
        path,
        {"commitInfo": {"operation": operation}},
        {"add": {**add, "deletionVector": vector}},
        {"remove": {"path": add["path"], "dataChange": True, "deletionTimestamp": 1}},
    )
    return file


def test_rows_that_a_deletion_vector_takes_away_are_lacking(table: Path) -> None:
    append(table)
    file = put_vector(table, deleted=1)
    check(table, LACKING)
    assert "8 of the 9 rows" in batten.diagnose(table).reason
    file.unlink()
    assert "1 file of it is gone, deletion_vector" in batten.diagnose(table).reason


def test_a_deletion_vector_that_takes_nothing_away_is_sound_while_it_is_there(table: Path) -> None:
    file = put_vector(table, deleted=0)
    check(table, SOUND)
    file.write_bytes(b"\1")
    check(table, LACKING)


def test_mapped_names_of_columns_are_no_matter(table: Path) -> None:
    metadata = next(each["metaData"] for each in read_log(table) if "metaData" in each)
    features = ["columnMapping"]
    protocol = {
        "minReaderVersion": 3,
        "minWriterVersion": 7,
        "readerFeatures": features,
        "writerFeatures": features,
    }
    mapped = {**metadata, "configuration": {"delta.columnMapping.mode": "name"}}
    add_entry(table, {"protocol": protocol}, {"metaData": mapped})
    check(table, SOUND)


def test_what_asks_for_readers_that_know_more_is_told(table: Path) -> None:
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["catalogManaged"]}
    add_entry(table, {"protocol": protocol})
    check(table, UNTOLD)
    assert "'catalogManaged'" in batten.diagnose(table).unseen["out"]


def test_an_operation_that_nobody_knows_is_told(table: Path) -> None:
    append(table)
    put_vector(table, deleted=0, operation="TANGLE")
    check(table, UNTOLD)
    assert "entry 5 of its log (TANGLE)" in batten.diagnose(table).unseen["out"]


def test_a_file_of_which_the_log_does_not_say_the_rows(table: Path) -> None:
    for entry in (table / "_delta_log").glob("*1.json"):
        lines = [json.loads(line) for line in entry.read_text().splitlines()]
        for line in lines:
            line.get("add", {}).pop("stats", None)
        write_actions(entry, lines)
    check(table, UNTOLD)


def test_a_second_job_in_the_same_table_has_rows_of_its_own(table: Path, tmp_path: Path) -> None:
    made = batten.from_range(20).map(lambda n: {"square": n}, version="1")
    second = made.options(batch_size=9).write_delta(table, dataset="out:1", ledger=tmp_path / "two")
    second.run(executor="serial")
    check(table, SOUND)
    assert batten.diagnose(tmp_path / "two").state == "COMPLETE"
    opened(table).delete("key = 4")
    check(table, UNTOLD)
    opened(table).delete("key < 9")
    check(table, LACKING)
    assert batten.diagnose(tmp_path / "two").state == "INCONSISTENT"

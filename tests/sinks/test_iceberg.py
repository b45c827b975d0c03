"""Tables of Iceberg: other writers, expired snapshots, what is synced before it is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyiceberg.catalog import load_catalog
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import LongType

from batten.crashlab.staging import SCHEMA, stage_batch
from batten.errors import BattenError, RefusedError, StorageError, UsageError
from batten.model.disk.destinations.tokens import PublishEnd, TokenState
from batten.sinks.base import RejectedError, Staged
from batten.sinks.lakes.iceberg.sink import IcebergSink
from batten.storage.changing import steps

if TYPE_CHECKING:
    from conftest import Lab

pytestmark = pytest.mark.parametrize("make_lab", ["iceberg"], indirect=True)


def load(lab: Lab) -> Any:
    assert isinstance(lab.sink, IcebergSink)
    return lab.keep(load_catalog("default", **lab.sink.properties)).load_table("lab.rows")


def append(lab: Lab, key: int) -> None:
    """As another program does."""
    load(lab).append(pa.Table.from_pylist([{"key": key, "name": "theirs"}], schema=SCHEMA))


def meanwhile(staged: Staged, act: Callable[[], object]) -> Staged:
    """The same, but something happens between the look at the table and the commit."""

    def load_after_it() -> bytes:
        act()
        return staged.load()

    def read_after_it() -> Iterator[pa.RecordBatch]:
        act()
        return staged.read()

    return replace(staged, load=load_after_it, read=read_after_it)


@pytest.mark.parametrize("is_retried", [False, True])
def test_a_commit_is_not_made_on_what_another_made_meanwhile(lab: Lab, is_retried: bool) -> None:
    mine, other = lab.open(), lab.open()
    mine.prepare(SCHEMA)
    other.prepare(SCHEMA)
    if is_retried:
        other.publish(stage_batch(0, [0, 2], failed=[2]))
    staged = stage_batch(0, [0, 2])
    late = meanwhile(staged, lambda: other.publish(staged))
    assert mine.publish(late) is PublishEnd.LOST_RACE
    assert mine.lookup([staged.token]) == [TokenState.SAME]
    unrelated = meanwhile(stage_batch(1, [1]), lambda: append(lab, 100))
    assert mine.publish(unrelated) is PublishEnd.LOST_RACE
    assert mine.lookup([unrelated.token]) == [TokenState.ABSENT]
    assert mine.publish(stage_batch(1, [1])) is PublishEnd.COMMITTED
    assert [row["key"] for row in lab.read()] == [0, 1, 2, 100]
    assert not any("retry" in name for name in load(lab).properties)


def test_tokens_outlive_snapshots(lab: Lab) -> None:
    destination = lab.open()
    destination.prepare(SCHEMA)
    for batch in range(3):
        destination.publish(stage_batch(batch, [batch]))
    table = load(lab)
    old = [snapshot.snapshot_id for snapshot in table.snapshots()[:-1]]
    table.maintenance.expire_snapshots().by_ids(old).commit()
    assert len(load(lab).snapshots()) == 1
    tokens = [stage_batch(batch, [batch]).token for batch in range(4)]
    assert lab.open().lookup(tokens) == [
        TokenState.SAME,
        TokenState.SAME,
        TokenState.SAME,
        TokenState.ABSENT,
    ]


def test_all_files_are_synced_before_the_catalogue_names_them(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    do = steps.do

    def note(step: str, name: str, *arguments: Any, **options: Any) -> Any:
        if step == "stage.sync":
            synced.append(name)
        return do(step, name, *arguments, **options)

    monkeypatch.setattr(steps, "do", note)
    destination = lab.open()
    destination.prepare(SCHEMA)
    destination.publish(stage_batch(0, [0, 1]))
    warehouse = lab.folder / "warehouse"
    found = {path.name for path in warehouse.rglob("*") if path.is_file()}
    kinds = {name.rpartition(".")[2] for name in found}
    assert kinds == {"parquet", "avro", "json"}
    named = {Path(name).name for name in synced}
    assert all(any(each.startswith(name) for each in named) for name in found), found - named


def test_rows_are_added_to_a_table_with_an_order(lab: Lab) -> None:
    """Which says how rows should lie, and holds nobody to it."""
    lab.make("key bigint, name text")
    with load(lab).update_sort_order() as change:
        change.desc("key", IdentityTransform())
    destination = lab.open()
    destination.prepare(SCHEMA)
    assert destination.publish(stage_batch(0, [0, 1])) is PublishEnd.COMMITTED
    assert [row["key"] for row in lab.read()] == [0, 1]


def test_rows_stay_what_they_are_as_others_change_the_columns(lab: Lab) -> None:
    destination = lab.open()
    destination.prepare(SCHEMA)
    destination.publish(stage_batch(0, [0]))
    with load(lab).update_schema() as change:
        change.add_column("extra", LongType())
    assert destination.publish(stage_batch(1, [1])) is PublishEnd.COMMITTED
    with load(lab).update_schema() as change:
        change.rename_column("name", "title")
    with pytest.raises(RefusedError, match="has no column 'name'"):
        destination.publish(stage_batch(2, [2]))
    assert lab.read() == [{"key": n, "title": f"n{n}", "extra": None} for n in range(2)]
    with load(lab).update_schema(allow_incompatible_changes=True) as change:
        change.rename_column("title", "name")
        change.add_column("needed", LongType(), required=True)
    with pytest.raises(RefusedError, match="can't do without column 'needed'"):
        destination.publish(stage_batch(2, [2]))


def test_a_null_where_the_table_has_none_is_refused(lab: Lab) -> None:
    lab.make("key bigint, name text")
    with load(lab).update_schema(allow_incompatible_changes=True) as change:
        change.update_column("name", required=True)
    destination = lab.open()
    destination.prepare(SCHEMA)
    assert destination.publish(stage_batch(0, [0])) is PublishEnd.COMMITTED
    lacking = stage_batch(1, [1], rows=[{"key": 1, "name": None}])
    with pytest.raises(RejectedError, match="a null, which the column 'name' can't hold"):
        destination.publish(lacking)
    assert destination.lookup([lacking.token]) == [TokenState.ABSENT]
    assert [row["key"] for row in lab.read()] == [0]


def test_rows_are_added_to_a_table_of_an_older_version(lab: Lab) -> None:
    assert isinstance(lab.sink, IcebergSink)
    with closing(load_catalog("default", **lab.sink.properties)) as catalog:
        catalog.create_namespace("lab")
        catalog.create_table("lab.rows", SCHEMA, properties={"format-version": "1"})
    destination = lab.open()
    destination.prepare(SCHEMA)
    assert destination.publish(stage_batch(0, [0, 1])) is PublishEnd.COMMITTED
    assert destination.lookup([stage_batch(0, [0, 1]).token]) == [TokenState.SAME]
    assert [row["key"] for row in lab.read()] == [0, 1]


def test_a_partitioned_table_is_refused(lab: Lab) -> None:
    lab.make("key bigint, name text")
    load(lab).update_spec().add_identity("name").commit()
    with pytest.raises(RefusedError, match="partitioned"):
        lab.open().prepare(SCHEMA)


def test_a_type_that_the_format_has_not_is_told(lab: Lab) -> None:
    with pytest.raises(RefusedError, match="'took'"):
        lab.open().prepare(pa.schema([("key", pa.int64()), ("took", pa.duration("us"))]))


def test_values_are_cast_to_the_columns_of_the_table(lab: Lab) -> None:
    schema = pa.schema(
        [("key", pa.int64()), ("kind", pa.dictionary(pa.int32(), pa.string())), ("n", pa.uint8())]
    )
    rows = [{"key": 0, "kind": "a", "n": 200}]
    destination = lab.open()
    destination.prepare(schema)
    destination.publish(stage_batch(0, [0], schema=schema, rows=rows))
    assert lab.read() == rows


def test_a_catalogue_that_cannot_be_opened_is_told(lab: Lab) -> None:
    (lab.folder / "catalogue.db").mkdir()
    with pytest.raises(StorageError, match=r"Opening table lab\.rows"):
        lab.open()


@pytest.mark.parametrize(
    ("properties", "error", "told"),
    [
        ({"type": "rest", "uri": "http://127.0.0.1:1"}, StorageError, "Opening table"),
        ({"type": "sql"}, RefusedError, "URI missing"),
        ({}, RefusedError, "Opening table"),
    ],
)
def test_a_catalogue_that_is_not_there_is_told(
    lab: Lab, properties: dict[str, str], error: type[BattenError], told: str
) -> None:
    sink = IcebergSink(table="lab.rows", catalog="nowhere", properties=properties)
    with pytest.raises(error, match=told):
        replace(lab, sink=sink).open()


def test_a_table_without_a_namespace_is_told(lab: Lab) -> None:
    with pytest.raises(UsageError, match="names no namespace"):
        replace(lab.sink, table="rows").check()

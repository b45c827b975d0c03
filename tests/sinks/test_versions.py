"""Items that change and go, and the rows that tables have of them: by key, or not at all."""

from __future__ import annotations

import errno
import random
import sys
import textwrap
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.tracing import needs_tracing

import batten
from batten.crashlab.changes import check_unharmed
from batten.crashlab.faults import Fail
from batten.crashlab.points import AtEachPlace, MakeFault
from batten.crashlab.sweeping import KILLS, Experiment, Trail, disturb
from batten.errors import RefusedError
from batten.run.report import Report

if TYPE_CHECKING:
    from conftest import Lab, MakeLab

Item = dict[str, Any]
BATTEN = str(Path(sys.executable).with_name("batten"))
ITEMS = [{"id": f"i{number}", "names": f"n{number} m{number}"} for number in range(8)]
CHANGED = [
    {**item, "names": "another"} if item["id"] in ("i1", "i7") else item
    for item in ITEMS
    if item["id"] not in ("i2", "i4")
]
KEYED = pytest.mark.parametrize(
    "make_lab", ["sqlite", "postgres", "delta", "iceberg"], indirect=True
)
FAILURES: list[MakeFault] = [
    partial(Fail, error=errno.EIO),
    AtEachPlace(partial(Fail, error=errno.ENOSPC)),
]


def split(item: Item) -> list[dict[str, str]]:
    return [{"name": name} for name in item["names"].split()]


def expected(items: list[Item]) -> list[dict[str, str]]:
    rows = [{"key": item["id"], **row} for item in items for row in split(item)]
    return sorted(rows, key=lambda row: (row["key"], row["name"]))


def run(lab: Lab, items: list[Item], *, removed: str = "drop", **options: Any) -> Report:
    source = batten.from_items(items, key="id", removed=removed)
    made = source.flat_map(split).options(batch_size=3)
    return lab.write(made, **options).run(executor="serial")


def make_table(lab: Lab) -> None:
    """Where it has columns of others; tables of files are made by the run."""
    if lab.kind in ("sqlite", "postgres"):
        lab.make("key text, name text, mine text DEFAULT 'none', PRIMARY KEY (key, name)")


@KEYED
def test_rows_of_items_that_change_and_go_are_replaced_by_key(lab: Lab) -> None:
    make_table(lab)
    run(lab, ITEMS, key=("key", "name"))
    lab.append([{"key": "foreign", "name": "row"}])
    report = run(lab, CHANGED, key=("key", "name"))
    assert (report.changed_items, report.removed_items) == (2, 2)
    found = [{"key": row["key"], "name": row["name"]} for row in lab.read()]
    foreign = {"key": "foreign", "name": "row"}
    assert found == sorted([*expected(CHANGED), foreign], key=lambda row: (row["key"], row["name"]))
    assert run(lab, CHANGED, key=("key", "name")).status == "nothing-to-do"
    run(lab, ITEMS, key=("key", "name"))
    found = [{"key": row["key"], "name": row["name"]} for row in lab.read()]
    assert [row for row in found if row != foreign] == expected(ITEMS)


@KEYED
def test_what_changes_in_a_dataset_upstream_reaches_the_table_by_key(lab: Lab) -> None:
    """Whether an item there has other rows, fewer, or is gone."""
    if lab.kind in ("sqlite", "postgres"):
        lab.make("key text PRIMARY KEY, name text")

    def load(items: list[Item]) -> Report:
        first = batten.from_items(items, key="id", removed="drop").flat_map(split)
        first.options(batch_size=3).write_parquet(lab.folder / "first").run(executor="serial")
        second = batten.from_dataset(lab.folder / "first").map(_name).options(batch_size=4)
        return lab.write(second, key="key").run(executor="serial")

    def names(items: list[Item]) -> list[str]:
        return sorted(row["name"] for item in items for row in split(item))

    load(ITEMS)
    assert sorted(row["name"] for row in lab.read()) == names(ITEMS)
    report = load(CHANGED)
    assert (report.changed_items, report.removed_items) == (2, 6)
    assert sorted(row["name"] for row in lab.read()) == names(CHANGED)
    assert load(CHANGED).status == "nothing-to-do"
    load(ITEMS)
    assert sorted(row["name"] for row in lab.read()) == names(ITEMS)


def _name(row: dict[str, str]) -> dict[str, str]:
    return {"name": row["name"]}


def test_without_a_key_nothing_is_changed_and_the_way_on_is_told(lab: Lab) -> None:
    run(lab, ITEMS)
    before = lab.read()
    for _ in range(2):
        with pytest.raises(RefusedError, match="can't be told from others") as refused:
            run(lab, CHANGED)
        assert "changed='ignore'" in refused.value.next
        assert lab.read() == before
    kept = batten.from_items(CHANGED, key="id", changed="ignore").flat_map(split)
    report = lab.write(kept.options(batch_size=3)).run(executor="serial")
    assert (report.status, lab.read()) == ("nothing-to-do", before)


def test_a_table_that_is_added_later_gets_what_is_there_now(lab: Lab) -> None:
    source = batten.from_items(ITEMS, key="id", removed="drop").flat_map(split)
    parts = source.options(batch_size=3).write_parquet(lab.folder / "rows")
    parts.run(executor="serial")
    changed = batten.from_items(CHANGED, key="id", removed="drop").flat_map(split)
    parts = changed.options(batch_size=3).write_parquet(lab.folder / "rows")
    lab.write(parts).run(executor="serial")
    assert lab.read() == expected(CHANGED)


def test_without_a_key_what_had_no_rows_may_change(lab: Lab) -> None:
    """Whether it fails again, is filtered, or has rows now."""
    for names in (None, 1, "", "later"):
        items = [*ITEMS[:3], *({**item, "names": names} for item in ITEMS[3:6]), *ITEMS[6:]]
        run(lab, items)
        given = items if isinstance(names, str) else [*ITEMS[:3], *ITEMS[6:]]
        by_key = sorted(lab.read(), key=lambda row: str(row["key"]))
        assert by_key == sorted(expected(given), key=lambda row: row["key"])
    with pytest.raises(RefusedError, match="The first is in batch 1"):
        run(lab, [*items[:3], {**items[3], "names": "again"}, *items[4:]])


@KEYED
def test_what_failed_is_tried_again_in_a_batch_that_has_changed(lab: Lab) -> None:
    bad = [{**item, "names": None} if item["id"] == "i0" else item for item in ITEMS]
    run(lab, bad, key=("key", "name"))
    run(lab, [{**bad[0]}, *CHANGED[1:]], key=("key", "name"))
    assert lab.read() == expected(CHANGED[1:])
    run(lab, CHANGED, key=("key", "name"))
    assert lab.read() == expected(CHANGED)


JOB = """
    import json
    from pathlib import Path

    import batten

    def split(item):
        return [{"name": name} for name in item["names"].split()]

    source = batten.from_jsonl("items.jsonl", key="id", removed="drop")
    made = source.flat_map(split).options(batch_size=3)
    pipeline = made.write_parquet("rows")
"""


@needs_tracing
@pytest.mark.parametrize("sample", [2, pytest.param(10, marks=pytest.mark.crash)])
@pytest.mark.parametrize(
    "faults", [KILLS, pytest.param(FAILURES, marks=pytest.mark.crash)], ids=["kills", "failures"]
)
@KEYED
def test_disturbed_around_any_call(
    faults: list[MakeFault], sample: int, make_lab: MakeLab, tmp_path: Path, seeded: random.Random
) -> None:
    """Each batch of the table is the old one or the new one, whole."""
    labs: dict[Path, Lab] = {}
    command = ["run", "job.py", "--jobs", "1", "--quiet"]

    def prepare(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        lab = labs[folder] = make_lab(folder)
        call = lab.call.replace(', ledger="rows"', "")[:-1] + ', key=("key", "name"))'
        (folder / "job.py").write_text(textwrap.dedent(JOB).rstrip() + call + "\n")
        make_table(lab)
        write(folder, ITEMS)
        assert lab.command(*command).returncode == 0
        write(folder, CHANGED)

    def write(folder: Path, items: list[Item]) -> None:
        import json

        (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))

    def read(folder: Path) -> list[dict[str, str]]:
        return [{"key": row["key"], "name": row["name"]} for row in labs[folder].read()]

    def check_always(folder: Path, trail: Trail) -> None:
        assert "Traceback" not in trail.last.stderr, trail.last.stderr
        check_unharmed(folder / "rows")
        found = read(folder)
        for start in range(0, len(ITEMS), 3):
            keys = {item["id"] for item in ITEMS[start : start + 3]}
            both = [
                [row for row in expected(each) if row["key"] in keys] for each in (ITEMS, CHANGED)
            ]
            assert [row for row in found if row["key"] in keys] in both

    def check(folder: Path, trail: Trail) -> None:
        assert read(folder) == expected(CHANGED)
        assert batten.diagnose(folder / "rows").state == "COMPLETE"

    experiment = Experiment(
        prepare=prepare,
        command=lambda folder: [BATTEN, *command],
        folders=lambda folder: [folder / "rows", folder / "rows.batten", *labs[folder].folders],
        check=check,
        check_always=check_always,
        is_forked=True,
    )
    disturb(
        experiment,
        tmp_path,
        seeded=seeded,
        faults=faults,
        sample=sample,
    )

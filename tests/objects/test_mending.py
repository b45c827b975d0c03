"""`recover` and `clean` on an address, over a real store."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import batten
from batten.ledger.generations import claim, find_current, succeed
from batten.model.disk.names import Layout
from batten.model.words import State
from batten.storage.base import Store
from batten.storage.objects.store import BucketStore
from batten.storage.staged_here import StagedHere, staging_folder

LAYOUT = Layout("rows", is_shared=True)
CHUNK = "rows.batten/staged/000000-000000-000002-0123456789abcdef0123456789abcdef.arrow"


def make(prefix: str) -> tuple[str, Store]:
    output = f"{prefix}/rows"
    pipeline = batten.from_range(4).map(lambda number: {"number": number}).options(batch_size=2)
    pipeline.write_parquet(output).run(executor="serial", progress=False)
    return output, StagedHere(BucketStore(prefix), staging_folder())


def command(folder: Path, *words: str) -> tuple[int, Any, str]:
    done = subprocess.run(
        [sys.executable, "-m", "batten", *words, "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def delete(store: Store, folder: str) -> None:
    for entry in list(store.list(folder)):
        store.delete_if(entry.name, entry.version)


def test_clean_removes_what_is_staged_on_this_machine(prefix: str, tmp_path: Path) -> None:
    output, store = make(prefix)
    store.put_new(CHUNK, b"left")
    assert batten.diagnose(output).state is State.COMPLETE_WITH_ORPHANS
    code, told, _ = command(tmp_path, "clean", output, "--dry-run")
    assert (code, len(told["removed"])) == (0, 1)
    assert store.find(CHUNK) is not None
    code, told, _ = command(tmp_path, "clean", output)
    assert (code, len(told["removed"])) == (0, 1)
    assert store.find(CHUNK) is None
    assert batten.diagnose(output).state is State.COMPLETE


def test_clean_removes_a_dataset_whose_place_another_one_has_taken(
    prefix: str, tmp_path: Path
) -> None:
    output, store = make(prefix)
    inner = LAYOUT.of_generation("new")
    claimed = claim(store, LAYOUT, name="new")
    for folder in ("rows", "rows.batten", "rows.batten/plan", "rows.batten/commits"):
        for entry in list(store.list(folder)):
            to = entry.name.replace("rows", inner.output, 1)
            if entry.is_file and entry.name != LAYOUT.current:
                store.put_new(to, store.read(entry.name))
    succeed(store, LAYOUT, claimed)
    assert find_current(store, LAYOUT) == inner
    code, told, _ = command(tmp_path, "clean", output)
    assert (code, [each["path"] for each in told["removed"]]) == (0, [output])
    assert [entry.name for entry in store.list("rows")] == []
    assert batten.open(output).count_rows() == 4


@pytest.mark.parametrize("lost", ["rows.batten/commits", "rows.batten/schema.json"])
def test_recover_makes_anew_what_the_parts_say(prefix: str, tmp_path: Path, lost: str) -> None:
    output, store = make(prefix)
    store_entry = store.find(lost)
    assert store_entry is not None
    if store_entry.is_folder:
        delete(store, lost)
        for entry in list(store.list("rows.batten")):
            if "COMPLETE" in entry.name:
                store.delete_if(entry.name, entry.version)
    else:
        store.delete_if(lost, store_entry.version)
    code, told, error = command(tmp_path, "recover", output)
    assert code == 0, error
    assert {each["do"] for each in told["steps"]} <= {"rebuild", "rebuild the columns"}
    assert told["steps"]
    assert store.find(lost) is not None
    assert command(tmp_path, "verify", output)[0] in (0, 10)


@pytest.mark.parametrize("words", [["recover"], ["recover", "--recompute-missing"]])
def test_recover_says_what_to_do_about_a_lost_part(
    prefix: str, tmp_path: Path, words: list[str]
) -> None:
    output, store = make(prefix)
    entry = store.find("rows/part-000001.parquet")
    assert entry is not None
    store.delete_if(entry.name, entry.version)
    before = [each.name for each in store.list("rows.batten/commits")]
    code, _, error = command(tmp_path, *words, output)
    assert code == 4
    assert "earlier version of the object" in error
    assert [each.name for each in store.list("rows.batten/commits")] == before
    again = batten.from_range(4).map(lambda number: {"number": number}).options(batch_size=2)
    again.write_parquet(output).run(executor="serial", progress=False, fresh=True)
    assert batten.open(output).count_rows() == 4

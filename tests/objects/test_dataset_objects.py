"""A dataset in an object store as the source of another one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import batten
from batten.crashlab.servers.object_relay import ObjectRelay, ObjectRequest
from batten.crashlab.servers.object_server import ObjectStoreServer
from batten.errors import RefusedError, UsageError
from batten.storage.objects.store import BucketStore
from batten.storage.twin.fates import Fate

ITEMS, BATCH_SIZE = 40, 10
JOB = """\
import batten


def copy(row):
    return {{"value": row["value"]}}


pipeline = batten.from_dataset("{up}", removed="keep").map(copy).options(batch_size=10)
pipeline = pipeline.write_parquet("{down}")
"""


def write_rows(folder: Path, values: dict[int, str]) -> Path:
    path = folder / "rows.jsonl"
    lines = (json.dumps({"id": number, "value": value}) for number, value in values.items())
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def copy(row: dict[str, Any]) -> dict[str, Any]:
    if row["value"] == "bad":
        raise ValueError(row)
    return {"value": row["value"]}


def make_up(folder: Path, up: str, values: dict[int, str], **options: Any) -> Any:
    made = batten.from_jsonl(write_rows(folder, values), key="id").map(copy)
    made = made.options(batch_size=BATCH_SIZE, stop_when=None).write_parquet(up)
    return made.run(executor="serial", progress=False, **options)


def make_down(up: str, down: Path | str, **options: Any) -> Any:
    made = batten.from_dataset(up, **options).map(copy).options(batch_size=BATCH_SIZE)
    return made.write_parquet(down).run(executor="serial", progress=False)


def read_rows(output: Path | str) -> dict[str, str]:
    return {row["key"]: row["value"] for row in batten.open(output).to_arrow().to_pylist()}


def command(folder: Path, *words: str) -> tuple[int, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "batten", *words, "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


def test_only_what_changed_is_read_and_computed(
    prefix: str, objects: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    up, down = f"{prefix}/up", tmp_path / "down"
    values = {number: str(number) for number in range(ITEMS)}
    make_up(tmp_path, up, values)
    assert make_down(up, down).executed_items == ITEMS
    assert batten.diagnose(down).state.value == "COMPLETE"
    assert make_down(up, down).executed_items == 0

    values[25] = "other"
    make_up(tmp_path, up, values, fresh=True)
    found = batten.diagnose(down)
    assert (found.state.value, found.exit_code) == ("STALE", 10)
    assert f"it was made of {up}, of which 1 of 4 batches" in found.reason

    parts: Counter[str] = Counter()

    def fate(request: ObjectRequest) -> Fate:
        if request.method == "GET" and (at := re.search(r"part-0*(\d+)\.parquet$", request.path)):
            parts[at[1] or "0"] += 1
        return Fate.DONE

    with ObjectRelay(objects.port, fate) as relay, monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{relay.port}")
        assert make_down(up, down).executed_items == 1
    assert set(parts) == {"2"}
    assert read_rows(down) == {str(number): value for number, value in values.items()}
    assert batten.diagnose(down).state.value == "COMPLETE"

    values[ITEMS] = "new"
    make_up(tmp_path, up, values)
    assert make_down(up, down).executed_items == 1
    assert read_rows(down)[str(ITEMS)] == "new"


def test_a_part_that_changes_while_it_is_read_is_told_as_changed(
    prefix: str, objects: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    up, down = f"{prefix}/up", tmp_path / "down"
    make_up(tmp_path, up, {number: os.urandom(40_000).hex() for number in range(ITEMS)})
    store = BucketStore(prefix, is_probed=True)
    name = "up/part-000002.parquet"
    store.find(name)  # It connects to the server, and not to the relay.
    asked = 0

    def fate(request: ObjectRequest) -> Fate:
        nonlocal asked
        if request.method == "GET" and request.path.endswith(name):
            asked += 1
            if asked == 2:
                found = store.find(name)
                assert found is not None
                store.put_if(name, store.read(name) + b"\0", found.version)
        return Fate.DONE

    with ObjectRelay(objects.port, fate) as relay, monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{relay.port}")
        with pytest.raises(RefusedError, match="was changed while the run was at work"):
            make_down(up, down)
    assert asked >= 2


def test_what_is_not_whole_is_refused(prefix: str, tmp_path: Path) -> None:
    up, down = f"{prefix}/up", tmp_path / "down"
    values = {number: str(number) for number in range(ITEMS)}
    make_up(tmp_path, up, values, limit=10)
    with pytest.raises(RefusedError, match=re.escape(up)) as caught:
        make_down(up, down)
    assert not down.exists()
    assert up in str(caught.value.next) or "run" in str(caught.value.next)
    with pytest.raises(RefusedError, match=re.escape(f"{prefix}/none")):
        make_down(f"{prefix}/none", down)


def test_the_commands_show_the_address(prefix: str, tmp_path: Path) -> None:
    up = f"{prefix}/up"
    values = {number: str(number) for number in range(ITEMS)}
    make_up(tmp_path, up, values)
    (tmp_path / "job.py").write_text(JOB.format(up=up, down="down"))
    assert command(tmp_path, "run", "job.py", "--jobs", "2")[0] == 0
    code, found = command(tmp_path, "verify", "down", "--upstream")
    assert (code, found["status"]) == (0, "sound")
    assert [(link["upstream"], link["closed"]) for link in found["links"]] == [(up, True)]
    code, found = command(tmp_path, "diagnose", "down", "--upstream")
    assert (code, [each["path"] for each in found["upstream"]]) == (0, [up])

    values[3] = "bad"
    make_up(tmp_path, up, values, fresh=True)
    code, found = command(tmp_path, "verify", "down", "--upstream")
    assert (code, found["status"]) == (10, "behind")
    code, found = command(tmp_path, "diagnose", "down", "--upstream")
    assert (code, found["state"], found["upstream"][0]["path"]) == (10, "STALE", up)
    assert command(tmp_path, "run", "job.py", "--with-upstream")[0] == 0
    assert command(tmp_path, "verify", "down", "--upstream")[1]["status"] == "sound"

    values[ITEMS] = "more"
    make_up(tmp_path, up, values, limit=ITEMS - 5, fresh=True)
    code, found = command(tmp_path, "run", "job.py", "--with-upstream")
    assert code == 5, "its record lies where others may have written it"
    assert up in found["error"]["what"]


def test_from_a_store_to_a_store(prefix: str, tmp_path: Path) -> None:
    up, down = f"{prefix}/up", f"{prefix}/down"
    values = {number: str(number) for number in range(ITEMS)}
    make_up(tmp_path, up, values)
    assert make_down(up, down).executed_items == ITEMS
    values[7] = "other"
    del values[3]
    make_up(tmp_path, up, values, fresh=True)
    report = make_down(up, down)
    assert (report.executed_items, report.changed_items, report.removed_items) == (1, 1, 1)
    assert read_rows(down) == {str(number): value for number, value in values.items()}
    assert batten.diagnose(down).state == "COMPLETE"
    assert make_down(up, down).status == "nothing-to-do"
    with pytest.raises(UsageError, match="lies among the objects"):
        make_down(up, up, removed="keep")


def test_a_dataset_with_a_long_plan_is_a_source(prefix: str, tmp_path: Path) -> None:
    """A record of a segment describes the keys of each batch, so it may be large."""
    rows = write_rows(tmp_path, {number: str(number) for number in range(2 * ITEMS)})
    made = batten.from_jsonl(rows, key="id").map(copy).options(batch_size=1)
    made.write_parquet(f"{prefix}/up").run(executor="serial", progress=False)
    assert make_down(f"{prefix}/up", tmp_path / "down").executed_items == 2 * ITEMS

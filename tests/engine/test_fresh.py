"""Two ways on after a change: all anew in one step, or the rest by the new code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import batten

JOB = """
import batten
def scale(number):
    if number == {fails_at}: raise ValueError("no")
    return {{"x": number * {factor}}}
pipeline = batten.from_range({items}).map(scale).options(batch_size=4).write_parquet("out")
"""


def _write(folder: Path, *, factor: int, items: int = 10, fails_at: int = -1) -> None:
    text = JOB.format(factor=factor, items=items, fails_at=fails_at)
    (folder / "job.py").write_text(text)


def _batten(
    folder: Path, *words: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "batten", *words],
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def _values(folder: Path) -> list[int]:
    return [
        value
        for part in sorted((folder / "out").glob("part-*.parquet"))
        for value in pq.read_table(part).column("x").to_pylist()
    ]


def test_a_change_is_refused_and_told_by_name(tmp_path: Path) -> None:
    _write(tmp_path, factor=1)
    assert _batten(tmp_path, "run", "job.py").returncode == 0
    _write(tmp_path, factor=2)
    refused = _batten(tmp_path, "run", "job.py")
    assert refused.returncode == 5
    assert "function job.scale changed (job.py:3)" in refused.stderr
    assert "--accept-change" in refused.stderr
    assert "--fresh" in refused.stderr
    assert _values(tmp_path) == list(range(10))


def test_in_python_the_ways_on_are_arguments(tmp_path: Path) -> None:
    output = tmp_path / "out"
    batten.from_range(3).map(lambda n: {"x": n}).write_parquet(output).run(executor="serial")
    changed = batten.from_range(3).map(lambda n: {"x": -n}).write_parquet(output)
    with pytest.raises(batten.RefusedError) as refused:
        changed.run(executor="serial")
    assert "(accept_change=True)" in refused.value.next
    assert "(fresh=True)" in refused.value.next
    with pytest.raises(batten.RefusedError) as refused:
        changed.run(executor="serial", resume="never")
    assert refused.value.next.endswith("allow to resume: resume='if_possible'")
    other = changed.options(key_column="number")
    with pytest.raises(batten.RefusedError) as refused:
        other.run(executor="serial", accept_change=True)
    assert "(fresh=True)" in refused.value.next
    assert "accept_change" not in refused.value.next
    changed.run(executor="serial", accept_change=True)


@pytest.mark.parametrize(("words", "count"), [([], 7), (["--limit", "4"], 4)])
def test_what_is_foreseen_of_a_dataset_made_anew_is_not_the_old_one(
    tmp_path: Path, words: list[str], count: int
) -> None:
    _write(tmp_path, factor=1)
    assert _batten(tmp_path, "run", "job.py").returncode == 0
    _write(tmp_path, factor=2, items=7)
    told = _batten(tmp_path, "run", "job.py", "--fresh", "--dry-run", "--json", *words)
    report = json.loads(told.stdout)
    assert (report["items"]["source"], report["items"]["pending"]) == (count, count)
    assert (report["items"]["committed"], report["rows"]) == (0, 0)


def test_fresh_replaces_when_it_is_complete(tmp_path: Path) -> None:
    _write(tmp_path, factor=1)
    assert _batten(tmp_path, "run", "job.py").returncode == 0
    _write(tmp_path, factor=2, items=7)
    limited = _batten(tmp_path, "run", "job.py", "--fresh", "--limit", "4", "--json")
    assert json.loads(limited.stdout)["status"] == "limited"
    assert _values(tmp_path) == list(range(10))
    done = _batten(tmp_path, "run", "job.py", "--fresh", "--json")
    report = json.loads(done.stdout)
    assert (report["status"], report["executed_items"]) == ("complete", 3)
    assert _values(tmp_path) == [0, 2, 4, 6, 8, 10, 12]
    assert not (tmp_path / "out.batten/fresh").exists()
    assert _batten(tmp_path, "verify", "out").returncode == 0
    assert _batten(tmp_path, "run", "job.py").returncode == 0
    _write(tmp_path, factor=3, items=7)
    assert _batten(tmp_path, "run", "job.py", "--fresh").returncode == 0
    assert _values(tmp_path) == [0, 3, 6, 9, 12, 15, 18]


def test_fresh_keeps_what_is_not_battens(tmp_path: Path) -> None:
    _write(tmp_path, factor=1)
    assert _batten(tmp_path, "run", "job.py").returncode == 0
    (tmp_path / "out/notes.txt").write_text("mine")
    (tmp_path / "out/drafts").mkdir()
    (tmp_path / "out/drafts/one").write_text("also mine")
    _write(tmp_path, factor=2)
    assert _batten(tmp_path, "run", "job.py", "--fresh").returncode == 0
    assert _values(tmp_path) == list(range(0, 20, 2))
    (notes,) = (tmp_path / "out.batten/set-aside").glob("*-notes.txt")
    (draft,) = (tmp_path / "out.batten/set-aside").glob("*-drafts/one")
    assert (notes.read_text(), draft.read_text()) == ("mine", "also mine")
    assert not (tmp_path / "out/notes.txt").exists()
    assert _batten(tmp_path, "verify", "out").returncode == 0


def _count_steps(folder: Path, counted: Path, *words: str) -> int:
    ran = _batten(folder, *words, environment={"BATTEN_COUNT_STEPS": str(counted)})
    assert ran.returncode == 0
    return len(counted.read_text().splitlines())


def test_fresh_keeps_links_and_what_they_lead_to(tmp_path: Path) -> None:
    _write(tmp_path, factor=1)
    assert _batten(tmp_path, "run", "job.py").returncode == 0
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine").write_text("mine")
    for folder in ("out", "out.batten"):
        (tmp_path / folder / "dangling").symlink_to("nowhere")
        (tmp_path / folder / "to-file").symlink_to(other / "mine")
        (tmp_path / folder / "to-folder").symlink_to(other)
        os.mkfifo(tmp_path / folder / "pipe")
    _write(tmp_path, factor=2)
    ended = _batten(tmp_path, "run", "job.py", "--fresh")
    assert ended.returncode == 0, ended.stderr
    kept = list((tmp_path / "out.batten" / "set-aside").iterdir())
    names = ["dangling", "pipe", "to-file", "to-folder"]
    assert sorted(path.name.partition("-")[2].split("-", 1)[1] for path in kept) == sorted(
        [*names, *(f"control-{name}" for name in names)]
    )
    assert sum(path.is_symlink() for path in kept) == 6
    assert os.listdir(other) == ["mine"]
    assert not (tmp_path / "out.batten" / "fresh").exists()
    assert _batten(tmp_path, "verify", "out").returncode == 0


@pytest.mark.parametrize("share", [0.1, 0.5, 0.75, 0.8, 0.85, 0.9, 0.95])
def test_a_fresh_run_that_is_killed_keeps_one_whole(tmp_path: Path, share: float) -> None:
    twin = tmp_path / "twin"
    twin.mkdir()
    for folder in (tmp_path, twin):
        _write(folder, factor=1)
        assert _batten(folder, "run", "job.py", "--jobs", "1").returncode == 0
        _write(folder, factor=2)
    words = ("run", "job.py", "--fresh", "--jobs", "1")
    steps = _count_steps(twin, tmp_path / "steps", *words)
    old, new = list(range(10)), list(range(0, 20, 2))
    _batten(tmp_path, *words, environment={"BATTEN_CRASH_AT": str(int(steps * share))})
    assert _values(tmp_path) in (old, new)
    diagnosis = json.loads(_batten(tmp_path, "diagnose", "out", "--json").stdout)
    expected = {"COMPLETE", "COMPLETE_WITH_ORPHANS", "RECOVERY_PENDING"}
    assert diagnosis["state"] in expected
    if diagnosis["state"] == "RECOVERY_PENDING":
        assert _batten(tmp_path, "recover", "out").returncode == 0
        assert _values(tmp_path) == new
    assert _batten(tmp_path, *words).returncode == 0
    assert _values(tmp_path) == new
    assert _batten(tmp_path, "verify", "out").returncode == 0


def test_an_accepted_change_keeps_rows_and_says_what_made_them(tmp_path: Path) -> None:
    _write(tmp_path, factor=1, fails_at=-2)
    assert _batten(tmp_path, "run", "job.py", "--limit", "4").returncode == 0
    old = json.loads((tmp_path / "out.batten/dataset.json").read_text())["fingerprint"]["digest"]
    _write(tmp_path, factor=2)
    assert _batten(tmp_path, "run", "job.py").returncode == 5
    assert _batten(tmp_path, "run", "job.py", "--accept-change").returncode == 0
    assert _values(tmp_path) == [0, 1, 2, 3, *range(8, 20, 2)]
    config = json.loads((tmp_path / "out.batten/dataset.json").read_text())
    assert config["earlier_fingerprints"] == [old]
    made_by = [
        json.loads(path.read_text())["fingerprint"]
        for path in sorted((tmp_path / "out.batten/commits").iterdir())
    ]
    new = config["fingerprint"]["digest"]
    assert made_by == [old, new, new]
    assert _batten(tmp_path, "verify", "out").returncode == 0
    assert _batten(tmp_path, "run", "job.py").returncode == 0


def test_a_limited_one_says_what_readers_have(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(
        "import batten\n"
        "pipeline = batten.from_range(6).map(lambda n: {'n': n}).options(batch_size=2)"
        ".write_parquet('out')\n"
    )
    assert _batten(tmp_path, "run", "job.py").returncode == 0
    ended = _batten(tmp_path, "run", "job.py", "--fresh", "--limit", "2")
    assert ended.returncode == 0
    first = ended.stderr.splitlines()[0]
    assert first.startswith("out: limited: a new dataset was begun in out.batten/fresh; until it")
    assert "not marked complete" not in ended.stderr
    assert batten.diagnose(tmp_path / "out").state == "COMPLETE"

"""What is looked at before a run starts: what can't end well is refused before anything is made."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from typing import Any

import pytest

import batten
from batten.run.checks import check_memory
from batten.run.run_options import RunOptions
from batten.storage.machine import MemoryRoom

Folder = Any
"""A `JobFolder` of tests/conftest.py."""

GIGABYTE = 10**9

LINES = """
def measure(row):
    return {"length": len(row["text"])}

pipeline = batten.from_csv("in.csv", key="k").map(measure).write_parquet("out/")
"""

GREEDY = """
def fill(number):
    kept = b"x" * (300_000_000 if number == 5 else 10)
    if number == 5:
        open("never").read()
    return {"bytes": len(kept)}

pipeline = batten.from_range(8).map(fill).write_parquet("out").options(batch_size=4)
"""


def test_a_dry_run_shows_what_was_checked(job: Folder) -> None:
    job.write(LINES)
    (job.path / "in.csv").write_text("k,text\na,aa\nb,bb\n")
    before = job.snapshot()
    told = job.run("--dry-run", "--json")
    assert told.code == 0, told.err
    checks = {each["name"]: each for each in told.json["checks"]}
    assert set(checks) == {"lock", "input", "output", "memory", "disk"}
    assert {each["verdict"] for each in checks.values()} <= {"ok", "doubtful"}
    assert checks["input"]["told"] == "in.csv: readable, 17 bytes"
    assert job.snapshot() == before
    assert "  input: ok; in.csv: readable, 17 bytes" in job.run("--dry-run").err


def test_a_missing_input_is_refused_before_anything_is_made(job: Folder) -> None:
    job.write(LINES)
    dry = job.run("--dry-run")
    assert dry.code == 7
    assert "  input: refused; in.csv: No such file or directory" in dry.err
    run = job.run("--quiet")
    assert run.code == 7
    assert run.told == dry.told
    assert run.told[0] == "The input in.csv can't be read: No such file or directory."
    assert sorted(os.listdir(job.path)) == ["job.py"]


@pytest.mark.parametrize(
    "source",
    [
        'from_csv("in.csv")',
        'from_jsonl("in.jsonl")',
        'from_parquet("in.parquet")',
        'from_files("in/*.txt")',
        'from_landed("in/")',
        'from_tables(read="in.csv")',
    ],
)
def test_every_source_that_is_not_there_is_a_matter_of_the_environment(
    job: Folder, source: str
) -> None:
    does = ".apply(lambda read: read)" if "tables" in source else ".map(lambda item: {'n': 1})"
    job.write(f"pipeline = batten.{source}{does}.write_csv('out.csv')")
    for words in ((), ("--skip-checks",)):
        ended = job.run("--quiet", *words)
        assert (ended.code, len(ended.told)) == (7, 3)


def test_what_kept_a_run_from_beginning_is_told_by_diagnose(job: Folder) -> None:
    job.write(LINES)
    (job.path / "in.csv").write_text("k,text\na,aa\nb,bb\n")
    assert job.run("--limit", "1").code == 0
    (job.path / "in.csv").unlink()
    assert job.run("--quiet").code == 7
    found = batten.diagnose(job.path / "out")
    assert found.state == "INTERRUPTED"
    assert "did not begin: The input in.csv can't be read" in found.hints[0]
    assert found.again.likelihood == "yes"
    # Where the state itself tells why a run is refused, nothing is written.
    (job.path / "in.csv").write_text("k,text\na,aa\nb,bb\n")
    (job.path / "out.batten" / "dataset.json").write_text("{}")
    before = sorted(os.listdir(job.path / "out.batten" / "runs"))
    assert job.run("--quiet").code == 4
    assert sorted(os.listdir(job.path / "out.batten" / "runs")) == before


REFUSED = {
    "no key in the header": ('batten.from_csv("in.csv", key="k")', 2),
    "an item without a key": ('batten.from_items([{"k": 1}, {"x": 1}], key="k")', 2),
    "no dataset": ('batten.from_dataset("up")', 5),
    "no database": ("batten.from_range(3)", 5),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("has_folder", [False, True])
def test_a_first_run_that_is_refused_leaves_nothing(
    job: Folder, what: str, has_folder: bool
) -> None:
    source, code = REFUSED[what]
    (job.path / "in.csv").write_text("a,b\n1,2\n")
    (job.path / "base.db").write_text("this is not a database, and long enough to be told")
    given = 'write_sqlite("base.db", "t")' if what == "no database" else 'write_parquet("out")'
    job.write(f"pipeline = {source}.map(lambda item: {{'v': 1}}).{given}")
    if has_folder:
        (job.path / "out").mkdir()
    before = sorted(job.path.rglob("*"))
    refused = job.run("--quiet", "--jobs", "1")
    assert refused.code == code, refused.err
    assert sorted(path for path in job.path.rglob("*") if "pycache" not in str(path)) == before
    assert "There is out.batten now" not in refused.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(
    ("shut", "what"),
    [("in.csv", "The input in.csv can't be read"), (".", "this user may not write in '.'")],
)
def test_without_permission_nothing_is_begun(
    job: Folder, nobody: list[str], shut: str, what: str
) -> None:
    job.write(LINES)
    (job.path / "in.csv").write_text("k,text\na,aa\n")
    for folder in (job.path, *job.path.parents):
        if stat.S_IMODE(folder.stat().st_mode) == 0o700:
            folder.chmod(0o755)
    (job.path / shut).chmod(0o555 if shut == "." else 0)
    told = subprocess.run(
        [*nobody, sys.executable, "-m", "batten", "run", "job.py", "--quiet"],
        cwd=job.path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 7, told.stderr
    assert what in told.stderr
    assert not (job.path / "out.batten").exists()


@pytest.mark.parametrize(
    ("jobs", "bound", "earlier", "verdict"),
    [
        (4, None, None, "ok"),
        (4, None, GIGABYTE // 2, "ok"),
        (4, None, GIGABYTE, "doubtful"),
        (40, None, GIGABYTE, "doubtful"),
        (2, GIGABYTE, None, "ok"),
        (4, GIGABYTE, 10, "doubtful"),
        (9, GIGABYTE, 10, "refused"),
    ],
)
def test_workers_are_held_against_the_memory(
    jobs: int, bound: int | None, earlier: int | None, verdict: str
) -> None:
    room = MemoryRoom(limit_bytes=8 * GIGABYTE, available_bytes=3 * GIGABYTE, is_container=True)
    options = RunOptions(jobs=jobs, memory_bytes_max=bound)
    assert check_memory(room, options, earlier, "again").verdict == verdict


def test_more_memory_than_there_is_is_refused_and_may_be_tried(job: Folder) -> None:
    job.write(LINES)
    (job.path / "in.csv").write_text("k,text\na,aa\n")
    words = ("--quiet", "--jobs", "2", "--memory-max", "900TB")
    assert job.run(*words).code == 5
    assert not (job.path / "out.batten").exists()
    assert job.run(*words, "--skip-checks").code == 0


def test_an_item_that_takes_too_much_memory_is_quarantined_by_name(job: Folder) -> None:
    job.write(GREEDY)
    os.mkfifo(job.path / "never")
    told = job.run("--jobs", "1", "--memory-max", "250MB")
    assert told.code == 3, told.err
    ((key, (error, attempts)),) = job.quarantined().items()
    assert (key, attempts) == ("5", 2)
    assert "memory (memory_max is 250.0 MB)" in error
    assert "with the item '5' in hand" in told.err
    assert len(job.rows()) == 7


@pytest.mark.parametrize("steps", ["serial", "threads"])
def test_a_bound_that_can_not_be_kept_is_refused(job: Folder, steps: str) -> None:
    job.write(
        f"""
        batten.from_range(1).map(lambda n: {{"n": n}}).write_parquet("out").run(
            executor={steps!r}, memory_max="1G")
        """
    )
    assert "memory_max= can be kept for worker processes only." in job.run().err


def test_what_will_not_fit_is_told_after_the_first_batches(job: Folder) -> None:
    size = 1 << 20
    items = 3 * shutil.disk_usage(job.path).free // size
    job.write(
        f"""
        import os
        pipeline = (
            batten.from_range({items}).map(lambda n: {{"data": os.urandom({size})}})
            .write_parquet("out").options(batch_size=8)
        )
        """
    )
    ended = job.run("--quiet", "--jobs", "1")
    assert ended.code == 7, ended.err
    assert "The disk has too little room" in ended.told[0]
    published = len(job.parts())
    assert published >= 1
    # By what is published now, the next one does not begin.
    again = job.run("--quiet", "--jobs", "1", "--json")
    assert again.code == 7
    assert again.json["executed_items"] == 0
    assert len(job.parts()) == published
    dry = job.run("--dry-run")
    assert (dry.code, "disk: refused" in dry.err) == (7, True)
    outlook = job.batten("diagnose", "out", "--json").json["again"]
    assert outlook["likely"] == "yes"
    assert "the disk has too little room" in outlook["because"]

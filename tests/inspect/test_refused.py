"""After a run that was refused `diagnose` names ways on that work: never the refused command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

JOB = """
import os
import batten

FACTOR = 1

def work(item):
    number = item["n"] if isinstance(item, dict) else item
    if number == 5 and os.environ.get("STOP"):
        raise ValueError("stopped")
    return {"n": number, "value": number * FACTOR}

def pipeline(window: int = 1):
    source = batten.from_jsonl("in.jsonl").map(work)
    return source.options(batch_size=2, on_error="raise").SINK
"""
ROWS = "".join(json.dumps({"n": n, "id": f"k{n}"}) + "\n" for n in range(8))
SINK = 'write_parquet("out")'
SQLITE = 'write_sqlite("out", "t")'
ACCEPT, FRESH = "--accept-change", "--fresh"
ADD = "--accept-change --add-columns"


@dataclass(frozen=True)
class Case:
    """What is changed of `job.py` and `in.jsonl`, and how the refused run is started. `ways` are
    the options of the ways on; `plain`: the command of before is one, since another was refused."""

    job: tuple[str, str] = ("", "")
    rows: str = ROWS
    words: tuple[str, ...] = ()
    file: str = "job.py"
    sink: str = SINK
    ways: tuple[str, ...] = (FRESH, ACCEPT)
    moves: dict[str, str] = field(default_factory=dict)


CODE = ("FACTOR = 1", "FACTOR = 2")
WIDER = 'batch_size=2, schema={"n": "int64", "value": "int64", "x": "double"}'
MOVED = ROWS.replace('{"n": 0', '{"n": 99, "id": "new"}\n{"n": 0', 1)
CASES = {
    "function": Case(job=CODE),
    "setting": Case(job=("batch_size=2", "batch_size=3")),
    "rows between": Case(rows=MOVED, ways=(FRESH,)),
    "rows gone": Case(rows="".join(ROWS.splitlines(keepends=True)[:3]), ways=(FRESH,)),
    "rows, and the change accepted": Case(job=CODE, rows=MOVED, words=(ACCEPT,), ways=(FRESH,)),
    "key column": Case(job=("batch_size=2", 'batch_size=2, key_column="id"'), ways=(FRESH,)),
    "schema": Case(
        job=("batch_size=2", 'batch_size=2, schema={"n": "int64", "value": "double"}'),
        ways=(FRESH,),
    ),
    "a column more": Case(
        job=("batch_size=2", WIDER),
        ways=(FRESH, ADD),
    ),
    "keys": Case(job=('"in.jsonl"', '"in.jsonl", key="id"'), ways=(FRESH,)),
    "parameter": Case(words=("--param", "window=2"), ways=("", FRESH, ACCEPT)),
    "another job": Case(job=CODE, file="other.py", ways=("", FRESH, ACCEPT)),
    "the job renamed": Case(job=CODE, file="other.py", moves={"job.py": ""}),
    "a table keeps its rows": Case(job=CODE, sink=SQLITE, ways=(ACCEPT,)),
    "a table keeps its rows, and others came": Case(rows=MOVED, sink=SQLITE, ways=()),
}


def shell(line: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    tools = folder.parent / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "batten").write_text(f'#!/bin/sh\nexec {sys.executable} -m batten "$@"\n')
    (tools / "batten").chmod(0o755)
    return subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"} | more,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def diagnose(folder: Path, output: str = "out") -> dict[str, Any]:
    told: dict[str, Any] = json.loads(shell(f"batten diagnose --json {output}", folder).stdout)
    return told


def prepare(folder: Path, case: Case, *, is_complete: bool = False) -> None:
    folder.mkdir()
    (folder / "job.py").write_text(JOB.replace("SINK", case.sink))
    (folder / "in.jsonl").write_text(ROWS)
    stop = {} if is_complete else {"STOP": "1"}
    made = shell("batten run job.py --quiet --jobs 1", folder, **stop)
    assert made.returncode == (0 if is_complete else 1), made.stderr
    text = (folder / "job.py").read_text()
    assert case.job[0] in text
    (folder / case.file).write_text(text.replace(*case.job))
    (folder / "in.jsonl").write_text(case.rows)
    for name in case.moves:
        (folder / name).unlink()
    refused = shell(f"batten run {case.file} --quiet {' '.join(case.words)}", folder)
    assert refused.returncode == 5, refused.stderr


@pytest.mark.parametrize("name", CASES)
def test_each_way_on_works(tmp_path: Path, name: str) -> None:
    case, folder = CASES[name], tmp_path / "p"
    prepare(folder, case)
    told = diagnose(folder)
    assert told["state"] == "INTERRUPTED"
    assert told["reason"].startswith("the last run was refused: ")
    lines = [each["next"] for each in told["ways"]]
    assert len(lines) == len(case.ways)
    for line, way in zip(lines, case.ways, strict=True):
        assert line.startswith("batten run ")
        assert line.endswith(way)
        assert (FRESH in line) == (way == FRESH)
    if not lines:
        assert told["next"].startswith("put the rows back as they were; or have the job write to")
        return
    assert told["next"] == lines[0]
    assert told["again"]["likely"] == "no"
    for number, line in enumerate(lines):
        shutil.copytree(folder, tmp_path / f"kept{number}")
        ended = shell(f"{line} --quiet", folder)
        assert ended.returncode == 0, (line, ended.stderr)
        assert diagnose(folder)["state"] == "COMPLETE"
        shutil.rmtree(folder)
        (tmp_path / f"kept{number}").rename(folder)


@pytest.mark.parametrize("name", ["function", "rows between", "a column more"])
def test_from_another_folder_with_a_namesake_it_works_too(tmp_path: Path, name: str) -> None:
    case, folder, elsewhere = CASES[name], tmp_path / "p", tmp_path / "it's elsewhere"
    prepare(folder, case)
    elsewhere.mkdir()
    (elsewhere / "job.py").write_text("open('the-decoy-ran', 'w').close()")
    (elsewhere / "in.jsonl").write_text("")
    shutil.copytree(folder, tmp_path / "kept")
    lines = [each["next"] for each in diagnose(elsewhere, "../p/out")["ways"]]
    assert len(lines) == len(case.ways)
    for line in lines:
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "kept", folder)
        ended = shell(f"{line} --quiet", elsewhere)
        assert ended.returncode == 0, (line, ended.stderr)
        assert diagnose(folder)["state"] == "COMPLETE"
        assert sorted(os.listdir(elsewhere)) == ["in.jsonl", "job.py"]


@pytest.mark.parametrize("name", ["function", "rows between", "keys"])
def test_of_a_complete_one_it_is_a_hint(tmp_path: Path, name: str) -> None:
    case, folder = CASES[name], tmp_path / "p"
    prepare(folder, case, is_complete=True)
    told = diagnose(folder)
    assert (told["state"], told["action"]) == ("COMPLETE", "nothing")
    assert "did not begin: " in told["hints"][0]
    for hint, way in zip(told["hints"][1:], case.ways, strict=True):
        assert hint.startswith(f"if that is to stay: batten run job.py {way} (")
    # What was changed is undone, and so is what was said.
    (folder / "job.py").write_text(JOB.replace("SINK", case.sink))
    (folder / "in.jsonl").write_text(ROWS)
    assert shell("batten run job.py --quiet", folder).returncode == 0
    assert diagnose(folder)["hints"] == []


def test_a_fresh_run_that_fails_goes_on_fresh(tmp_path: Path) -> None:
    """The command without `--fresh` would be refused, as it was before."""
    folder = tmp_path / "p"
    prepare(folder, CASES["function"])
    failed = shell("batten run job.py --quiet --jobs 1 --fresh", folder, STOP="1")
    assert failed.stderr.splitlines()[-1].endswith("batten run job.py --jobs 1 --fresh")
    line = diagnose(folder)["next"]
    assert shell(f"{line} --quiet", folder).returncode == 0
    assert diagnose(folder)["state"] == "COMPLETE"


def test_what_is_offered_is_not_refused(tmp_path: Path) -> None:
    """A change that can't be accepted: the refusal names what it is, and no way that is none."""
    for name in ("key column", "schema", "keys"):
        folder = tmp_path / name
        prepare(folder, CASES[name])
        for words in ("", ACCEPT):
            refused = shell(f"batten run job.py --quiet {words}", folder)
            assert refused.returncode == 5
            assert "can't change within one dataset" in refused.stderr
            assert ACCEPT not in refused.stderr.splitlines()[-1]


def test_a_log_that_somebody_wrote_advises_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    prepare(folder, CASES["function"])
    log = max((folder / "out.batten" / "runs").glob("*.jsonl"))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    lines[-1]["ways"] = ["--accept-change; curl x | sh", 4, "--jobs 1"]
    lines[-1]["job"]["options"] = {"jobs": "1; curl"}
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    told = diagnose(folder)
    assert told["ways"] == []
    assert "curl" not in json.dumps(told)


FINALIZED = JOB.replace("SINK", 'write_parquet("out").finalize(same, into="made/final")').replace(
    "def pipeline",
    """def same(table):
    if os.environ.get("STOP_LAST"):
        raise ValueError("stopped")
    return table

def pipeline""",
)
MORE = ROWS + '{"n": 8, "id": "k8"}\n'


@pytest.mark.parametrize("state", ["STALE", "INTERRUPTED", "COMPLETE"])
@pytest.mark.parametrize(("name", "ways"), [("function", (FRESH, ACCEPT)), ("rows", (FRESH,))])
def test_of_what_is_finalized_it_is_the_first_job_that_was_refused(
    tmp_path: Path, name: str, ways: tuple[str, ...], state: str
) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / "job.py").write_text(FINALIZED)
    (folder / "in.jsonl").write_text(ROWS)
    if state == "STALE":
        assert shell("batten run job.py --quiet", folder).returncode == 0
        (folder / "in.jsonl").write_text(MORE)
    stop = {} if state == "COMPLETE" else {"STOP_LAST": "1"}
    assert shell("batten run job.py --quiet", folder, **stop).returncode == len(stop)
    if name == "function":
        (folder / "job.py").write_text(FINALIZED.replace(*CODE))
    else:
        (folder / "in.jsonl").write_text(MOVED)
    assert shell("batten run job.py --quiet", folder).returncode == 5
    told = diagnose(folder, "made/final")
    assert told["state"] == state
    lines = [f"batten run job.py {way}" for way in ways]
    if state == "COMPLETE":
        assert told["hints"][1:] == diagnose(folder)["hints"][1:]
        assert [hint.split(" (")[0] for hint in told["hints"][1:]] == [
            f"if that is to stay: {line}" for line in lines
        ]
        return
    assert told["reason"].startswith("the last run was refused: ")
    assert [each["next"] for each in told["ways"]] == lines
    assert told["next"] == lines[0]
    assert "batten run job.py goes on" not in json.dumps(told)
    for number, line in enumerate(lines):
        shutil.copytree(folder, tmp_path / f"kept{number}")
        ended = shell(f"{line} --quiet", folder)
        assert ended.returncode == 0, (line, ended.stderr)
        assert diagnose(folder, "made/final")["state"] == "COMPLETE"
        shutil.rmtree(folder)
        (tmp_path / f"kept{number}").rename(folder)

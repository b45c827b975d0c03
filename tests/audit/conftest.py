"""Builds folders as hand-made jobs leave them: a done file, Parquet rows, a JSONL staging file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batten.strangers.audit import AuditReport, audit_files


@dataclass(frozen=True)
class HandMade:
    """A folder with `clips.done`, `features.parquet` and perhaps `staging.jsonl`."""

    folder: Path

    @property
    def done(self) -> Path:
        return self.folder / "clips.done"

    @property
    def rows(self) -> Path:
        return self.folder / "features.parquet"

    @property
    def staging(self) -> Path:
        return self.folder / "staging.jsonl"

    def write_done(self, keys: Iterable[str]) -> None:
        self.done.write_text("".join(f"{key}\n" for key in keys))

    def write_rows(self, keys: Sequence[str | None]) -> None:
        table = pa.table({"clip": pa.array(keys, pa.string()), "frames": [250] * len(keys)})
        pq.write_table(table, self.rows)

    def write_staging(self, keys: Iterable[str], tail: str = "") -> None:
        lines = [json.dumps({"clip": key, "frames": 250}) + "\n" for key in keys]
        self.staging.write_text("".join(lines) + tail)

    def audit(self) -> AuditReport:
        staging = str(self.staging) if self.staging.exists() else None
        return audit_files(str(self.done), str(self.rows), "clip", staging)

    def observe(self) -> dict[str, tuple[bytes, int, int, int]]:
        """Everything of the folder that an audit could change."""
        return {
            str(path): (
                path.read_bytes() if path.is_file() else b"",
                path.stat().st_mtime_ns,
                path.stat().st_ino,
                path.stat().st_mode,
            )
            for path in (self.folder, *self.folder.rglob("*"))
        }


@pytest.fixture
def hand_made(tmp_path: Path) -> HandMade:
    folder = tmp_path / "job"
    folder.mkdir()
    return HandMade(folder)


@pytest.fixture
def clips() -> list[str]:
    return [f"clip_{number:04}.mp4" for number in range(1000)]

"""Two jobs, of which the second is made of what the first makes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import batten
from batten.inspect.verifying.verify import verify
from batten.pipeline.pipeline import Pipeline
from batten.run.report import Report

FILES = 8
BAD = "bad"


@dataclass
class Pair:
    """The first job is over files; of the second, `calls` notes what its function was given."""

    folder: Path
    fails_on: str = ""

    def write(self, number: int, text: str) -> None:
        (self.folder / "in" / f"{number:02}.txt").write_text(text)

    def remove(self, number: int) -> None:
        (self.folder / "in" / f"{number:02}.txt").unlink()

    @property
    def up(self) -> Path:
        return self.folder / "up"

    @property
    def down(self) -> Path:
        return self.folder / "down"

    def split(self, path: Path) -> list[dict[str, Any]]:
        text = path.read_text()
        if text == BAD:
            raise ValueError(text)
        return [{"word": word, "length": len(word)} for word in text.split()]

    def first(self) -> Pipeline:
        source = batten.from_files(self.folder / "in" / "*.txt", removed="drop")
        settings = {"batch_size": 3, "stop_when": None}
        return source.flat_map(self.split).options(**settings).write_parquet(self.up)

    def run_first(self, **options: Any) -> Report:
        return self.first().run(executor="serial", **options)

    def shout(self, row: dict[str, Any]) -> dict[str, Any]:
        with (self.folder / "calls").open("a") as calls:
            print(row["word"], file=calls)
        if row["word"] == self.fails_on:
            raise ValueError(row)
        return {"loud": row["word"].upper()}

    def second(self, **options: Any) -> Pipeline:
        source = batten.from_dataset(self.up, **options)
        made = source.map(self.shout)
        return made.options(batch_size=2, stop_when=None).write_parquet(self.down)

    def run_second(self, *, run: dict[str, Any] | None = None, **options: Any) -> Report:
        (self.folder / "calls").write_text("")
        return self.second(**options).run(executor="serial", **(run or {}))

    @property
    def called(self) -> list[str]:
        return (self.folder / "calls").read_text().split()

    def read(self) -> dict[str, str]:
        rows = pq.read_table(self.down).to_pylist()
        assert len({row["key"] for row in rows}) == len(rows)
        return {row["key"]: row["loud"] for row in rows}

    def expected(self) -> dict[str, str]:
        """Of what lies upstream now."""
        found: dict[str, str] = {}
        for row in pq.read_table(self.up).to_pylist():
            nth = 1
            while (key := row["key"] if nth == 1 else f"//row-{nth}:{row['key']}") in found:
                nth += 1
            found[key] = row["word"].upper()
        return found

    def check_closed(self) -> None:
        found = batten.diagnose(self.down)
        assert found.state == "COMPLETE", found
        items = found.items
        assert items.source == items.committed + items.filtered + items.quarantined
        assert verify(self.down).is_sound
        assert self.read() == self.expected()


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    (tmp_path / "in").mkdir()
    made = Pair(tmp_path)
    for number in range(FILES):
        made.write(number, f"a{number} b{number}")
    return made

"""A source of records that has fewer of them than were planned: what is gone costs no other item,
in whatever order one reader is asked for them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batten.sources.base import ItemsWanted, Unavailable
from batten.sources.records.csv import CsvSource
from batten.sources.records.jsonl import JsonLinesSource
from batten.sources.records.parquet import ParquetSource

KEYS = ("k0", "k1", "k2", "k3")


def write_lines(path: Path, keys: tuple[str, ...]) -> None:
    path.write_text("".join(f'{{"id": "{key}"}}\n' for key in keys))


def write_fields(path: Path, keys: tuple[str, ...]) -> None:
    path.write_text("".join(f"{field}\n" for field in ("id", *keys)))


def write_rows(path: Path, keys: tuple[str, ...]) -> None:
    pq.write_table(pa.table({"id": keys}), path, row_group_size=2)


KINDS: dict[str, tuple[Any, Any]] = {
    "lines": (JsonLinesSource, write_lines),
    "fields": (CsvSource, write_fields),
    "rows": (ParquetSource, write_rows),
}


@pytest.mark.parametrize("left", range(1, 4))
@pytest.mark.parametrize("kind", KINDS)
def test_a_record_that_is_gone_costs_no_other(
    kind: str, left: int, tmp_path: Path, sources: Any
) -> None:
    make, write = KINDS[kind]
    path = tmp_path / "x"
    write(path, KEYS)
    plan = sources.plan(make("x", key="id", folder=tmp_path))
    write(path, KEYS[:left])
    for order in itertools.permutations(range(len(KEYS))):
        reader = make("x", key="id", folder=tmp_path).open()
        for number in order:
            wanted = ItemsWanted(
                first_ordinal=number,
                count=1,
                keys=[KEYS[number]],
                positions=[plan.positions[number]],
            )
            (item,) = reader.read(wanted)
            assert isinstance(item, Unavailable) == (number >= left), (order, number, item)

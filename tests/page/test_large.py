"""The page of 10,000 parts with 100,000 quarantined items reads little, and stays small."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import batten
from batten.inspect.items import slowest
from batten.model.disk.items.key_digests import describe_ordinals
from batten.model.disk.records import (
    CommitRecord,
    Completion,
    Record,
    Segment,
    decode_record,
    encode_record,
)
from batten.page import failures, pace
from batten.page.document import make_page
from batten.storage.local.folder import LocalStorage

BATCHES = 10_000
BATCH_SIZE = 11
BYTES_MAX = 5 << 20
ELEMENTS_MAX = 1000


def measure(number: int) -> dict[str, int]:
    if number:
        raise ValueError(f"no video stream in {number}")
    return {"number": number}


def read(kind: type[Record], path: Path) -> Record:
    return decode_record(kind, path.read_bytes())


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """One batch is made by a run. All others are copies of it, under the records that they would
    have."""
    monkeypatch.chdir(tmp_path)
    pipeline = batten.from_range(BATCH_SIZE).map(measure).options(stop_when=None)
    pipeline.options(batch_size=BATCH_SIZE).write_parquet("out").run(
        executor="serial", progress=False
    )
    control, items = Path("out.batten"), BATCHES * BATCH_SIZE
    part, quarantine = Path("out/part-000000.parquet"), control / "quarantine/000000.parquet"
    first = read(CommitRecord, control / "commits/000000.json")
    for batch in range(1, BATCHES):
        os.link(part, f"out/part-{batch:06}.parquet")
        os.link(quarantine, control / f"quarantine/{batch:06}.parquet")
        start = batch * BATCH_SIZE
        keys = describe_ordinals(start, start + BATCH_SIZE)
        record = replace(first, batch=batch, keys=keys, slowest=f"3:{batch + 1}")
        (control / f"commits/{batch:06}.json").write_bytes(encode_record(record))
    plan, complete = control / "plan/000000.json", control / "COMPLETE"
    plan.write_bytes(encode_record(replace(read(Segment, plan), items=items)))
    completion = replace(
        read(Completion, complete),
        source=items,
        committed=BATCHES,
        quarantined=items - BATCHES,
        rows=BATCHES,
        part_sizes=[part.stat().st_size] * BATCHES,
    )
    complete.write_bytes(encode_record(completion))
    return "out"


def test_few_files_are_read_and_few_rows_are_shown(
    large: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: Counter[str] = Counter()
    read_file = LocalStorage.read

    def count(self: LocalStorage, name: str, **options: Any) -> bytes:
        reads[Path(name).parent.name] += 1
        return read_file(self, name, **options)

    monkeypatch.setattr(LocalStorage, "read", count)
    html = make_page([large], [], "2026-11-21 08:00:00 UTC").html
    assert "100,000 items failed for good" in html
    assert "10,000 batches" in html
    assert len(html) < BYTES_MAX
    # Elements, rows of tables among them: a browser takes time for each.
    assert html.count("</") < ELEMENTS_MAX
    assert html.count("<tr>") < 300
    assert reads["quarantine"] <= failures.FILES_MAX
    assert reads["commits"] <= slowest.RECORDS_MAX + pace.RECORDS_MAX
    # The slowest of all of them.
    shown = [str(batch * BATCH_SIZE + 3) for batch in range(BATCHES - 1, BATCHES - 11, -1)]
    assert re.findall(r"<bdi class=.key.>(\d+)</bdi></th><td[^>]*>\d+\.\d{3}<", html) == shown
    rest = sum(reads.values()) - reads["quarantine"] - reads["commits"]
    assert rest <= 20

"""The disk of a table in files is full: it is told, nothing is torn, and with more space all is
there once."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import batten
from batten.errors import StorageError

if TYPE_CHECKING:
    from conftest import MakeLab

ITEMS = 400
BATCH = 40


def fill(number: int) -> dict[str, str]:
    """Text that does not shrink."""
    return {"name": random.Random(number).randbytes(800).hex()}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small filesystem can't be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("make_lab", ["sqlite", "delta", "iceberg"], indirect=True)
def test_a_disk_that_is_full(make_lab: MakeLab, disk: Path, tmp_path: Path) -> None:
    lab = make_lab(disk)
    made = batten.from_range(ITEMS).map(fill, version="1").options(batch_size=BATCH)
    pipeline = replace(lab.write(made), output=tmp_path / "rows")
    with pytest.raises(StorageError, match=r"space|full") as told:
        pipeline.run(executor="serial")
    assert told.value.safe
    assert told.value.next
    keys = [row["key"] for row in lab.read()]
    assert keys == list(range(len(keys)))
    assert len(keys) % BATCH == 0
    assert len(keys) < ITEMS
    larger = ["mount", "-o", "remount,size=64m", str(disk)]
    subprocess.run(larger, check=True, capture_output=True)
    pipeline.run(executor="serial")
    assert [row["key"] for row in lab.read()] == list(range(ITEMS))

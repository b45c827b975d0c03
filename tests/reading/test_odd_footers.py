"""Footers in which a byte is another: each is read or refused, and none ends the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import batten

SWEEP = """
import io, sys
import pyarrow as pa
from batten.ledger.files.part_rows import PartRows
from batten.model.disk.records import Unreadable

data = open(sys.argv[1], "rb").read()
size = int.from_bytes(data[-8:-4], "little")
refused = 0
for at in range(len(data) - 8 - size, len(data)):
    for byte in (0, 1, 0x15, 0x7F, 0xFF, data[at] ^ 1, (data[at] + 1) & 0xFF):
        odd = data[:at] + bytes([byte]) + data[at + 1 :]
        try:
            PartRows(odd).read_table()
        except (Unreadable, pa.ArrowException, OSError, ValueError):
            refused += 1
print(refused)
"""


def test_a_footer_with_another_byte_ends_no_process(tmp_path: Path) -> None:
    made = batten.from_range(3).map(lambda n: {"n": n, "name": f"n{n}"})
    made.write_parquet(tmp_path / "out").run(executor="serial", progress=False)
    done = subprocess.run(
        [sys.executable, "-c", SWEEP, str(tmp_path / "out" / "part-000000.parquet")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 100

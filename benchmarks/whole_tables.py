"""CSV files of 5,000,000 and 5,000 rows, joined and sorted into a third by `from_tables().apply()`,
against pyarrow alone, which writes it in place, not synced."""

from __future__ import annotations

from pathlib import Path
from random import Random

from benchmarks.measure import BATTEN, PYTHON, Figure, Side, compare, fresh, put_job

ROWS = 5_000_000
MERCHANTS = 5000


def measure(folder: Path, runs: int) -> list[Figure]:
    _write_tables(folder)
    ours, theirs = put_job("report.py", folder), put_job("report_by_hand.py", folder)
    pairs = compare(
        Side(
            command=[BATTEN, "run", ours.name, "--quiet"],
            folder=folder,
            reset=fresh(folder, "report.csv", "report.csv.batten"),
        ),
        Side(
            command=[PYTHON, theirs.name],
            folder=folder,
            reset=fresh(folder, "report.csv", "report.csv.batten"),
        ),
        runs,
    )
    return [pairs.figure(f"{ROWS:,} rows, whole command", "1.1")]


def _write_tables(folder: Path) -> None:
    seeded = Random(1)
    reasons = ("damaged", "late", "wrong size", "other")
    with (folder / "refunds.csv").open("w") as file:
        file.write("refund,merchant,cents,reason,day\n")
        for refund in range(ROWS):
            bits = seeded.getrandbits(40)
            merchant, cents, day = bits % MERCHANTS, (bits >> 13) % 100_000, (bits >> 32) % 30 + 1
            file.write(f"{refund},{merchant},{cents},{reasons[bits >> 30 & 3]},2026-04-{day:02}\n")
    with (folder / "merchants.csv").open("w") as file:
        file.write("merchant,name,country\n")
        for merchant in range(MERCHANTS):
            country = ("DE", "FR", "PL")[merchant % 3]
            file.write(f"{merchant},merchant {merchant},{country}\n")

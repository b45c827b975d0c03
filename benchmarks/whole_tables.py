"""CSV files of 5,000,000 and 5,000 rows, joined and sorted into a third by `from_tables().apply()`,
against pyarrow alone, which writes it in place, not synced."""

from __future__ import annotations

from pathlib import Path

import numpy
import pyarrow as pa
from pyarrow import csv

from benchmarks.measure import BATTEN, PYTHON, Figure, Side, compare, fresh, put_job

ROWS = 5_000_000
MERCHANTS = 5000
PAIRS_MAX = 3


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
        min(runs, PAIRS_MAX),
    )
    return [pairs.figure(f"{ROWS:,} rows, whole command", "1.1")]


def _write_tables(folder: Path) -> None:
    """With the same random numbers each time."""
    seeded = numpy.random.default_rng(1)
    reasons = numpy.array(["damaged", "late", "wrong size", "other"])
    days = numpy.array([f"2026-04-{day:02}" for day in range(1, 31)])
    refunds = pa.table(
        {
            "refund": numpy.arange(ROWS),
            "merchant": seeded.integers(MERCHANTS, size=ROWS),
            "cents": seeded.integers(100_000, size=ROWS),
            "reason": reasons[seeded.integers(len(reasons), size=ROWS)],
            "day": days[seeded.integers(len(days), size=ROWS)],
        }
    )
    csv.write_csv(refunds, folder / "refunds.csv", csv.WriteOptions(quoting_style="none"))
    with (folder / "merchants.csv").open("w") as file:
        file.write("merchant,name,country\n")
        for merchant in range(MERCHANTS):
            country = ("DE", "FR", "PL")[merchant % 3]
            file.write(f"{merchant},merchant {merchant},{country}\n")

"""How long one waits for the command itself."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measure import BATTEN, PYTHON, Figure, Side, compare


def measure(folder: Path, runs: int) -> list[Figure]:
    pairs = compare(
        Side(command=[BATTEN, "--help"], folder=folder),
        Side(command=[PYTHON, "-c", "import argparse"], folder=folder),
        runs * 4,
    )
    return [pairs.figure("`batten --help` divided by `python -c 'import argparse'`", "1.5")]

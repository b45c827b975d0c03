"""Throughput of slow calls whose answers are put aside as they come, so that a kill costs what is
in flight and ten more: against answers put aside twice a second, and against a loop that keeps all
in memory. Calls of 10 s are scaled to 2 s, which puts five times as many aside each second."""

from __future__ import annotations

import json
import os
from pathlib import Path

from benchmarks.measure import PYTHON, Figure, Side, Took, median_ratio, put_job, run

SIZES = ((50, "0.1", 2500), (500, "2", 2000))
PUTTINGS = ("often", "seldom", "by-hand")


def measure(folder: Path, runs: int) -> list[Figure]:
    job = put_job("staged.py", folder)
    figures = []
    for way in ("threads", "awaited"):
        for concurrency, seconds, calls in SIZES:
            words = [str(calls), str(concurrency), seconds]
            sides = {
                putting: Side(command=[PYTHON, job.name, way, putting, *words], folder=folder)
                for putting in PUTTINGS
            }
            # In turn, so that other load on the machine meets all alike.
            taken = [{putting: run(side) for putting, side in sides.items()} for _ in range(runs)]
            what = f"{concurrency} {way}, calls of {seconds} s"
            figures += _tell(what, taken, calls)
    return figures


def _tell(what: str, taken: list[dict[str, Took]], calls: int) -> list[Figure]:
    seconds = {name: [_read(each[name], "seconds") for each in taken] for name in PUTTINGS}
    processor = {name: [_read(each[name], "processor") for each in taken] for name in PUTTINGS}
    load = os.getloadavg()[0]
    figures = []
    for other, limit in (("seldom", "0.98 (at least)"), ("by-hand", "")):
        more = [a - b for a, b in zip(processor["often"], processor[other], strict=True)]
        each = sorted(more)[len(more) // 2] / calls * 1000
        figures.append(
            Figure(
                what=f"{what}: throughput divided by that of {_NAMES[other]}",
                figure=f"{median_ratio(seconds[other], seconds['often']):.3f}",
                limit=limit,
                processor=f"{each:+.2f} ms a call",
                basis=f"best {min(seconds['often']):.2f} s against {min(seconds[other]):.2f} s, "
                f"{len(taken)} in turn, load {load:.0f}",
            )
        )
    return figures


_NAMES = {"seldom": "putting aside twice a second", "by-hand": "a bare loop"}


def _read(took: Took, name: str) -> float:
    return float(json.loads(took.output)[name])

"""Whether memory grows with the number of items."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from benchmarks.measure import BATTEN, Figure, Side, fresh, put_job, run

FEW = 200_000
MANY = 2_000_000


def measure(folder: Path, runs: int) -> list[Figure]:
    few = _write_lines(folder / "few.jsonl", FEW)
    many = _write_lines(folder / "many.jsonl", MANY)
    # Peaks hardly differ from run to run, and a pair takes half a minute.
    pairs = min(runs, 2)
    return [
        *_compare(folder, pairs, "from_range", "trivial", f"items={FEW}", f"items={MANY}"),
        *_compare(folder, pairs, "from_jsonl, keyed", "keyed", f"lines={few}", f"lines={many}"),
    ]


def _compare(folder: Path, runs: int, source: str, job: str, few: str, many: str) -> list[Figure]:
    path = put_job(f"{job}.py", folder)
    sides = [
        Side(
            command=[BATTEN, "run", path.name, "--param", items, "--jobs", "2", "--quiet"],
            folder=folder,
            reset=fresh(folder, job, f"{job}.batten"),
        )
        for items in (many, few)
    ]
    took = [[run(side, is_memory_watched=True) for side in sides] for _ in range(runs)]
    what = f"{source}: peak memory with {MANY:,} items divided by that with {FEW:,}"
    figures = []
    for part, peaks in (
        ("the largest process", [[t.largest_mebibytes for t in pair] for pair in took]),
        ("all processes", [[t.all_mebibytes for t in pair] for pair in took]),
    ):
        first, second = (median(pair[side] for pair in peaks) for side in (0, 1))
        figures.append(
            Figure(
                what=f"{what}, {part}",
                figure=f"{first / second:.2f}",
                limit="1.15",
                basis=f"{first:.0f} MiB against {second:.0f} MiB",
            )
        )
    return figures


def _write_lines(path: Path, lines: int) -> str:
    with path.open("w") as file:
        file.writelines(
            f'{{"name": "clip-{n:08}", "text": "{"word " * (n % 7)}"}}\n' for n in range(lines)
        )
    return path.name

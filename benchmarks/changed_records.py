"""1,000 of many keyed records have changed: what finding them costs, and whether memory grows"""

from __future__ import annotations

import mmap
from pathlib import Path

from benchmarks.measure import BATTEN, PYTHON, Figure, Side, compare, put_job, run

FEW = 1_000_000
MANY = 10_000_000
CHANGED = 1_000
_LINE = '{{"name": "clip-{:08}", "text": "word word word"}}\n'


def measure(folder: Path, runs: int) -> list[Figure]:
    figures = []
    peaks = {}
    for count in (FEW, MANY):
        place = folder / str(count)
        place.mkdir()
        for name in ("keyed.py", "read_keys.py"):
            put_job(name, place)
        with (place / "lines.jsonl").open("w") as file:
            file.writelines(map(_LINE.format, range(count)))
        command = [BATTEN, "run", "keyed.py", "--param", "lines=lines.jsonl", "--quiet"]
        side = Side(command=[*command, "--jobs", "2"], folder=place)
        run(side)
        ours = Side(command=side.command, folder=place, reset=_Changing(place, count))
        by_hand = Side(command=[PYTHON, "read_keys.py", "lines.jsonl"], folder=place)
        if count == MANY:
            compared = compare(ours, by_hand, max(1, runs // 2), is_warm=True)
            what = (
                f"{CHANGED:,} of {count:,} keyed lines changed, each in another batch: a run, "
                "divided by a loop that reads each line and takes its key by `json.loads`"
            )
            figures.append(compared.figure(what, "1.5"))
        peaks[count] = run(ours, is_memory_watched=True)
    for part in ("largest", "all"):
        many, few = (getattr(peaks[count], f"{part}_mebibytes") for count in (MANY, FEW))
        processes = "the largest process" if part == "largest" else "all processes"
        figures.append(
            Figure(
                what=f"peak memory with {MANY:,} divided by that with {FEW:,}, {processes}",
                figure=f"{many / few:.2f}",
                limit="1.15",
                basis=f"{many:.0f} MiB against {few:.0f} MiB",
            )
        )
    return figures


class _Changing:
    """Changes the same lines again, each time to what they were not before."""

    def __init__(self, place: Path, count: int) -> None:
        self._path = place / "lines.jsonl"
        self._every = count // CHANGED
        self._times = 0

    def __call__(self) -> None:
        self._times += 1
        size = len(_LINE.format(0))
        with self._path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
            for number in range(0, CHANGED * self._every, self._every):
                at = (number + 1) * size - len('"}\n') - 1
                data[at : at + 1] = b"%d" % (self._times % 10)

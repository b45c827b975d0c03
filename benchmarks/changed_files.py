"""10 of 10,000 files changed, beside CocoIndex, which syncs none of what it writes"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from benchmarks.measure import BATTEN, PYTHON, Figure, Side, compare, put_job, run

FILES = 10_000
CHANGED = 10


def measure(folder: Path, runs: int) -> list[Figure]:
    if find_spec("cocoindex") is None:
        absent = "cocoindex is not installed: pip install cocoindex"
        return [Figure(what="changed files", figure="-", limit="", basis=absent)]
    inputs = folder / "in"
    inputs.mkdir()
    for number in range(FILES):
        (inputs / f"{number:05}.txt").write_text(f"text {number}\n" * 100)
    job, other = (put_job(f"changed_files{end}.py", folder) for end in ("", "_cocoindex"))
    ours = [BATTEN, "run", job.name, "--jobs", "2", "--quiet"]
    theirs = [PYTHON, other.name]
    first = compare(
        Side(command=ours, folder=folder), Side(command=theirs, folder=folder), 1, is_warm=True
    )
    figures = [first.figure(f"{FILES:,} files for the first time", "")]
    for count in (0, CHANGED):
        change = _changing(inputs, count)
        pairs = compare(
            Side(command=ours, folder=folder, reset=change),
            Side(command=theirs, folder=folder, reset=_changing(inputs, count)),
            runs,
        )
        figures.append(pairs.figure(f"{count} of them changed", "1.5"))
    _check(folder)
    return figures


def _changing(inputs: Path, count: int) -> Callable[[], None]:
    """Others each time; each side has its own files to follow."""
    times = iter(range(1_000_000))

    def change() -> None:
        number = next(times)
        for each in range(count):
            path = inputs / f"{(number * 7919 + each * 997) % FILES:05}.txt"
            path.write_text(f"{path.read_text()}more {number}\n")

    return change


def _check(folder: Path) -> None:
    """Both have made the same files of the same ones."""
    for command in ([BATTEN, "run", "changed_files.py", "--quiet"], [PYTHON, _OTHER]):
        run(Side(command=command, folder=folder))
    ours, theirs = (
        {path.name: path.read_bytes() for path in (folder / name).iterdir()}
        for name in ("by_batten", "by_cocoindex")
    )
    if ours != theirs:
        raise RuntimeError("the two have made other files")


_OTHER = "changed_files_cocoindex.py"

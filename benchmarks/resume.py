"""What it costs to find out how far a job has come: to fingerprint it and decide, to add to a large
dataset, and to go on where 9 of 10 million string keys are done."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from batten.model.disk.names import Layout
from benchmarks.making import make_dataset
from benchmarks.measure import BATTEN, PYTHON, Figure, Side, compare, fresh, put_job, run

ITEMS = 10_000_000
MORE = 1000
BATCH_SIZE = 100_000
FUNCTIONS = 200
DONE_PARTS = 90
"""Of a hundred."""


def measure(folder: Path, runs: int) -> list[Figure]:
    return [
        _decide(folder / "decide", runs),
        _extend(folder / "extend", runs),
        *_go_on(folder / "go_on"),
    ]


def _decide(folder: Path, runs: int) -> Figure:
    """All is done, so that there is nothing but to decide."""
    load = put_job("load_job.py", folder)
    job = folder / "many_functions.py"
    job.write_text(_write_job())
    pairs = compare(
        Side(command=[BATTEN, "run", job.name, "--quiet"], folder=folder),
        Side(command=[PYTHON, load.name, job.name], folder=folder),
        runs * 2,
    )
    seconds = [a.seconds - b.seconds for a, b in zip(pairs.ours, pairs.theirs, strict=True)]
    processor = [
        a.processor_seconds - b.processor_seconds
        for a, b in zip(pairs.ours, pairs.theirs, strict=True)
    ]
    return Figure(
        what=f"rerun of a finished job of {FUNCTIONS} functions minus loading the job, in seconds",
        figure=f"{median(seconds):.3f}",
        limit="0.1",
        basis=f"{median(t.seconds for t in pairs.theirs):.2f} s to load it, pyarrow not imported",
        processor=f"{median(processor):.3f}",
    )


def _write_job() -> str:
    """A function that reaches many others, each by the one before."""
    steps = [
        f"def step_{n}(number):\n    return step_{n - 1}(number) + {n}\n"
        for n in range(1, FUNCTIONS)
    ]
    return "\n\n".join(
        [
            "import batten\n\nSCALE = 3\n",
            "def step_0(number):\n    return number * SCALE\n",
            *steps,
            f'def measure(number):\n    return {{"value": step_{FUNCTIONS - 1}(number)}}\n',
            'pipeline = batten.from_range(100).map(measure).write_parquet("many")\n',
        ]
    )


def _extend(folder: Path, runs: int) -> Figure:
    """Each run adds another thousand, so that nothing has to be put back."""
    large, small = folder / "large", folder / "small"
    for place in (large, small):
        put_job("growing.py", place)
        (place / "items").write_text("0")
    (large / "items").write_text(str(ITEMS))
    make_dataset(large / "growing.py", {"batch_size": str(BATCH_SIZE)}, "double")
    command = [BATTEN, "run", "growing.py", "--quiet", f"--param=batch_size={BATCH_SIZE}"]

    def grow() -> None:
        (large / "items").write_text(str(int((large / "items").read_text()) + MORE))

    def begin() -> None:
        fresh(small, "growing", "growing.batten")()
        (small / "items").write_text(str(MORE))

    pairs = compare(
        Side(command=command, folder=large, reset=grow),
        Side(command=command, folder=small, reset=begin),
        runs,
    )
    seconds = [a.seconds - b.seconds for a, b in zip(pairs.ours, pairs.theirs, strict=True)]
    return Figure(
        what=f"{MORE:,} items more for {ITEMS:,} minus {MORE:,} items alone, in seconds",
        figure=f"{median(seconds):.2f}",
        limit="1.0",
        basis=f"{median(t.seconds for t in pairs.ours):.2f} s "
        f"against {median(t.seconds for t in pairs.theirs):.2f} s",
    )


def _go_on(folder: Path) -> list[Figure]:
    """One pair of runs, since each takes long enough to be told by one."""
    job, read = put_job("keyed.py", folder), put_job("read_keys.py", folder)
    with (folder / "lines.jsonl").open("w") as file:
        file.writelines(f'{{"name": "clip-{n:08}.mp4", "text": ""}}\n' for n in range(ITEMS))
    parameters = {"lines": "lines.jsonl", "batch_size": str(BATCH_SIZE)}
    make_dataset(job, parameters, "length")
    layout = Layout("keyed")
    (folder / layout.complete).unlink()
    for batch in range(DONE_PARTS, ITEMS // BATCH_SIZE):
        (folder / layout.part(batch)).unlink()
        (folder / layout.commit(batch)).unlink()
    words = [BATTEN, "run", job.name, "--quiet", "--jobs", "2"]
    words += [f"--param={name}={value}" for name, value in parameters.items()]
    pairs = compare(
        Side(command=[*words, "--dry-run"], folder=folder),
        Side(command=[PYTHON, read.name, "lines.jsonl"], folder=folder),
        runs=1,
        is_warm=True,
    )
    resumed = run(Side(command=words, folder=folder), is_memory_watched=True)
    return [
        pairs.figure(
            "finding out what is left of 10,000,000 string keys (JSON Lines) "
            "divided by a loop that reads each line and takes its key by `json.loads`",
            "1.0",
        ),
        Figure(
            what="resuming with 9,000,000 of them done: memory of the largest process, in MiB",
            figure=f"{resumed.largest_mebibytes:.0f}",
            limit="300",
            basis=f"all processes {resumed.all_mebibytes:.0f} MiB; {resumed.seconds:.0f} s",
        ),
    ]

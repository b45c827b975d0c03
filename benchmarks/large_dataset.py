"""A dataset of 10,000 parts: how long it takes to find that nothing is to be done, and to diagnose
it, complete and interrupted."""

from __future__ import annotations

import subprocess
from pathlib import Path

from benchmarks.making import make_dataset
from benchmarks.measure import (
    BATTEN,
    ENVIRONMENT,
    PYTHON,
    Figure,
    Side,
    compare,
    median_seconds,
    put_job,
    run,
)

PARAMETERS = {"items": "10000000", "batch_size": "1000"}


def measure(folder: Path, runs: int) -> list[Figure]:
    job = put_job("trivial.py", folder)
    floor = put_job("listing.py", folder)
    make_dataset(job, PARAMETERS, "double")
    rerun = Side(
        command=[
            *(BATTEN, "run", job.name, "--quiet"),
            *(f"--param={name}={value}" for name, value in PARAMETERS.items()),
        ],
        folder=folder,
    )
    pairs = compare(rerun, Side(command=[PYTHON, floor.name], folder=folder), runs)
    what = (
        "rerun of 10,000,000 finished items in 10,000 parts "
        "divided by importing pyarrow.parquet and one stat of each part"
    )
    figures = [pairs.figure(what, "2.0")]
    figures.append(_diagnose(folder, runs, "complete"))
    (folder / "trivial.batten" / "COMPLETE").unlink()
    figures.append(_diagnose(folder, runs, "interrupted"))
    return figures


def _diagnose(folder: Path, runs: int, state: str) -> Figure:
    command = [BATTEN, "diagnose", "trivial", "--json"]
    # Its exit code names the state, and is 10 for an interrupted one.
    shell = ["sh", "-c", " ".join(command) + " || test $? = 10"]
    ours = [run(Side(command=shell, folder=folder)) for _ in range(runs * 2)]
    imports = subprocess.run(
        [PYTHON, "-X", "importtime", "-m", "batten", *command[1:]],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    ).stderr
    return Figure(
        what=f"`batten diagnose` on 10,000 parts, {state}, in seconds",
        figure=f"{median_seconds(ours):.2f}",
        limit="0.3",
        basis=f"best {min(took.seconds for took in ours):.2f}; "
        + ("with pyarrow" if "pyarrow" in imports else "pyarrow is not imported"),
    )

"""With a seed an item's random numbers are the same, however the work is cut."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

EXIT_USAGE = 2

DRAWING = """
import os, random, time
import numpy as np
import pyarrow as pa

OWN = np.random.default_rng()
TRIED = set()

class Start:
    def __init__(self):
        self.weight = random.random()

    def __call__(self, n):
        time.sleep(float(os.environ["SLOW"]))
        return {"weight": self.weight, "legacy": np.random.normal()}

def retried(row):
    row = {**row, "second": random.random(), "own": OWN.random()}
    if random.random() < 0.9 and row["weight"] not in TRIED and os.environ["SLOW"] != "0":
        TRIED.add(row["weight"])
        raise RuntimeError("the first time")
    return row

def together(table):
    return table.append_column("unit", pa.array([random.random() for _ in range(len(table))]))

made = batten.from_range(40).map(Start).map(retried, retries=2, version="1")
if "units" in __file__:
    made = made.map_batches(together, items=8)
pipeline = made.options(seed=5, batch_size=20).write_parquet("out/")
"""


@pytest.fixture
def job(job: Any) -> Any:
    """Each command is a new Python: forks of one process have the same numbers of NumPy."""
    return dataclasses.replace(job, is_executed=True)


@pytest.mark.parametrize("file", ["items.py", "units.py"])
def test_the_same_numbers_in_every_run_and_worker(job: Any, file: str) -> None:
    job.write(DRAWING, file)
    made = []
    for slow, *words in (
        ["0", "--jobs", "1"],
        ["0.03", "--jobs", "3"],
        ["0.001", "--jobs", "2", "--workers", "spawn"],
    ):
        done = job.run("--fresh", *words, job=file, SLOW=slow)
        assert done.code == 0, done.err
        made.append(job.parts())
    assert made[0] == made[1] == made[2]
    rows = job.rows()
    for column in {"legacy", "second", "own", "unit"} & rows[0].keys():
        assert len({row[column] for row in rows}) == 40, column


def test_after_a_death_as_without_one(job: Any) -> None:
    text = """
        import os, random, pathlib

        def work(n):
            drawn = random.random()
            if n == 7 and not (seen := pathlib.Path("seen")).exists():
                seen.write_text("")
                os._exit(1)
            return {"drawn": drawn}

        pipeline = batten.from_range(20).map(work).options(seed=1).write_parquet("out/")
    """
    assert job.write(text).run("--jobs", "2").code == 0
    first = job.parts()
    assert job.run("--fresh").code == 0
    assert job.parts() == first


def test_another_seed_is_another_job(job: Any) -> None:
    text = """
        import random
        def work(n):
            return {"drawn": random.random()}
        pipeline = batten.from_range(5).map(work).options(seed=SEED).write_parquet("out/")
    """
    assert job.write(text.replace("SEED", "1")).run().code == 0
    done = job.write(text.replace("SEED", "2")).run()
    assert done.code == 5
    assert "seed" in done.told[0]


@pytest.mark.parametrize(
    ("built", "told"),
    [
        (".map(work).options(seed=1.5)", "seed is 1.5"),
        (".map(later).options(seed=1)", "seed= can't be kept with functions that are awaited"),
        (".map(work, cache='kept').options(seed=1)", "seed= can't be kept beside cache="),
        (".map(later).options(worker_items_max=1)", "worker_items_max= can't be kept with"),
        (".map(work).options(worker_items_max=0)", "worker_items_max is 0"),
    ],
)
def test_what_cannot_be_kept_is_refused(job: Any, built: str, told: str) -> None:
    done = job.write(f"""
        def work(n):
            return {{"n": n}}
        async def later(n):
            return {{"n": n}}
        pipeline = batten.from_range(5){built}.write_parquet("out/")
    """).run()
    assert done.code == EXIT_USAGE
    assert told in done.err

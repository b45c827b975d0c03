"""How much work a kill of all processes costs: items that were begun more than once."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from batten.crashlab.random_kills import Victim, run_with_random_kills
from benchmarks.measure import BATTEN, ENVIRONMENT, Figure, put_job

SEED = 20261121
JOBS = 2


def measure(folder: Path, runs: int) -> list[Figure]:
    return [
        _measure(folder, runs, "quick", 20_000, 0.0002, seconds_max=2.5),
        _measure(folder, runs, "slow", 40, 0.25, seconds_max=4.0),
    ]


def _measure(
    folder: Path, runs: int, kind: str, items: int, seconds: float, seconds_max: float
) -> Figure:
    chooser = random.Random(SEED)
    parameters = [f"--param=kind={kind}", f"--param=items={items}"]
    repeated = kills = worst = 0
    for _ in range(runs):
        with tempfile.TemporaryDirectory(dir=folder) as place:
            job = put_job("counted.py", Path(place))
            killed = run_with_random_kills(
                [BATTEN, "run", job.name, *parameters, f"--jobs={JOBS}", "--quiet"],
                kills=1,
                delay_seconds_max=seconds_max,
                seed=chooser.getrandbits(32),
                targets=[Victim.TREE],
                environment=ENVIRONMENT,
                working_folder=job.parent,
            )
            again = (job.parent / "ledger").stat().st_size - items
            kills += sum(1 for attempt in killed.attempts if attempt.killed)
            repeated += again
            worst = max(worst, again)
    limit = JOBS * max(1, round(0.25 / seconds))
    return Figure(
        what=f"items of {seconds * 1000:g} ms repeated after kill -9 of all, at worst",
        figure=f"{worst}",
        limit=f"{limit}",
        basis=f"{items:,} items, {JOBS} jobs, seed {SEED}: "
        f"{kills} kills, {repeated} items repeated in all",
    )

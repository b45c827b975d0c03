"""Each worker draws random numbers of its own."""

from __future__ import annotations

import dataclasses
import os
import random
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batten.executors.base import Event, Finished
from batten.executors.generators import find_generators
from batten.executors.processes.pool import ProcessExecutor
from batten.executors.randomness import Seeding

RunProcesses = Callable[..., ProcessExecutor]
Collect = Callable[[ProcessExecutor, int], list[Event]]

OWN_GENERATOR = np.random.default_rng(1)
OWN_STATE = np.random.RandomState(1)
OWN_RANDOM = random.Random(1)
OF_SYSTEM = random.SystemRandom()

DRAWS: dict[str, Callable[[], Any]] = {
    "random": random.random,
    "numpy": np.random.random,
    "numpy normal": np.random.normal,
    "own generator": OWN_GENERATOR.random,
    "own state": OWN_STATE.random_sample,
    "own random": OWN_RANDOM.random,
}


def draw_all() -> dict[str, Any]:
    return {name: draw() for name, draw in DRAWS.items()}


def test_no_two_workers_draw_the_same_nor_do_those_that_follow_them(
    run_processes: RunProcesses, collect: Collect
) -> None:
    pool = run_processes(lambda task, mark: draw_all(), jobs=2)
    drawn = []
    for task in range(5):
        pool.submit(task, task, in_new_process=True)
        (event,) = collect(pool, 1)
        assert isinstance(event, Finished)
        drawn.append(event.value)
    for name in DRAWS:
        assert len({each[name] for each in drawn}) == 5, name


class Looked(list[Any]):
    """Writes down which process looks into it, and then fails."""

    def __init__(self, path: Path) -> None:
        super().__init__([random.Random(1)])
        self.path = path

    def __iter__(self) -> Any:
        with self.path.open("a") as file:
            file.write(f"{os.getpid()}\n")
        raise ValueError("not to be listed")


def test_the_search_is_made_once_for_all_workers(
    run_processes: RunProcesses,
    collect: Collect,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked = Looked(tmp_path / "looked")
    monkeypatch.setitem(DRAWS, "looked", looked)  # type: ignore[arg-type]
    pool = run_processes(lambda task, mark: (os.getpid(), os.getppid()), jobs=2)
    for task in range(4):
        pool.submit(task, task, in_new_process=True)
        (event,) = collect(pool, 1)
        assert isinstance(event, Finished)
    assert looked.path.read_text().splitlines() == [str(event.value[1])]


def test_a_state_with_other_bits_is_seeded_as_a_whole() -> None:
    was = np.random.get_bit_generator()
    np.random.set_bit_generator(np.random.PCG64(1))
    try:
        again = []
        for _ in range(2):
            for each in find_generators():
                each.reseed(5)
            again.append([np.random.normal(), np.random.random()])
        assert again[0] == again[1]
    finally:
        np.random.set_bit_generator(was)


@pytest.mark.parametrize("name", DRAWS)
def test_numbers_are_those_of_the_item_and_the_call_in_each_try(name: str) -> None:
    seeding = Seeding(7)
    steps = [seeding.of_step(number) for number in range(2)]

    def draw(item: str, calls: int, tries: int = 1, step: int = 0) -> Any:
        seeding.begin_item(item)
        for _ in range(calls):
            steps[step].begin_call()
        for _ in range(tries):
            steps[step].begin_try()
            drawn = DRAWS[name]()
        return drawn

    first = draw("a", 1)
    assert draw("a", 1, tries=3) == first
    assert len({first, draw("a", 2), draw("b", 1), draw("a", 1, step=1)}) == 4


def test_generators_of_one_kind_have_numbers_of_their_own() -> None:
    Seeding(7).of_step(0).begin_try()
    assert random.random() != OWN_RANDOM.random()


@pytest.mark.parametrize("name", DRAWS)
def test_the_same_seed_gives_the_same_numbers(name: str) -> None:
    def draw(seed: int) -> Any:
        for each in find_generators():
            each.reseed(seed)
        return DRAWS[name]()

    # An odd number of normal numbers: NumPy keeps the second of two.
    first, other, again = draw(3), draw(4), draw(3)
    assert first == again != other


def test_the_systems_own_randomness_is_left_alone() -> None:
    assert not any(each.state is OF_SYSTEM for each in find_generators())


TORCH = """
import hashlib

class Generator:
    def __init__(self):
        self.manual_seed(0)

    def manual_seed(self, seed):
        # As torch's, which takes a whole number of 64 bits and nothing larger.
        if type(seed) is not int or not -(1 << 63) <= seed < 1 << 64:
            raise RuntimeError("Overflow when unpacking long")
        self._seed, self._drawn = seed, 0
        return self

    def _draw(self):
        self._drawn += 1
        return hashlib.sha256(f"{self._seed} {self._drawn}".encode()).hexdigest()

    def initial_seed(self):
        return self._seed

default_generator = Generator()

def manual_seed(seed):
    return default_generator.manual_seed(seed)

def initial_seed():
    return default_generator.initial_seed()

def rand(generator=None):
    return (generator or default_generator)._draw()
"""
"""A double of another's library, which is too large for these tests: of torch, what is asked."""

DRAWS_TORCH = """
import batten
import torch

torch.manual_seed(3)
OWN = torch.Generator().manual_seed(4)

def draw(n):
    return {"shared": torch.rand(), "own": torch.rand(OWN), "seed": str(torch.initial_seed())}

made = batten.from_range(40).map(draw).options(batch_size=10)
pipeline = made.write_parquet("out/")
seeded = made.options(seed=5).write_parquet("seeded/")
"""


@pytest.fixture
def torch_job(job: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    (job.path / "torch.py").write_text(textwrap.dedent(TORCH))
    return dataclasses.replace(job, is_executed=True).write(DRAWS_TORCH)


@pytest.mark.parametrize("workers", ["fork", "spawn"])
def test_workers_draw_numbers_of_their_own_from_torch(torch_job: Any, workers: str) -> None:
    done = torch_job.run("--jobs", "2", "--workers", workers, job="job.py:pipeline")
    assert done.code == 0, done.err
    rows = torch_job.rows()
    for column in ("shared", "own"):
        assert len({row[column] for row in rows}) == 40, column
    assert "3" not in {row["seed"] for row in rows}


def test_a_seed_gives_the_same_numbers_of_torch(torch_job: Any) -> None:
    made = []
    for words in (["--jobs", "1"], ["--jobs", "2", "--workers", "spawn"]):
        done = torch_job.run("--fresh", *words, job="job.py:seeded")
        assert done.code == 0, done.err
        made.append(torch_job.rows("seeded"))
    assert made[0] == made[1]
    for column in ("shared", "own", "seed"):
        assert len({row[column] for row in made[0]}) == 40, column

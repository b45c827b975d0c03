"""Wherever a function holds a generator of random numbers, an item's numbers are its own."""

from __future__ import annotations

from typing import Any

import pytest

HELPER = """
import random
import numpy as np

RNG = np.random.default_rng(1)
IN_A_DICT = {"first": [random.Random(1)]}

def draw():
    return RNG.random() + IN_A_DICT["first"][0].random()
"""

HOLDERS = """
import contextvars, functools, itertools, random, threading, types, collections
import numpy as np
import helper

class Slotted:
    __slots__ = ("rng", "__hidden")

    def __init__(self):
        self.rng = self.__hidden = random.Random(1)

    def random(self):
        return self.rng.random() + self.__hidden.random()

class Plain:
    shared = np.random.RandomState(1)

    def __init__(self):
        self.nested = {"deep": [(Slotted(),)]}

    def random(self):
        return self.nested["deep"][0][0].random() + self.shared.random_sample()

class Made:
    def __init__(self):
        self.rng = np.random.default_rng(1)

    def __call__(self, row):
        return {**row, "made": self.rng.random()}

class Lazy:
    rng = None

    def __call__(self, row):
        if self.rng is None:
            self.rng = random.Random(1)
        return {**row, "lazy": self.rng.random()}

def stream():
    rng = random.Random(1)
    while True:
        yield rng.random()

def decorated(function):
    rng = random.Random(1)
    @functools.wraps(function)
    def inner():
        return function() + rng.random()
    return inner

PLAIN, LOCAL, VARIABLE = Plain(), threading.local(), contextvars.ContextVar("rng")
LOCAL.rng = random.Random(1)
VARIABLE.set(random.Random(1))
BOUND = np.random.default_rng(1).random
BITS = np.random.PCG64(1)
SEQUENCE = np.random.SeedSequence(1)
QUEUE = collections.deque([random.Random(1)])
SET = {random.Random(1)}
STREAM = stream()
COUNTED = zip(itertools.repeat(random.Random(1)), itertools.count())
NAMES = types.SimpleNamespace(rng=random.Random(1))
PARTIAL = functools.partial(lambda rng: rng.random(), random.Random(1))
KEPT = functools.lru_cache(lambda: random.Random(1))
KEPT()

class Own(random.Random):
    pass

OWN = Own(1)

@decorated
def wrapped():
    return 0

def default(rng=random.Random(1), *, named=random.Random(1)):
    return rng.random() + named.random()

def function_attribute():
    return function_attribute.rng.random()

function_attribute.rng = random.Random(1)

DRAWS = {
    "instance": PLAIN.random,
    "local": lambda: LOCAL.rng.random(),
    "variable": lambda: VARIABLE.get().random(),
    "bound": BOUND,
    "bits": lambda: BITS.random_raw() / 2**64,
    "sequence": lambda: np.random.default_rng(SEQUENCE.spawn(1)[0]).random(),
    "queue": lambda: QUEUE[0].random(),
    "set": lambda: next(iter(SET)).random(),
    "stream": lambda: next(STREAM),
    "counted": lambda: next(COUNTED)[0].random(),
    "names": lambda: NAMES.rng.random(),
    "partial": PARTIAL,
    "own": OWN.random,
    "wrapped": wrapped,
    "default": default,
    "attribute": function_attribute,
    "helper": helper.draw,
}
"""

JOB = """
def make():
    rng = random.Random(1)
    def work(n):
        made = {name: draw() for name, draw in DRAWS.items()}
        return {**made, "closure": rng.random()}
    return work

def again(rng, row):
    return {**row, "again": rng.random()}

pipeline = (batten.from_range(ITEMS).map(make(), version="1").map(Made, version="1").map(Lazy)
    .map(functools.partial(again, random.Random(1)), version="1")
    .options(batch_size=7OPTIONS).write_parquet("out/"))
"""


def _write(job: Any, file: str, options: str = ", seed=5", items: int = 24) -> None:
    (job.path / "helper.py").write_text(HELPER)
    text = JOB.replace("OPTIONS", options).replace("ITEMS", f"{items}")
    job.write(f"{HOLDERS}\n{text}", file)


def test_the_same_in_every_worker_process_and_job_file(job: Any) -> None:
    found = []
    for file, *words in (
        ["first.py", "--jobs", "1"],
        ["first.py", "--jobs", "3"],
        ["first.py", "--jobs", "2", "--workers", "spawn"],
        ["another_name.py", "--jobs", "2"],
    ):
        _write(job, file)
        done = job.run("--fresh", *words, job=file)
        assert done.code == 0, done.err
        found.append(job.rows())
    for rows in found[1:]:
        assert rows == found[0]
    for column in found[0][0]:
        assert len({row[column] for row in found[0]}) == 24, column


def test_numbers_are_those_of_the_key_not_of_the_place_in_the_source(job: Any) -> None:
    _write(job, "job.py", items=30)
    assert job.run().code == 0
    longer = job.rows()
    _write(job, "job.py", items=10)
    assert job.run("--fresh").code == 0
    assert job.rows() == longer[:10]


def test_without_a_seed_no_two_workers_have_the_same(job: Any) -> None:
    _write(job, "job.py", options=", worker_items_max=1", items=6)
    done = job.run("--jobs", "2")
    assert done.code == 0, done.err
    rows = job.rows()
    # These are made by the first call in each worker, with a seed that the function gives.
    for column in rows[0].keys() - {"lazy", "stream"}:
        assert len({row[column] for row in rows}) == 6, column


@pytest.mark.parametrize("before", ["", ".filter(lambda n: n)"])
def test_each_row_of_an_item_has_its_own(job: Any, before: str) -> None:
    job.write(f"""
        import random
        RNG = random.Random(1)

        def several(n):
            return [{{"n": n}}, {{"n": n}}]

        def work(row):
            return {{**row, "drawn": RNG.random()}}

        def units(table):
            return table.append_column("unit", [[RNG.random() for _ in range(len(table))]])

        pipeline = (batten.from_range(6){before}.flat_map(several).map(work, version="1")
            .map_batches(units, items=2, version="1").options(seed=1).write_parquet("out"))
    """)
    done = job.run("--jobs", "2")
    assert done.code == 0, done.err
    rows = job.rows()
    drawn = [row[name] for row in rows for name in ("drawn", "unit")]
    assert len(set(drawn)) == 2 * len(rows)


def test_what_a_generator_is_part_of_is_searched_to_an_end(job: Any) -> None:
    """Cycles, and more objects than are looked at."""
    job.write("""
        import random

        class Node:
            def __init__(self, inner):
                self.inner, self.own = inner, self

        RNG = random.Random(1)
        NODE = None
        for _ in range(100_000):
            NODE = Node(NODE)
        MANY = [[number] for number in range(200_000)]

        def work(n):
            return {"drawn": RNG.random()}

        pipeline = batten.from_range(6).map(work, version="1").options(seed=1).write_parquet("out")
    """)
    done = job.run("--jobs", "2")
    assert done.code == 0, done.err
    first = job.rows()
    assert job.run("--fresh", "--jobs", "1").code == 0
    assert job.rows() == first

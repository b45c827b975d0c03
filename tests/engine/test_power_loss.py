"""Runs on a storage in memory, with the power cut before and after every durable step.

What survives a cut is judged, run again (and cut again), and held against an undisturbed run.
"""

from __future__ import annotations

import asyncio
import io
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import batten
from batten.crashlab.power import (
    MetStates,
    StateAfterCut,
    find_states,
    record_cuts,
    record_one_cut,
    sample_states,
)
from batten.crashlab.promises import (
    Expected,
    find_broken,
    find_lost_evidence,
    find_undone,
    read_parts,
)
from batten.drive.publishing import waiting
from batten.drive.run import run_on
from batten.errors import StorageError
from batten.ledger.facts.observe import observe_output
from batten.ledger.judge import judge
from batten.model.disk.names import Layout
from batten.pipeline.pipeline import Pipeline
from batten.run.run_options import RunOptions
from batten.storage.twin.memory import MemoryStorage
from batten.storage.twin.power_cuts import FailSync
from batten.work import bench
from batten.work import work_sizes as pace

LAYOUT = Layout("features")
ITEMS = 5
BATCH_ITEMS = 2
MORE_ITEMS = 8
SAMPLED_STATES = 10

Act = Callable[[MemoryStorage], object]

FAILING = "BATTEN_TEST_FAILING"
"""The variable with the items that fail just now. What a function reads there is not compared."""


def square(number: int) -> dict[str, Any]:
    return {"square": number * number, "text": "a" * number}


def square_alone(number: int) -> dict[str, Any]:
    return {"square": number * number}


def cube(number: int) -> dict[str, Any]:
    return {"square": number**3, "text": "b" * number}


async def square_by_call(number: int) -> dict[str, Any]:
    await asyncio.sleep(0)
    return square(number)


def is_late_and_odd(number: int) -> bool:
    return number >= BATCH_ITEMS and number % 2 == 1


def is_negative(number: int) -> bool:
    return number < 0


def repeat(number: int) -> list[dict[str, Any]]:
    return [{"square": number, "text": str(each)} for each in range(number % 3)]


def square_or_fail(number: int) -> dict[str, Any]:
    if str(number) in os.environ.get(FAILING, "").split():
        raise ValueError(f"{number} fails")
    return square(number)


def add_sums(table: pa.Table) -> pa.Table:
    total = sum(table.column("square").to_pylist())
    return table.append_column("sum", pa.array([total] * len(table), pa.int64()))


def number_of(item: dict[str, Any]) -> dict[str, Any]:
    return square(item["number"])


def note_of(item: dict[str, Any]) -> dict[str, Any]:
    noted = {"note": item["note"]} if "note" in item else {}
    return {**square(item["number"]), **noted}


def name_items(count: int) -> list[dict[str, Any]]:
    """Of every fourth, the key came before."""
    return [{"name": f"item {n - n % 4 // 3}", "number": n} for n in range(count)]


def five_named() -> Iterable[dict[str, Any]]:
    return iter(name_items(ITEMS))


def ranged(count: int = ITEMS) -> Pipeline:
    return batten.from_range(count)


def written(pipeline: Pipeline, **options: Any) -> Pipeline:
    return pipeline.options(batch_size=BATCH_ITEMS, **options).write_parquet(f"/{LAYOUT.output}")


def fallible(count: int = ITEMS) -> Pipeline:
    return written(ranged(count).map(square_or_fail))


def run(pipeline: Pipeline, fails: Sequence[int] = (), **options: Any) -> Act:
    """To run the pipeline; `fails` are the items that fail meanwhile."""

    def act(storage: MemoryStorage) -> Any:
        os.environ[FAILING] = " ".join(map(str, fails))
        return run_on(storage, pipeline, RunOptions(jobs=1, executor="serial", **options))

    return act


Begin = Callable[[], MemoryStorage]


def after(act: Act) -> Begin:
    """What there is once that was done."""

    def begin() -> MemoryStorage:
        storage = MemoryStorage()
        act(storage)
        return storage

    return begin


def killed_before(step: str, act: Act) -> Begin:
    """What there is when that was killed before the first step whose name begins so."""

    def begin() -> MemoryStorage:
        cuts = record_cuts(MemoryStorage(), act, LAYOUT)
        return next(cut.storage for cut in cuts if cut.what.startswith(step))

    return begin


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What is done once the storage is as after `begin`, and what must come of it."""

    name: str
    act: Act
    keys: Sequence[Any]
    begin: Begin = MemoryStorage
    again: Act | None = None
    is_chunked: bool = False
    is_shared: bool = True
    may_be_old: bool = False
    is_staged_used: bool = True
    changed_items: int = 0


def nothing_rowed() -> Pipeline:
    return written(ranged().filter(is_negative).map(square))


EVERY = range(ITEMS)
ODD = [number for number in EVERY if is_late_and_odd(number)]
NAMES = list(dict.fromkeys(item["name"] for item in name_items(ITEMS)))
MORE_NAMES = list(dict.fromkeys(item["name"] for item in name_items(MORE_ITEMS)))
REPEATED = [number for number in EVERY for _ in range(number % 3)]
KEYED = written(batten.from_items(name_items(ITEMS), key="name").map(number_of))
KEYED_MORE = written(batten.from_items(name_items(MORE_ITEMS), key="name").map(number_of))


def name_changed(count: int) -> list[dict[str, Any]]:
    """The second is another and the fourth is gone."""
    named = [item for item in name_items(count) if item["name"] != NAMES[2]]
    return [{**item, "number": 7} if item["name"] == NAMES[1] else item for item in named]


def five_changed() -> Iterable[dict[str, Any]]:
    return iter(name_changed(ITEMS))


LEFT_NAMES = [name for name in NAMES if name != NAMES[2]]
DROPPING = {"key": "name", "removed": "drop"}
CHANGED = written(batten.from_items(name_changed(ITEMS), **DROPPING).map(number_of))
MORE_CHANGED = written(batten.from_items(name_changed(MORE_ITEMS), **DROPPING).map(number_of))
NOTED = written(batten.from_items(name_items(ITEMS), **DROPPING).map(note_of))
NOTED_MORE = written(
    batten.from_items(
        [{**item, "note": "new"} if item["number"] == 7 else item for item in name_changed(ITEMS)],
        **DROPPING,
    ).map(note_of)
)
SUMMED = ranged().map(square).map_batches(add_sums, items=1)
PINNED = {"square": "int64", "text": "string"}

SCENARIOS = [
    Scenario(name="whole batches", act=run(written(ranged().map(square))), keys=EVERY),
    Scenario(
        name="whole batches alone",
        act=run(written(ranged().map(square))),
        keys=EVERY,
        is_shared=False,
    ),
    Scenario(name="chunks", act=run(written(ranged().map(square))), keys=EVERY, is_chunked=True),
    Scenario(
        name="schema pinned late",
        act=run(written(ranged().filter(is_late_and_odd).map(square))),
        keys=ODD,
    ),
    Scenario(
        name="schema pinned late, chunks",
        act=run(written(ranged().filter(is_late_and_odd).map(square))),
        keys=ODD,
        is_chunked=True,
    ),
    Scenario(
        name="calls",
        act=run(written(ranged().map(square_by_call, concurrency=2))),
        keys=EVERY,
        is_chunked=True,
    ),
    Scenario(name="no rows", act=run(nothing_rowed()), keys=[], is_chunked=True),
    Scenario(
        name="several rows",
        act=run(written(ranged().flat_map(repeat))),
        keys=REPEATED,
        is_chunked=True,
    ),
    Scenario(
        name="schema given", act=run(written(ranged().map(square), schema=PINNED)), keys=EVERY
    ),
    Scenario(name="quarantine", act=run(fallible(), [0, 1, 2]), keys=[3, 4]),
    Scenario(
        name="quarantine, chunks",
        act=run(fallible(), [0, 1, 2]),
        keys=[3, 4],
        is_chunked=True,
    ),
    Scenario(name="keys with duplicates", act=run(KEYED), keys=NAMES),
    Scenario(
        name="keys that the plan holds",
        act=run(written(batten.from_items(five_named, key="name").map(number_of))),
        keys=NAMES,
        is_chunked=True,
    ),
    Scenario(name="tables", act=run(written(SUMMED)), keys=EVERY, is_chunked=True),
    Scenario(
        name="more items",
        begin=after(run(written(ranged().map(square)))),
        act=run(written(ranged(MORE_ITEMS).map(square))),
        keys=range(MORE_ITEMS),
    ),
    Scenario(
        name="more keys",
        begin=after(run(KEYED)),
        act=run(KEYED_MORE),
        keys=MORE_NAMES,
        is_chunked=True,
    ),
    Scenario(
        name="changed and gone",
        begin=after(run(KEYED)),
        act=run(CHANGED),
        keys=LEFT_NAMES,
        changed_items=1,
    ),
    Scenario(
        name="changed and gone, and more, chunks",
        begin=after(run(KEYED)),
        act=run(MORE_CHANGED),
        keys=[name for name in MORE_NAMES if name != NAMES[2]],
        is_chunked=True,
        is_shared=False,
        changed_items=1,
    ),
    Scenario(
        name="changed of what the plan holds",
        begin=after(run(written(batten.from_items(five_named, key="name").map(number_of)))),
        act=run(written(batten.from_items(five_changed, **DROPPING).map(number_of))),
        keys=LEFT_NAMES,
        is_chunked=True,
        changed_items=1,
    ),
    Scenario(
        name="changed before anything was published of it",
        begin=killed_before(f"publish.link {LAYOUT.output}/", run(KEYED)),
        act=run(CHANGED),
        keys=LEFT_NAMES,
        is_chunked=True,
        is_staged_used=False,
    ),
    Scenario(
        name="a limit, then all",
        begin=after(run(written(ranged().map(square)), limit=3)),
        act=run(written(ranged().map(square))),
        keys=EVERY,
    ),
    Scenario(
        name="retry",
        begin=after(run(fallible(), [0, 1, 2])),
        act=run(fallible(), [1], should_retry_quarantined=True),
        keys=[0, 2, 3, 4],
    ),
    Scenario(
        name="retry, chunks",
        begin=after(run(fallible(), [0, 1, 2])),
        act=run(fallible(), [1], should_retry_quarantined=True),
        keys=[0, 2, 3, 4],
        is_chunked=True,
    ),
    Scenario(
        name="retry, then a plain run",
        begin=after(run(fallible(), [0, 1, 2])),
        act=run(fallible(), [1], should_retry_quarantined=True),
        again=run(fallible(), [1]),
        keys=[0, 2, 3, 4],
        may_be_old=True,
    ),
    Scenario(
        name="changed before anything was published",
        begin=killed_before(
            f"stage.create {LAYOUT.staging}/000000-", run(written(ranged().map(cube)))
        ),
        act=run(written(ranged().map(square))),
        keys=EVERY,
    ),
    Scenario(
        name="schema given to what was staged",
        begin=killed_before(f"publish.link {LAYOUT.output}/", run(written(ranged().map(square)))),
        act=run(written(ranged().map(square), schema={**PINNED, "more": "int8"})),
        keys=EVERY,
        is_chunked=True,
        is_staged_used=False,
    ),
    Scenario(
        name="change accepted",
        begin=after(run(written(ranged().map(cube)), limit=3)),
        act=run(written(ranged().map(square)), accepts_change=True),
        keys=EVERY,
    ),
    Scenario(
        name="fresh",
        begin=after(run(written(ranged().map(cube)))),
        act=run(written(ranged().map(square)), is_fresh=True),
        keys=EVERY,
        is_staged_used=False,
    ),
    Scenario(
        name="columns added",
        begin=after(run(written(ranged().map(square_alone)))),
        act=run(written(ranged(MORE_ITEMS).map(square)), accepts_change=True, adds_columns=True),
        keys=range(MORE_ITEMS),
        is_staged_used=False,
    ),
    Scenario(
        name="a column that the source got",
        begin=after(run(NOTED)),
        act=run(NOTED_MORE, accepts_change=True, adds_columns=True),
        keys=LEFT_NAMES,
        is_staged_used=False,
        changed_items=1,
    ),
]


BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


@pytest.fixture(params=BY_NAME, ids=lambda name: name.replace(" ", "-"))
def scenario(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    """With the times set that decide about chunks, and about which batches share syncs."""
    found = BY_NAME[request.param]
    chunk_seconds = 0.0 if found.is_chunked else 60.0
    monkeypatch.setattr(bench, "CHUNK_SECONDS", chunk_seconds)
    monkeypatch.setattr(pace, "CHUNK_SECONDS", chunk_seconds)
    monkeypatch.setattr(waiting, "PUBLISH_SECONDS", 1e9 if found.is_shared else 0.0)
    return found


class Sweep:
    """One scenario, what an undisturbed run makes of it, and its cuts."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.act = scenario.act
        self.again = scenario.again or scenario.act
        self.storage = scenario.begin()
        before = read_parts(self.storage, LAYOUT)
        self.cuts = record_cuts(self.storage, self.act, LAYOUT, frozenset(before))
        after = read_parts(self.storage, LAYOUT)
        self.expected = Expected(layout=LAYOUT, before=before, after=after)
        self._judged = MetStates(LAYOUT)
        self._tried = MetStates(LAYOUT)
        self._done = MetStates(LAYOUT, with_throwaway=True)

    def check(self, found: StateAfterCut, chooser: random.Random) -> None:
        """Judge what was found, and run again: undisturbed, and cut once more. What a cut leaves of
        that is like what was tried already, as a rule."""
        self._tried.is_new(found.storage, found.committed)
        self.judge(found.storage, found.committed, found.how)
        shown = found.storage.snapshot()
        cut = record_one_cut(found.storage, self.again, LAYOUT, chooser, found.committed)
        self.check_done(found.storage, shown, found.how)
        for second in sample_states([cut], chooser, 1):
            is_settled = second.storage.is_settled
            if is_settled and not self._tried.is_new(second.storage, second.committed):
                continue
            how = f"{found.how}; then {second.how}"
            self.judge(second.storage, second.committed, how)
            shown = second.storage.snapshot()
            self.again(second.storage)
            self.check_done(second.storage, shown, how)

    def judge(self, storage: MemoryStorage, committed: frozenset[int], how: str) -> None:
        if self._judged.is_new(storage, committed):
            problems = list(find_broken(storage, self.expected, committed))
            assert not problems, (how, problems)

    def check_done(self, storage: MemoryStorage, shown: Any, how: str) -> None:
        problems = list(find_lost_evidence(shown, storage, LAYOUT))
        if self._done.is_new(storage):
            may_be_old = self.scenario.may_be_old
            problems += find_undone(storage, self.expected, may_be_old=may_be_old)
        assert not problems, (how, problems)


def keys_of(parts: Iterable[bytes]) -> Iterator[Any]:
    for data in parts:
        yield from pq.read_table(io.BytesIO(data)).column("key").to_pylist()


def test_undisturbed_it_does_what_is_expected(scenario: Scenario) -> None:
    sweep = Sweep(scenario)
    assert list(keys_of(sweep.expected.after.values())) == list(scenario.keys)
    assert list(find_undone(sweep.storage, sweep.expected)) == []
    assert len(sweep.cuts) > 40


def test_power_lost_at_a_few_steps(scenario: Scenario, seeded: random.Random) -> None:
    sweep = Sweep(scenario)
    for found in sample_states(sweep.cuts, seeded, SAMPLED_STATES):
        sweep.check(found, seeded)


@pytest.mark.parametrize(
    ("scenario", "step"),
    [
        ("whole batches", f"sync_names {LAYOUT.output}"),
        ("retry", f"replace.rename {LAYOUT.quarantine}/"),
        ("retry", f"sync_names {LAYOUT.set_aside}"),
        ("retry, then a plain run", f"replace.rename {LAYOUT.output}/"),
    ],
    indirect=["scenario"],
)
def test_power_lost_where_it_once_did_harm(
    scenario: Scenario, step: str, seeded: random.Random
) -> None:
    sweep = Sweep(scenario)
    cuts = [cut for cut in sweep.cuts if cut.what.startswith(step)]
    assert cuts
    for found in sample_states(cuts, seeded, 2 * SAMPLED_STATES):
        sweep.check(found, seeded)


@pytest.mark.parametrize("sample", [20, pytest.param(None, marks=pytest.mark.crash, id="all")])
@pytest.mark.parametrize("scenario", ["fresh"], indirect=True)
def test_power_lost_when_a_folder_is_known_by_its_old_and_its_new_name(
    scenario: Scenario, sample: int | None, seeded: random.Random
) -> None:
    """The new name is durable, and that the old one is gone is not."""
    sweep = Sweep(scenario)
    befores = [cut.what for cut in sweep.cuts]
    cuts = [
        cut
        for cut, before in zip(sweep.cuts[1:], befores, strict=False)
        if before == f"sync_names {LAYOUT.replaced_folder}"
    ]
    assert cuts
    states = list(find_states(cuts, LAYOUT, seeded, models=["weak"], by_chance=0))
    assert len(states) > 40
    for found in states if sample is None else seeded.sample(states, sample):
        sweep.check(found, seeded)


@pytest.mark.crash
def test_power_lost_at_every_step(scenario: Scenario, seeded: random.Random) -> None:
    sweep = Sweep(scenario)
    for found in find_states(sweep.cuts, LAYOUT, seeded):
        sweep.check(found, seeded)


def list_failed_syncs(
    scenario: Scenario, begin: Callable[[], MemoryStorage]
) -> Iterator[tuple[int, MemoryStorage]]:
    """What is there after a run of which one sync of a folder failed, for each of them."""
    for number in count(1):
        storage = begin()
        storage.observer = failing_sync = FailSync(number)
        with suppress(StorageError):
            scenario.act(storage)
        if failing_sync.count < number:
            return
        yield number, storage.restart()


@pytest.mark.parametrize("sample", [2, pytest.param(None, marks=pytest.mark.crash, id="all")])
@pytest.mark.parametrize("is_killed_first", [False, True])
def test_names_of_which_a_sync_failed_are_made_anew(
    scenario: Scenario, is_killed_first: bool, sample: int | None, seeded: random.Random
) -> None:
    """The kernel says once that it could not write them, and goes on showing them. A run that ends
    well after that has made them anew, so a power cut takes nothing."""
    sweep = Sweep(scenario)
    killed = seeded.choice(sweep.cuts).storage
    begin = partial(killed.crash, "kill", seeded) if is_killed_first else scenario.begin
    failed = list(list_failed_syncs(scenario, begin))
    for number, storage in failed if sample is None else seeded.sample(failed, sample):
        how = f"sync {number} failed"
        kept = storage.crash("kill", seeded)
        sweep.again(storage)
        sweep.check_done(storage, {}, how)
        assert storage.find(LAYOUT.unsynced) is None
        committed = frozenset(read_parts(storage, LAYOUT))
        by_chance = (storage.crash("weak", seeded) for _ in range(SAMPLED_STATES))
        for state in storage.surviving_states("weak") if sample is None else by_chance:
            sweep.judge(state, committed, how)
        sweep.check(StateAfterCut(how=how, committed=frozenset(), storage=kept), seeded)


@pytest.mark.parametrize(
    "scenario",
    [each.name for each in SCENARIOS if each.is_staged_used],
    ids=lambda name: name.replace(" ", "-"),
    indirect=True,
)
def test_a_kill_costs_only_what_was_in_hand(scenario: Scenario, seeded: random.Random) -> None:
    """What was staged or published by then is not computed again, but for a sealed batch whose
    schema was not pinned, and what is to be retried."""
    sweep = Sweep(scenario)
    for cut in seeded.sample(sweep.cuts, SAMPLED_STATES):
        accounts = judge(observe_output(cut.storage, LAYOUT)).accounts
        unpinned = BATCH_ITEMS if cut.storage.find(LAYOUT.schema) is None else 0
        report: Any = sweep.again(cut.storage)
        now = report.accounts
        todo = now.source + now.removed - accounts.source - accounts.removed
        todo += accounts.pending + accounts.quarantined + scenario.changed_items
        assert report.executed_items <= todo + unpinned, cut.what

"""Files of all rows under power cuts: a reader sees the old one or the new one, whole, and the next
run ends as if nothing had been."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

import pytest

import batten
from batten.crashlab.power import MODELS, find_different, record_cuts
from batten.crashlab.power_sweeps import Act, PowerSweep, sweep_power
from batten.drive.publishing import waiting
from batten.drive.run import run_on
from batten.model.disk.names import Layout
from batten.pipeline.pipeline import Pipeline
from batten.run.run_options import RunOptions
from batten.storage.twin.memory import MemoryStorage

LAYOUT = Layout("rows.jsonl", is_inside=True)
SECOND = "more/rows.csv"
SAMPLES = [10, pytest.param(None, marks=pytest.mark.crash, id="all")]


failing: set[int] = set()


def square(number: int) -> dict[str, Any]:
    return {"square": number * number}


def cube(number: int) -> dict[str, Any]:
    return {"square": number**3}


def square_or_fail(number: int) -> dict[str, Any]:
    if number in failing:
        raise ValueError(f"{number} fails")
    return square(number)


def pipeline(items: int, function: Any = square, *, has_second: bool = False) -> Pipeline:
    made = batten.from_range(items).map(function, version=function.__name__)
    made = made.options(batch_size=2).write_jsonl(f"/{LAYOUT.output}")
    return made.write_csv(f"/{SECOND}") if has_second else made


def run(made: Pipeline, fails: tuple[int, ...] = (), **options: Any) -> Act:
    def act(storage: MemoryStorage) -> Any:
        failing.clear()
        failing.update(fails)
        return run_on(storage, made, RunOptions(jobs=1, executor="serial", **options))

    return act


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What is done once `before` was, and the keys that the file then holds."""

    name: str
    act: Act
    keys: list[int]
    before: Act | None = None
    again: Act | None = None


SCENARIOS = [
    Scenario(name="first", act=run(pipeline(5)), keys=[0, 1, 2, 3, 4]),
    Scenario(name="no rows", act=run(pipeline(0)), keys=[]),
    Scenario(
        name="extended",
        before=run(pipeline(3)),
        act=run(pipeline(6)),
        keys=[0, 1, 2, 3, 4, 5],
    ),
    Scenario(
        name="retried",
        before=run(pipeline(5, square_or_fail), (1, 4)),
        act=run(pipeline(5, square_or_fail), (4,), should_retry_quarantined=True),
        keys=[0, 1, 2, 3],
    ),
    Scenario(
        name="fresh",
        before=run(pipeline(4, cube)),
        act=run(pipeline(4), is_fresh=True),
        again=run(pipeline(4), is_fresh=True),
        keys=[0, 1, 2, 3],
    ),
    Scenario(name="two files", act=run(pipeline(5, has_second=True)), keys=[0, 1, 2, 3, 4]),
    Scenario(
        name="a second file later",
        before=run(pipeline(5)),
        act=run(pipeline(5, has_second=True)),
        keys=[0, 1, 2, 3, 4],
    ),
]


@pytest.fixture(params=SCENARIOS, ids=lambda each: each.name.replace(" ", "-"))
def scenario(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    monkeypatch.setattr(waiting, "PUBLISH_SECONDS", 1e9)
    found: Scenario = request.param
    return found


def find_left(storage: MemoryStorage) -> list[str]:
    return [entry.name for entry in storage.list("more") if entry.name != SECOND]


def sweep_scenario(scenario: Scenario) -> PowerSweep:
    again, before = scenario.again, scenario.before
    return sweep_power(LAYOUT, scenario.act, see, before=before, again=again, left=find_left)


def see(storage: MemoryStorage) -> dict[str, bytes | None]:
    found = storage.snapshot()
    return {name: found.get(name) for name in (LAYOUT.output, SECOND)}


def keys_of(data: bytes | None) -> list[int]:
    return [json.loads(line)["key"] for line in (data or b"").splitlines()]


def test_undisturbed_it_does_what_is_expected(scenario: Scenario) -> None:
    swept = sweep_scenario(scenario)
    assert keys_of(swept.new[LAYOUT.output]) == scenario.keys
    assert len(swept.cuts) > 20
    swept.check_undisturbed()


@pytest.mark.parametrize("sample", SAMPLES)
def test_power_lost(scenario: Scenario, sample: int | None, seeded: random.Random) -> None:
    swept = sweep_scenario(scenario)
    for found in swept.choose(seeded, sample):
        swept.check(found)


def cut_before(storage: MemoryStorage, act: Act, step: str) -> MemoryStorage:
    """What there is when that is killed before the last step whose name begins so."""
    cuts = record_cuts(storage, act, LAYOUT)
    return next(cut.storage for cut in reversed(cuts) if cut.what.startswith(step))


def test_a_file_that_a_killed_run_had_put_there_is_durable_once_the_next_is_done() -> None:
    act = run(pipeline(5, has_second=True))
    storage = cut_before(MemoryStorage(), act, "sync_names more")
    act(storage)
    for model in MODELS:
        for state in storage.surviving_states(model):
            assert see(state) == see(storage), model


def test_a_second_kill_before_a_power_cut_blames_nobody_else() -> None:
    """The record of the third file names the second as what it replaces, and that was not durable:
    the first is there again."""
    storage = MemoryStorage()
    run(pipeline(3, has_second=True))(storage)
    storage = cut_before(storage, run(pipeline(4, has_second=True)), "sync_names more")
    act = run(pipeline(5, has_second=True))
    storage = cut_before(storage, act, f"replace.rename {SECOND}")
    for state in find_different(storage, LAYOUT):
        act(state)
        assert keys_of(state.read(LAYOUT.output)) == [0, 1, 2, 3, 4]

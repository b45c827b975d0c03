"""Files of items under power cuts: each is whole or absent under its name, and the next run ends as
if nothing had been."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import batten
from batten.crashlab.power import find_states
from batten.crashlab.power_sweeps import Act, PowerSweep, sweep_power
from batten.drive.publishing import waiting
from batten.drive.run import run_on
from batten.model.disk.names import Layout
from batten.pipeline.pipeline import Pipeline
from batten.run.run_options import RunOptions
from batten.storage.twin.memory import MemoryStorage
from batten.work import bench
from batten.work import work_sizes as pace

LAYOUT = Layout("copies", is_inside=True)
SAMPLES = [10, pytest.param(None, marks=pytest.mark.crash, id="all")]


def write(number: int) -> bytes:
    return f"the bytes of {number}".encode()


def write_more(number: int) -> bytes:
    return f"more bytes of {number}".encode()


def stream(number: int) -> Iterator[bytes]:
    yield b"a stream "
    yield write(number)


def write_two(number: int) -> dict[str, bytes]:
    return {"one": write(number), "two": b"2" * number}


def write_text(item: dict[str, Any]) -> bytes:
    return str(item["text"]).encode()


def pipeline(
    items: int, function: Any = write, pattern: str = "/copies/{key}.bin", batch_size: int = 2
) -> Pipeline:
    made = batten.from_range(items).map(function)
    return made.options(batch_size=batch_size).write_files(pattern)


def named(**texts: str) -> Pipeline:
    items = [{"name": name, "text": text} for name, text in texts.items()]
    made = batten.from_items(items, key="name", removed="drop").map(write_text)
    return made.options(batch_size=2).write_files("/copies/{key}.bin")


def clashing() -> Pipeline:
    keys = ["a.x", "b.x", "c.x", "a.y", "../d", "e.x"]
    made = batten.from_items([{"name": key, "text": key} for key in keys], key="name")
    made = made.map(write_text).options(batch_size=2, stop_when=None)
    return made.write_files("/copies/{stem}.bin")


def run(made: Pipeline, **options: Any) -> Act:
    def act(storage: MemoryStorage) -> Any:
        return run_on(storage, made, RunOptions(jobs=1, executor="serial", **options))

    return act


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What is done once `before` was, and the names of the files that are there then."""

    name: str
    act: Act
    files: str
    before: Act | None = None
    is_chunked: bool = False


FRESH = run(pipeline(5, write_more, batch_size=3), is_fresh=True)

SCENARIOS = [
    Scenario(name="first", act=run(pipeline(5)), files="0.bin 1.bin 2.bin 3.bin 4.bin"),
    Scenario(name="chunks", act=run(pipeline(3)), files="0.bin 1.bin 2.bin", is_chunked=True),
    Scenario(name="streams", act=run(pipeline(3, stream)), files="0.bin 1.bin 2.bin"),
    Scenario(
        name="several in folders",
        act=run(pipeline(3, write_two, "/copies/{key}/{name}")),
        files="0/one 0/two 1/one 1/two 2/one 2/two",
    ),
    Scenario(
        name="changed and gone",
        before=run(named(a="one", b="two", c="three", d="four")),
        act=run(named(a="one", b="another", d="four", e="five")),
        files="a.bin b.bin d.bin e.bin",
    ),
    Scenario(
        name="changed, of the same size, chunks",
        before=run(named(a="one", b="two")),
        act=run(named(a="1ne", b="two")),
        files="a.bin b.bin",
        is_chunked=True,
    ),
    Scenario(name="names that can't be", act=run(clashing()), files="a.bin b.bin c.bin e.bin"),
    Scenario(
        name="fresh",
        before=run(pipeline(6)),
        act=FRESH,
        files="0.bin 1.bin 2.bin 3.bin 4.bin",
    ),
]


@pytest.fixture(params=SCENARIOS, ids=lambda each: each.name.replace(" ", "-"))
def scenario(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    monkeypatch.setattr(waiting, "PUBLISH_SECONDS", 1e9)
    found: Scenario = request.param
    if found.is_chunked:
        monkeypatch.setattr(bench, "CHUNK_SECONDS", 0.0)
        monkeypatch.setattr(pace, "CHUNK_SECONDS", 0.0)
    return found


def find_left(storage: MemoryStorage) -> list[str]:
    folders = (LAYOUT.made, LAYOUT.staging, LAYOUT.staged)
    return [name for folder in folders for name in storage.list_names(folder)]


def sweep_scenario(scenario: Scenario) -> PowerSweep:
    return sweep_power(LAYOUT, scenario.act, see, before=scenario.before, left=find_left)


def see(storage: MemoryStorage) -> dict[str, bytes]:
    start = f"{LAYOUT.output}/"
    return {
        name.removeprefix(start): data
        for name, data in storage.snapshot().items()
        if name.startswith(start) and data is not None
    }


def test_undisturbed_it_does_what_is_expected(scenario: Scenario) -> None:
    swept = sweep_scenario(scenario)
    assert sorted(swept.new) == scenario.files.split()
    assert len(swept.cuts) > 20
    swept.check_undisturbed()


@pytest.mark.parametrize("sample", SAMPLES)
def test_power_lost(scenario: Scenario, sample: int | None, seeded: random.Random) -> None:
    swept = sweep_scenario(scenario)
    for found in swept.choose(seeded, sample):
        swept.check(found)


def test_power_lost_when_all_is_recorded_as_complete(
    scenario: Scenario, seeded: random.Random
) -> None:
    """Each state that may be found then: what was deleted before does not come back."""
    swept = sweep_scenario(scenario)
    completing = [cut for cut in swept.cuts if cut.what == f"sync_names {LAYOUT.control}"]
    for found in find_states(completing[-1:], LAYOUT, seeded):
        swept.check(found)

"""Items into a live tree under power cuts: ledger and tree are on one disk, and it loses power
before any durable step of a run. The next run leaves each item in the tree once, whole, in order.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import batten
from batten.crashlab.power import StateAfterCut, find_states, record_cuts, sample_states
from batten.crashlab.promises import UNHARMED
from batten.drive.publishing import waiting
from batten.drive.run import run_on
from batten.ledger.facts.observe import observe_output
from batten.ledger.judge import judge
from batten.model.disk.names import Layout
from batten.model.disk.trees.tree_names import TreeLayout
from batten.model.words import State
from batten.pipeline.pipeline import Pipeline
from batten.run.run_options import RunOptions
from batten.storage.twin.memory import MemoryStorage
from batten.storage.twin.memory_tree import MemoryTree
from batten.transactions import entry
from batten.transactions.recovery import recover_tree

LAYOUT = Layout("tree", is_inside=True)
TREE = TreeLayout("tree")
SAMPLED_STATES = 20

Act = Callable[[MemoryStorage], object]
Content = dict[str, bytes | None]

unwanted: set[int] = set()
"""The items that the tree rejects just now."""


def prepare(number: int) -> dict[str, Any]:
    return {"text": f"text of {number}"}


def commit(change: batten.Transaction, number: int, prepared: dict[str, Any]) -> None:
    change.write(f"pages/{number}", prepared["text"])
    if change.exists(f"pages/{number - 1}"):
        change.delete(f"pages/{number - 1}")
    before = change.read("log").decode() if change.exists("log") else ""
    change.write("log", f"{before}{number} ")
    if number in unwanted:
        raise ValueError(f"{number} is unwanted")


def pipeline(items: int) -> Pipeline:
    made = batten.from_range(items).map(prepare, version="1")
    return made.write_tree("/tree", commit=commit)


def run(items: int, rejects: tuple[int, ...] = (), **options: Any) -> Act:
    def act(storage: MemoryStorage) -> Any:
        unwanted.clear()
        unwanted.update(rejects)
        return run_on(storage, pipeline(items), RunOptions(jobs=1, executor="serial", **options))

    return act


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What is done once `before` was, and the log of the tree that it leaves."""

    name: str
    act: Act
    log: str
    before: Act | None = None


SCENARIOS = [
    Scenario(name="first", act=run(2), log="0 1 "),
    Scenario(name="rejected", act=run(3, (1,)), log="0 2 "),
    Scenario(name="extended", before=run(1), act=run(2), log="0 1 "),
    Scenario(
        name="retried",
        before=run(2, (1,)),
        act=run(2, should_retry_quarantined=True),
        log="0 1 ",
    ),
]


class Disk:
    """The disk that is opened now, in the place of the folder that the tree lies in."""

    tree: MemoryTree


@pytest.fixture(params=SCENARIOS, ids=lambda each: each.name)
def scenario(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    monkeypatch.setattr(waiting, "PUBLISH_SECONDS", 1e9)
    monkeypatch.setattr(entry, "open_tree", lambda folder: Disk.tree)
    found: Scenario = request.param
    return found


class Sweep:
    """A scenario, its undisturbed end, and its cuts."""

    def __init__(self, scenario: Scenario) -> None:
        self.act = on_disk(scenario.act)
        storage = MemoryTree()
        if scenario.before is not None:
            on_disk(scenario.before)(storage)
        self.cuts = record_cuts(storage, self.act, LAYOUT)
        self.new = see(storage)
        self.log = log_of(storage)

    def check(self, found: StateAfterCut) -> None:
        storage = found.storage
        assert isinstance(storage, MemoryTree)
        assert judge(observe_output(storage, LAYOUT)).verdict.state in UNHARMED, found.how
        # What a reader sees, whose lock recovers the tree first: whole items, in order.
        recovered = storage.crash("kill", random.Random(0))
        assert isinstance(recovered, MemoryTree)
        recover_tree(recovered, TREE)
        assert self.log.startswith(log_of(recovered)), found.how
        assert pages_of(recovered) == expected_pages(log_of(recovered)), found.how
        self.act(storage)
        assert see(storage) == self.new, found.how
        judgement = judge(observe_output(storage, LAYOUT, is_thorough=True))
        assert judgement.verdict.state is State.COMPLETE, (found.how, judgement)


def on_disk(act: Act) -> Act:
    def acting(storage: MemoryStorage) -> object:
        assert isinstance(storage, MemoryTree)
        Disk.tree = storage
        return act(storage)

    return acting


def see(tree: MemoryTree) -> Content:
    """All of the tree, and of its control folder what is left staged or set aside."""
    folders = (f"{TREE.root}/", f"{TREE.staging}/", f"{TREE.set_aside}/", TREE.journal)
    return {name: data for name, data in tree.snapshot().items() if name.startswith(folders)}


def log_of(tree: MemoryTree) -> str:
    return (tree.snapshot().get(TREE.target("log")) or b"").decode()


def pages_of(tree: MemoryTree) -> Content:
    prefix = TREE.target("pages/")
    return {n.removeprefix(prefix): d for n, d in tree.snapshot().items() if n.startswith(prefix)}


def expected_pages(log: str) -> Content:
    kept: Content = {}
    for number in map(int, log.split()):
        kept[str(number)] = f"text of {number}".encode()
        kept.pop(str(number - 1), None)
    return kept


def test_undisturbed_it_does_what_is_expected(scenario: Scenario) -> None:
    sweep = Sweep(scenario)
    assert sweep.log == scenario.log
    assert len(sweep.cuts) > 40
    sweep.check(StateAfterCut(how="the end", committed=frozenset(), storage=sweep.cuts[-1].storage))


def test_power_lost_at_a_few_steps(scenario: Scenario, seeded: random.Random) -> None:
    sweep = Sweep(scenario)
    for found in sample_states(sweep.cuts, seeded, SAMPLED_STATES):
        sweep.check(found)


@pytest.mark.crash
def test_power_lost_at_every_step(scenario: Scenario, seeded: random.Random) -> None:
    sweep = Sweep(scenario)
    for found in find_states(sweep.cuts, LAYOUT, seeded):
        sweep.check(found)

"""Runs on an object store in memory: killed, unanswered, overtaken, at each request.

The function says in each row which run made it, so what two runs make of an item is never the same.
"""

from __future__ import annotations

import io
import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.overtaking import choose, count_changes, count_requests, once, overtake

import batten
from batten.crashlab.promises import read_parts
from batten.drive.run import run_on
from batten.errors import BattenError, BusyError, StorageError, UsageError
from batten.ledger.facts.observation import Observation
from batten.ledger.facts.observe import observe_output
from batten.ledger.judge import Judgement, judge
from batten.model.disk import rolled
from batten.model.disk.footer import decode_part
from batten.model.disk.names import Layout
from batten.model.rules.accounting import tally_outcomes
from batten.model.rules.findings import DOUBT, find_worst
from batten.model.words import RunStatus, State
from batten.pipeline.pipeline import Pipeline
from batten.plan.plan import Plan
from batten.run.run_options import RunOptions
from batten.storage.twin.fates import DEATHS, Fate
from batten.storage.twin.objects import (
    ChangeRequest,
    ObjectServer,
    ObjectStorage,
    SenderDied,
)
from batten.work import bench
from batten.work import work_sizes as pace
from batten.work.sealing.sealed_rows import load_failures, load_sealed

LAYOUT = Layout("features", is_shared=True)
ITEMS, MORE_ITEMS = 5, 8
FAILING = "BATTEN_TEST_FAILING"
ROUNDS_MAX = 40


def square(number: int) -> dict[str, Any]:
    who = threading.current_thread().name
    if str(number) in os.environ.get(FAILING, "").split():
        raise ValueError(f"{number} fails for {who}")
    return {"square": number * number, "who": who}


def keep_all(rows: pa.Table) -> pa.Table:
    return rows


def read_number(path: Path) -> dict[str, Any]:
    return {"number": int(path.read_text())}


def square_of(item: dict[str, Any]) -> dict[str, Any]:
    return square(item["number"])


def written(pipeline: Pipeline) -> Pipeline:
    return pipeline.options(batch_size=2).write_parquet("/features")


def ranged(count: int = ITEMS) -> Pipeline:
    return written(batten.from_range(count).map(square))


def keyed(count: int = ITEMS) -> Pipeline:
    items = [{"name": f"item {number}", "number": number} for number in range(count)]
    return written(batten.from_items(items, key="name").map(square_of))


def changing(*numbers: int) -> Pipeline:
    """The number of each item may be another one in another run, and those that are negative are
    gone."""
    items = [
        {"name": f"item {place}", "number": number}
        for place, number in enumerate(numbers)
        if number >= 0
    ]
    source = batten.from_items(items, key="name", removed="drop")
    return written(source.map(square_of))


Act = Callable[[ObjectStorage], Any]


def run(pipeline: Pipeline, **options: Any) -> Act:
    return lambda storage: run_on(
        storage, pipeline, RunOptions(jobs=1, executor="serial", **options)
    )


class Scenario:
    """What was done before, what two runs do now, and what a last one does. One of the two may have
    an `earlier` source. `leaving` are squares that may go from a part."""

    leaving: frozenset[int] = frozenset()

    def __init__(
        self, make: Callable[[int], Pipeline], *, was_run: bool, items: int, retries: bool
    ) -> None:
        self.make, self.numbers, self.retries = make, range(items), retries
        self.was_run = was_run
        options = {"should_retry_quarantined": True} if retries else {}
        self.act = self.earlier = run(make(items), **options)
        self.last = run(make(items))

    def begin(self) -> ObjectServer:
        os.environ[FAILING] = "1 3"
        server = ObjectServer()
        if self.was_run:
            run(self.make(ITEMS))(ObjectStorage(server))
        if self.retries:
            os.environ[FAILING] = "1"
        return server


class Changing(Scenario):
    """Items change, go and come between the runs."""

    leaving = frozenset({0, 4, 16, 36, 121})

    def __init__(self, *, was_run: bool) -> None:
        first, then, now = (
            changing(0, 1, 2, 3, 4),
            changing(0, 1, 7, 3, 4, 5),
            changing(11, 1, 7, 3, -1, 5, 6),
        )
        super().__init__(lambda _: first, was_run=was_run, items=0, retries=False)
        self.numbers = [11, 1, 7, 3, 5, 6]
        self.earlier, self.act, self.last = run(then), run(now), run(now)


SCENARIOS = {
    "change": Changing(was_run=True),
    "change of none": Changing(was_run=False),
    "first": Scenario(ranged, was_run=False, items=ITEMS, retries=False),
    "first, keyed": Scenario(keyed, was_run=False, items=ITEMS, retries=False),
    "retry": Scenario(ranged, was_run=True, items=ITEMS, retries=True),
    "extension": Scenario(ranged, was_run=True, items=MORE_ITEMS, retries=False),
    "extension and retry, keyed": Scenario(keyed, was_run=True, items=MORE_ITEMS, retries=True),
}


@pytest.fixture(params=SCENARIOS, ids=lambda name: name.replace(" ", "-"))
def scenario(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    for module in (bench, pace):
        monkeypatch.setattr(module, "CHUNK_SECONDS", 60.0)
    monkeypatch.setenv(FAILING, "")
    monkeypatch.setattr(rolled, "ROLLED_BATCHES", 2)
    return SCENARIOS[request.param]


def look(server: ObjectServer, *, is_thorough: bool = False) -> tuple[Observation, Judgement]:
    observation = observe_output(ObjectStorage(server), LAYOUT, is_thorough=is_thorough)
    return observation, judge(observation)


def refuse_harm(
    server: ObjectServer, parts: dict[int, bytes], leaving: frozenset[int] = frozenset()
) -> None:
    """What must hold at any moment. `parts` are those that were there before, which it brings up to
    date; `leaving` are the squares of items that may change or go."""
    observation, judgement = look(server)
    assert find_worst(judgement.findings) not in DOUBT, judgement.findings
    # What is known by roll-ups is what all records say.
    thorough, closely = look(server, is_thorough=True)
    assert find_worst(closely.findings) not in DOUBT, closely.findings
    assert thorough.lost_records == frozenset()
    if not observation.is_vouched:
        assert observation.claims == thorough.claims
        assert observation.recorded == thorough.recorded
    found = read_parts(ObjectStorage(server), LAYOUT)
    for batch, before in parts.items():
        if found[batch] != before:
            rows = rows_of(found[batch])
            stay = (row for row in rows_of(before) if row["square"] not in leaving)
            assert all(row in rows for row in stay), "a row was made again"
    parts.update(found)
    completion = observation.completion
    if completion is not None:
        described = {batch: decode_part(data) for batch, data in found.items()}
        told = [tally_outcomes(each.outcomes) for each in described.values()]
        assert completion.committed == sum(each[0] for each in told)
        assert completion.quarantined == sum(each[2] for each in told)
        removed = sum(each.removed for each in told)
        assert completion.source == sum(sum(each) for each in told) - removed
        plan = plan_of(server)
        for batch, part in described.items():
            wanted = plan.revision(plan.batch(batch))
            assert part.revision >= wanted, "COMPLETE stands over rows of earlier versions"


def plan_of(server: ObjectServer) -> Plan:
    observation, _ = look(server)
    storage = ObjectStorage(server)
    return Plan(storage, LAYOUT, list(observation.segments), observation.revised)


class WatchedServer(ObjectServer):
    """Looks after each change whether harm was done."""

    def __init__(
        self,
        server: ObjectServer,
        leaving: frozenset[int] = frozenset(),
        *,
        keeps_conditions: bool = True,
    ) -> None:
        super().__init__(keeps_conditions=keeps_conditions)
        self._leaving = leaving
        self.objects = dict(server.objects)
        self.parts = read_parts(ObjectStorage(self), LAYOUT)

    def apply(self, change: ChangeRequest) -> Any:
        answer = super().apply(change)
        if "/runs/" not in change.name and "/staged/" not in change.name:
            refuse_harm(self, self.parts, self._leaving)
        return answer


def finish(server: ObjectServer, scenario: Scenario, *, retried: bool = False) -> None:
    """A last run, undisturbed, after which all is there once."""
    report = scenario.last(ObjectStorage(server))
    assert report.status in (RunStatus.COMPLETE, RunStatus.NOTHING_TO_DO)
    server.deliver_late()
    again = scenario.last(ObjectStorage(server))
    assert again.status in (RunStatus.COMPLETE, RunStatus.NOTHING_TO_DO)
    observation, judgement = look(server)
    assert observation.completion is not None
    assert judgement.verdict.state in (State.COMPLETE, State.COMPLETE_WITH_ORPHANS)
    rows = [
        row for data in read_parts(ObjectStorage(server), LAYOUT).values() for row in rows_of(data)
    ]
    numbers = Counter(row["square"] for row in rows)
    failing = {1} if retried else {1, 3}
    all_of = {number**2 for number in scenario.numbers}
    assert all_of >= set(numbers) >= all_of - {each**2 for each in failing}
    assert set(numbers.values()) == {1}
    accounts = judgement.accounts
    assert accounts.source == len(scenario.numbers) == accounts.committed + accounts.quarantined
    assert len(rows) == accounts.committed


def rows_of(data: bytes) -> Sequence[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(data)).to_pylist()
    return rows


EVERY = pytest.mark.parametrize("most", [3, pytest.param(None, marks=pytest.mark.crash, id="each")])


def test_undisturbed_it_does_what_is_expected(scenario: Scenario) -> None:
    server = scenario.begin()
    report = scenario.act(ObjectStorage(server))
    assert report.status is RunStatus.COMPLETE
    finish(server, scenario, retried=scenario.retries)
    assert [name for name in server.objects if "/staged/" in name] == []
    # Each full pair of batches is rolled up, and again where one of its parts was replaced.
    versions = look(server)[0].versions
    for number in range(len(versions) // 2):
        pair = [versions[batch] for batch in rolled.span_of(number)]
        assert LAYOUT.rolled_up(number, pair) in server.objects


@EVERY
@pytest.mark.parametrize("death", DEATHS)
def test_killed_at_a_change(
    scenario: Scenario, death: Fate, most: int | None, seeded: Random
) -> None:
    for at in choose(count_changes(scenario.begin(), scenario.act), seeded, most):
        server = WatchedServer(scenario.begin(), scenario.leaving)
        with suppress(SenderDied):
            scenario.act(ObjectStorage(server, fate=once(at, death)))
        if seeded.random() < 0.5:
            server.deliver_late()
        finish(server, scenario)


@EVERY
@pytest.mark.parametrize("fate", [Fate.LOST, Fate.UNHEARD, Fate.LATE])
def test_an_answer_is_lost(
    scenario: Scenario, fate: Fate, most: int | None, seeded: Random
) -> None:
    for at in choose(count_changes(scenario.begin(), scenario.act), seeded, most):
        server = WatchedServer(scenario.begin(), scenario.leaving)
        report = scenario.act(ObjectStorage(server, fate=once(at, fate)))
        assert report.status is RunStatus.COMPLETE
        finish(server, scenario, retried=scenario.retries)


@EVERY
def test_overtaken_between_two_requests(
    scenario: Scenario, most: int | None, seeded: Random
) -> None:
    """While it stands still another does all, whose lease is over when it goes on."""

    def act(storage: ObjectStorage) -> Any:
        return scenario.act(storage).status

    def earlier(storage: ObjectStorage) -> Any:
        return scenario.earlier(storage).status

    requests = count_requests(scenario.begin(), scenario.earlier)
    for at in choose(requests, seeded, None if most is None else 2 * most):
        server = WatchedServer(scenario.begin(), scenario.leaving)
        ended, _ = overtake(server, at, earlier, act, ends=(BusyError, SenderDied))
        assert RunStatus.COMPLETE in ended, ended
        finish(server, scenario, retried=scenario.retries)


@EVERY
def test_overtaken_by_one_that_dies(scenario: Scenario, most: int | None, seeded: Random) -> None:
    """It has said what is wanted, and has published none of it."""
    requests = count_requests(scenario.begin(), scenario.earlier)
    for at in choose(requests, seeded, None if most is None else 2 * most):
        server = WatchedServer(scenario.begin(), scenario.leaving)

        def dies(change: ChangeRequest) -> Fate:
            return Fate.DIES_BEFORE if change.name.startswith(f"{LAYOUT.data}/") else Fate.DONE

        def other(_: ObjectStorage, server: ObjectServer = server) -> Any:
            return scenario.act(ObjectStorage(server, fate=dies))

        overtake(server, at, scenario.earlier, other, ends=(BusyError, SenderDied))
        finish(server, scenario, retried=scenario.retries)


def do(act: Act, server: ObjectServer, ended: list[Any], **how: Any) -> None:
    """Do it, and note how it ended: its status, or how another stopped it."""
    try:
        ended.append(act(ObjectStorage(server, **how)).status)
    except (BusyError, SenderDied) as error:
        ended.append(error)
    except BaseException as error:
        ended.append(error)
        raise


class Turns:
    """Lets one of two threads make one request at a time, by chance."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._changed = threading.Condition()
        self._at_work = {"one", "two"}
        self._turn = "one"

    def wait(self, what: str) -> None:
        me = threading.current_thread().name
        with self._changed:
            self._choose()
            self._changed.wait_for(lambda: self._turn == me)

    def end(self) -> None:
        with self._changed:
            self._at_work.discard(threading.current_thread().name)
            self._choose()

    def _choose(self) -> None:
        if self._at_work:
            self._turn = self._random.choice(sorted(self._at_work))
            self._changed.notify_all()


@pytest.mark.parametrize("rounds", [5, pytest.param(100, marks=pytest.mark.crash)])
def test_two_runs_at_once(scenario: Scenario, rounds: int, seeded: Random) -> None:
    for _ in range(rounds):
        server = WatchedServer(scenario.begin(), scenario.leaving)
        ended = run_two(scenario, server, seeded)
        # No answer may come so often that a run gives up.
        fair = BusyError | SenderDied | StorageError | RunStatus
        odd = [each for each in ended if not isinstance(each, fair)]
        assert odd == []
        finish(server, scenario, retried=scenario.retries and RunStatus.COMPLETE in ended)


def test_two_runs_on_a_store_that_knows_no_conditions_do_harm(
    scenario: Scenario, seeded: Random
) -> None:
    """So the tests here can fail; and such a store must be refused before it is written to."""
    for _ in range(ROUNDS_MAX):
        server = WatchedServer(scenario.begin(), scenario.leaving, keeps_conditions=False)
        if any(isinstance(each, AssertionError) for each in run_two(scenario, server, seeded)):
            return
    pytest.fail("no harm was seen")


def run_two(scenario: Scenario, server: ObjectServer, seeded: Random) -> list[Any]:
    """Two runs at once; how they ended."""
    turns, chooser = Turns(seeded), Random(seeded.random())
    ended: list[Any] = []
    how = (scenario, server, turns, chooser, ended)
    threads = [threading.Thread(target=take_part, args=how, name=name) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ended


def take_part(
    scenario: Scenario, server: ObjectServer, turns: Turns, chooser: Random, ended: list[Any]
) -> None:
    """One of the two: answers of it are lost, requests come late, and it may die."""

    def choose(change: ChangeRequest) -> Fate:
        if chooser.random() < 0.1:
            server.deliver_late()
        drawn = chooser.random()
        if drawn < 0.01:
            return chooser.choice(DEATHS)
        if drawn < 0.15:
            return chooser.choice([Fate.LOST, Fate.UNHEARD, Fate.LATE])
        return Fate.DONE

    turns.wait("begin")
    try:
        with suppress(BattenError, AssertionError, KeyError):
            is_first = threading.current_thread().name == "one"
            act = scenario.earlier if is_first else scenario.act
            do(act, server, ended, before=turns.wait, fate=choose)
    finally:
        turns.end()


def test_what_a_dead_run_said_of_items_does_not_hide_their_change(tmp_path: Path) -> None:
    """It died before its segment, so nothing was computed of what it saw."""
    path = tmp_path / "one.txt"
    act = run(written(batten.from_files(tmp_path / "*.txt", changed="content").map(read_number)))
    path.write_text("1")
    segments = count(1)

    def die_at_segment(change: ChangeRequest) -> Fate:
        is_segment = change.name == LAYOUT.segment(0)
        return Fate.DIES_BEFORE if is_segment and next(segments) == 1 else Fate.DONE

    server = ObjectServer()
    with pytest.raises(SenderDied):
        act(ObjectStorage(server, fate=die_at_segment))
    path.write_text("2")
    assert act(ObjectStorage(server)).executed_items == 1
    (part,) = read_parts(ObjectStorage(server), LAYOUT).values()
    assert [row["number"] for row in rows_of(part)] == [2]
    assert act(ObjectStorage(server)).status is RunStatus.NOTHING_TO_DO


def test_a_dataset_of_before_gets_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FAILING, "")
    server = ObjectServer()
    act = run(changing(0, 1, 2))
    act(ObjectStorage(server))
    revised = look(server)[0].revised
    completions = {name for name in server.objects if name.startswith(LAYOUT.complete)}
    for name in revised.keys() | completions:
        del server.objects[name]
    closing = act(ObjectStorage(server))
    assert (closing.status, closing.executed_items) == (RunStatus.COMPLETE, 0)
    assert look(server)[0].revised.keys() == revised.keys()
    assert act(ObjectStorage(server)).status is RunStatus.NOTHING_TO_DO
    again = run(changing(0, 5))(ObjectStorage(server))
    assert (again.executed_items, again.removed_items) == (1, 1)


def test_a_run_whose_versions_were_replaced_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run has seen other items, after this one had computed its own."""
    monkeypatch.setenv(FAILING, "")
    server = ObjectServer()
    run(changing(0, 1, 2))(ObjectStorage(server))
    is_done = False

    def replace_versions(what: str) -> None:
        nonlocal is_done
        if not is_done and what.startswith("put_new") and LAYOUT.commits in what:
            is_done = True
            storage = ObjectStorage(server)
            (name,) = look(server)[0].revised
            data, version = storage.get(name)
            storage.put_if(name, data + b"\0", version)

    with pytest.raises(BusyError, match="versions"):
        run(changing(9, 1, 2))(ObjectStorage(server, before=replace_versions))
    assert is_done
    assert look(server)[0].completion is None


def test_what_needs_a_folder_is_refused(scenario: Scenario) -> None:
    server = scenario.begin()
    before = dict(server.objects)
    for act in (
        run(scenario.make(ITEMS), adds_columns=True),
        run(scenario.make(ITEMS).write_jsonl("/features.jsonl")),
    ):
        with pytest.raises(UsageError, match="no folder of a file system"):
            act(ObjectStorage(server))
    assert server.objects == before


def test_of_a_complete_dataset_no_record_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be a million."""
    monkeypatch.setenv(FAILING, "")
    server = ObjectServer()
    run(ranged())(ObjectStorage(server))
    asked: list[str] = []
    found = judge(observe_output(ObjectStorage(server, before=asked.append), LAYOUT))
    assert found.verdict.state is State.COMPLETE
    assert found.accounts.committed == ITEMS
    assert [what for what in asked if LAYOUT.commits in what] == []
    # An older COMPLETE means nothing: a part that it does not know is looked up.
    there = ObjectStorage(server)
    last = there.find(LAYOUT.part(2))
    assert last is not None
    there.put_if(last.name, there.read(last.name) + b"\0", last.version)
    asked.clear()
    found = judge(observe_output(ObjectStorage(server, before=asked.append), LAYOUT))
    assert found.verdict.state is not State.COMPLETE
    assert [what for what in asked if LAYOUT.commits in what] != []


def test_a_finalized_dataset_is_of_one_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each request of the making, another run replaces a part by other rows."""
    monkeypatch.setenv(FAILING, "")
    complete = ObjectServer()
    run(ranged())(ObjectStorage(complete))
    parts = read_parts(ObjectStorage(complete), LAYOUT)
    wanted = [row["square"] for data in parts.values() for row in rows_of(data)]
    requests = 0

    def count() -> None:
        nonlocal requests
        requests += 1

    def finalize(into: Path, before: Callable[[ObjectServer], None]) -> list[int] | None:
        """The rows of the second dataset, if one is there."""
        server = ObjectServer()
        server.objects = dict(complete.objects)
        act = run(ranged().finalize(keep_all, into=into))
        with suppress(BattenError):
            act(ObjectStorage(server, before=lambda _: before(server)))
        if not into.exists():
            return None
        return [row["square"] for row in batten.open(into).to_arrow().to_pylist()]

    assert finalize(tmp_path / "whole", lambda _: count()) == wanted
    made = 0
    for at in range(1, requests + 1):
        left = iter(range(at))

        def replace(server: ObjectServer, left: Any = left, at: int = at) -> None:
            if next(left, None) == at - 1:
                there = ObjectStorage(server)
                found = there.find(LAYOUT.part(1))
                assert found is not None
                there.put_if(found.name, parts[0], found.version)

        rows = finalize(tmp_path / f"second-{at}", replace)
        assert rows in (None, wanted), at
        made += rows is not None
    assert made < requests


def test_what_is_quarantined_is_found_by_the_part_that_it_belongs_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(FAILING, "1")
    storage = ObjectStorage(ObjectServer())
    run(ranged())(storage)
    plan = Plan(storage, LAYOUT, list(observe_output(storage, LAYOUT).segments))
    batch = plan.batch(0)
    sealed = load_sealed(storage, LAYOUT, LAYOUT.part(0), plan, batch, "key")
    assert [failure.item for failure in load_failures(storage, LAYOUT, batch, sealed)] == [1]

"""A dataset in a store takes the place of another one: killed, unanswered, overtaken, anywhere.

At any moment a reader finds the old rows or the new ones, all of them. In the end nothing is left
of the old ones. Each row says which run made it.
"""

from __future__ import annotations

import errno
import io
import os
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.overtaking import choose, count_changes, count_requests, once, overtake

import batten
from batten.crashlab.promises import read_parts
from batten.drive.run import run_on
from batten.errors import BusyError, CorruptError
from batten.ledger.facts.observe import observe_output
from batten.ledger.generations import (
    claim,
    enter,
    find_current,
    load_generations,
    succeed,
    sweep,
)
from batten.ledger.judge import judge
from batten.model.disk import rolled
from batten.model.disk.names import FIRST_GENERATION, Layout
from batten.model.words import RunStatus, State
from batten.run.progress import Silent
from batten.run.run_options import RunOptions
from batten.storage.failures import writing_failure
from batten.storage.twin.fates import DEATHS, Fate
from batten.storage.twin.objects import (
    ChangeRequest,
    ObjectServer,
    ObjectStorage,
    SenderDied,
)
from batten.work import bench
from batten.work import work_sizes as pace

LAYOUT = Layout("features", is_shared=True)
ITEMS, MORE_ITEMS = 4, 7
LOSSES = (Fate.LOST, Fate.UNHEARD, Fate.LATE)
MAKER = "BATTEN_TEST_MAKER"
EVERY = pytest.mark.parametrize("most", [4, pytest.param(None, marks=pytest.mark.crash, id="each")])


@pytest.fixture(autouse=True)
def _chunks_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, each run makes the same requests."""
    for module in (bench, pace):
        monkeypatch.setattr(module, "CHUNK_SECONDS", 60.0)
    monkeypatch.setattr(rolled, "ROLLED_BATCHES", 2)


def tell(number: int) -> dict[str, Any]:
    return {"number": number, "maker": os.environ[MAKER]}


Start = Callable[[], ObjectServer]


class Told(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def run(
    storage: ObjectStorage,
    maker: str,
    *,
    items: int = ITEMS,
    is_fresh: bool = False,
    told: Silent | None = None,
) -> Any:
    before, os.environ[MAKER] = os.environ.get(MAKER, ""), maker
    pipeline = batten.from_range(items).map(tell).options(batch_size=2).write_parquet("/features")
    options = RunOptions(jobs=1, executor="serial", is_fresh=is_fresh)
    try:
        return run_on(storage, pipeline, options, told).status
    finally:
        os.environ[MAKER] = before


def make_fresh(storage: ObjectStorage) -> Any:
    return run(storage, "new", is_fresh=True)


def begin() -> ObjectServer:
    server = ObjectServer()
    run(ObjectStorage(server), "old")
    return server


def begin_twice() -> ObjectServer:
    """A fresh run was killed as well, and another one may go on with what it made."""
    server = begin()
    with suppress(SenderDied):
        run(ObjectStorage(server, fate=once(12, Fate.DIES_AFTER)), "new", is_fresh=True)
    assert find_current(ObjectStorage(server), LAYOUT).next
    return server


def read(server: ObjectServer, *, is_open: bool = False) -> list[dict[str, Any]]:
    """What a reader finds, which must be whole; while it grows, what was there before."""
    storage = ObjectStorage(server)
    layout = find_current(storage, LAYOUT)
    observation = observe_output(storage, layout)
    state = judge(observation).verdict.state
    assert is_open or observation.completion is not None, state
    sound = (State.COMPLETE, State.COMPLETE_WITH_ORPHANS, State.RUNNING, State.INTERRUPTED)
    assert state in sound, observation
    rows: list[dict[str, Any]] = []
    for data in read_parts(storage, layout).values():
        rows += pq.read_table(io.BytesIO(data)).to_pylist()
    numbers = [row["number"] for row in rows]
    assert numbers == [*range(len(numbers))]
    assert len(rows) >= ITEMS
    return rows


class WatchedServer(ObjectServer):
    """A reader looks after each change."""

    def __init__(self, server: ObjectServer) -> None:
        super().__init__()
        self.objects = dict(server.objects)
        self.makers: list[set[str]] = []

    def apply(self, change: ChangeRequest) -> Any:
        answer = super().apply(change)
        if "/runs/" not in change.name and "/staged/" not in change.name:
            found = {row["maker"] for row in read(self, is_open=True)}
            if found not in self.makers[-1:]:
                self.makers.append(found)
        return answer


def finish(server: ObjectServer) -> None:
    """A last fresh run, after which all is of it, or of one that it went on with."""
    server.deliver_late()
    assert run(ObjectStorage(server), "last", is_fresh=True) in (
        RunStatus.COMPLETE,
        RunStatus.NOTHING_TO_DO,
    )
    server.deliver_late()
    assert {row["maker"] for row in read(server)} <= {"new", "other", "last"}
    storage = ObjectStorage(server)
    current = find_current(storage, LAYOUT)
    assert not current.next
    sweep(storage, LAYOUT)
    own = (f"{current.output}/", f"{current.control}/")
    beside = [name for name in server.objects if not name.startswith(own)]
    assert sorted(beside) == [LAYOUT.current, LAYOUT.lock]


def test_the_new_dataset_takes_the_place_in_one_step() -> None:
    server = WatchedServer(begin())
    assert run(ObjectStorage(server), "new", is_fresh=True) is RunStatus.COMPLETE
    assert server.makers == [{"old"}, {"new"}]
    read(server)
    assert run(ObjectStorage(server), "none") is RunStatus.NOTHING_TO_DO
    assert run(ObjectStorage(server), "more", items=MORE_ITEMS) is RunStatus.COMPLETE
    assert [row["maker"] for row in read(server)] == ["new"] * ITEMS + ["more"] * 3
    assert run(ObjectStorage(server), "newer", is_fresh=True) is RunStatus.COMPLETE
    finish(server)


def test_what_others_put_where_the_first_one_lay_stays() -> None:
    """Nothing tells it from a part but that the parts are deleted already."""
    server = begin()
    run(ObjectStorage(server), "new", is_fresh=True)
    storage = ObjectStorage(server)
    storage.put_new(LAYOUT.part(0), b"of somebody else")
    run(storage, "newer", is_fresh=True)
    sweep(storage, LAYOUT)
    assert server.objects[LAYOUT.part(0)].data == b"of somebody else"


class DeletesNothing(ObjectStorage):
    """A bucket in which this user may not delete."""

    def delete_if(self, name: str, version: str) -> Any:
        if "/staged/" in name or "/staging/" in name:
            return super().delete_if(name, version)
        raise writing_failure(OSError(errno.EACCES, "no"), "Deleting", name)


def test_a_success_is_no_failure_where_what_was_before_can_not_be_deleted() -> None:
    server, told = WatchedServer(begin()), Told()
    assert run(DeletesNothing(server), "new", is_fresh=True, told=told) is RunStatus.COMPLETE
    assert {row["maker"] for row in read(server)} == {"new"}
    assert [note for note in told.notes if "can't be deleted" in note and "clean" in note]
    assert LAYOUT.part(0) in server.objects
    finish(server)
    assert LAYOUT.part(0) not in server.objects


def test_nor_at_the_next_run() -> None:
    server, told = begin(), Told()
    for _ in range(2):
        run(DeletesNothing(server), "new", is_fresh=True)
    assert run(DeletesNothing(server), "none", told=told) is RunStatus.NOTHING_TO_DO
    assert [note for note in told.notes if "can't be deleted" in note]


@EVERY
@pytest.mark.parametrize("death", DEATHS)
def test_killed_at_a_change(death: Fate, most: int | None, seeded: Random) -> None:
    for at in choose(count_changes(begin(), make_fresh), seeded, most):
        server = WatchedServer(begin())
        with suppress(SenderDied):
            run(ObjectStorage(server, fate=once(at, death)), "new", is_fresh=True)
        if seeded.random() < 0.5:
            server.deliver_late()
        if seeded.random() < 0.5:
            assert run(ObjectStorage(server), "none") is RunStatus.NOTHING_TO_DO
        finish(server)
        assert set(map(frozenset, server.makers)) <= {
            *map(frozenset, ({"old"}, {"new"}, {"last"}, {"new", "last"}))
        }


@EVERY
@pytest.mark.parametrize("loss", LOSSES)
def test_an_answer_is_lost(loss: Fate, most: int | None, seeded: Random) -> None:
    for at in choose(count_changes(begin(), make_fresh), seeded, most):
        server = WatchedServer(begin())
        ended = run(ObjectStorage(server, fate=once(at, loss)), "new", is_fresh=True)
        assert ended is RunStatus.COMPLETE
        finish(server)


@EVERY
@pytest.mark.parametrize("start", [begin, begin_twice])
def test_overtaken_by_another_fresh_run(start: Start, most: int | None, seeded: Random) -> None:
    for at in choose(count_requests(start(), make_fresh), seeded, most):
        server = WatchedServer(start())
        other = partial(run, maker="other", is_fresh=True)
        ended, _ = overtake(server, at, make_fresh, other)
        assert RunStatus.COMPLETE in ended, ended
        finish(server)


def test_who_entered_before_another_claimed_or_succeeded_can_not_claim() -> None:
    """What it found then may be deleted by now."""
    server = begin_twice()
    first = enter(ObjectStorage(server), LAYOUT, is_fresh=True, tell=str)
    second = enter(ObjectStorage(server), LAYOUT, is_fresh=True, tell=str)
    claimed = claim(ObjectStorage(server), second, name="other")
    for _ in range(2):
        with pytest.raises(BusyError):
            claim(ObjectStorage(server), first, name=first.next)
        if load_generations(ObjectStorage(server), LAYOUT).generations.next:
            succeed(ObjectStorage(server), LAYOUT, claimed)


def test_what_another_run_cleared_away_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is overtaken while it reads the chunks of a batch, of which the first is read then."""
    for module in (bench, pace):
        monkeypatch.setattr(module, "CHUNK_SECONDS", 0.0)
    asked: list[str] = []
    run(ObjectStorage(begin(), before=asked.append), "new", is_fresh=True)
    reads = [at for at, what in enumerate(asked) if re.match("get .*/staged/.*[.]arrow", what)]
    assert reads
    for at in reads:
        server = WatchedServer(begin())
        other = partial(run, maker="other", is_fresh=True)
        ended, _ = overtake(server, at, make_fresh, other)
        assert RunStatus.COMPLETE in ended, ended
        finish(server)


@EVERY
def test_overtaken_by_a_run_that_goes_on_with_the_old_one(most: int | None, seeded: Random) -> None:
    """Its rows are not lost to one that planned before them."""
    for at in choose(count_requests(begin(), make_fresh), seeded, most):
        server = WatchedServer(begin())
        more = partial(run, maker="other", items=MORE_ITEMS)
        ended, asked = overtake(server, at, make_fresh, more)
        assert RunStatus.COMPLETE in ended, ended
        has_claimed = any("CURRENT" in what and "put" in what for what in asked[:-1])
        has_succeeded = load_generations(ObjectStorage(server), LAYOUT).generations.current
        if has_claimed and ended[0] is RunStatus.COMPLETE:
            assert len(read(server)) == MORE_ITEMS, (at, asked[-1], has_succeeded)
        finish(server)


def test_what_is_begun_for_other_items_is_not_gone_on_with() -> None:
    server = begin()
    with suppress(SenderDied):
        run(ObjectStorage(server, fate=once(8, Fate.DIES_AFTER)), "new", is_fresh=True)
    begun = find_current(ObjectStorage(server), LAYOUT).next
    assert begun
    run(ObjectStorage(server), "last", is_fresh=True, items=1)
    assert find_current(ObjectStorage(server), LAYOUT).generation != begun


def test_a_reader_that_looked_too_early_is_told() -> None:
    server = begin()
    run(ObjectStorage(server), "new", is_fresh=True)
    storage = ObjectStorage(server)
    before = find_current(storage, LAYOUT)
    run(storage, "newer", is_fresh=True)
    asked: list[str] = []

    def switch(what: str) -> None:
        asked.append(what)
        if len(asked) == 5:
            run(ObjectStorage(server), "newest", is_fresh=True)

    layout = find_current(storage, LAYOUT)
    assert layout.generation not in (FIRST_GENERATION, before.generation)
    with pytest.raises(BusyError):
        observe_output(ObjectStorage(server, before=switch), layout)


def test_a_record_of_generations_that_is_damaged_is_named() -> None:
    storage = ObjectStorage(begin())
    run(storage, "new", is_fresh=True)
    version = load_generations(storage, LAYOUT).version
    storage.put_if(LAYOUT.current, b"{}", version)
    with pytest.raises(CorruptError, match="CURRENT"):
        run(storage, "none")

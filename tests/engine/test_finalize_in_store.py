"""A second dataset in a store: killed, unanswered, overtaken, anywhere.

At any moment a reader finds none, or all rows of one attempt. Each row says which made it, so rows
of two attempts are told apart. In the end nothing is left of the others.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
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
from batten.errors import BusyError, InconsistentError, RefusedError
from batten.finalize import finalize
from batten.jobs.finalizer import Finalizer
from batten.ledger.contents import find_contents
from batten.ledger.facts.observe import observe_output
from batten.ledger.generations import find_current, load_generations, sweep
from batten.ledger.judge import judge
from batten.model.disk.names import Layout
from batten.model.value_class import value_class
from batten.model.words import RunStatus, State
from batten.run.run_options import RunOptions
from batten.storage.plugin import StoreAddress
from batten.storage.twin.fates import DEATHS, Fate
from batten.storage.twin.objects import ChangeRequest, ObjectServer, ObjectStorage, SenderDied

SECOND = Layout("counts", is_shared=True)
ITEMS, MORE_ITEMS = 5, 8
LOSSES = (Fate.LOST, Fate.UNHEARD, Fate.LATE)
MAKER = "BATTEN_TEST_MAKER"
EVERY = pytest.mark.parametrize("most", [3, pytest.param(None, marks=pytest.mark.crash, id="each")])
OVERTAKEN = (BusyError, RefusedError)
"""It is refused where it comes to a first dataset that has more items than its source by now."""
Start = Callable[[], ObjectServer]


@value_class
class TwinAddress(StoreAddress):
    """Where the store in memory is what lies there."""

    storage: ObjectStorage

    def open(self, *, is_shared: bool = False) -> ObjectStorage:
        return self.storage


@pytest.fixture(autouse=True)
def _parts_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finalize, "PART_ROWS_MAX", 2)


def tell(number: int) -> dict[str, Any]:
    return {"number": number}


def sign(rows: pa.Table) -> pa.Table:
    """No attempt makes what another one makes."""
    names = pa.array([os.environ[MAKER]] * rows.num_rows)
    return rows.select(["number"]).append_column("maker", names)


@contextmanager
def made_by(maker: str) -> Iterator[None]:
    before, os.environ[MAKER] = os.environ.get(MAKER, ""), maker
    try:
        yield
    finally:
        os.environ[MAKER] = before


def run(
    storage: ObjectStorage,
    maker: str,
    *,
    items: int = ITEMS,
    version: str = "1",
    is_fresh: bool = False,
    function: Callable[[pa.Table], pa.Table] = sign,
) -> Any:
    """How the second dataset is now."""
    address = TwinAddress(
        scheme="twin", address="twin://objects", name="counts", folder=Path(), storage=storage
    )
    finalizer = Finalizer(
        function=function, output=Path("/counts"), form="arrow", version=version, store=address
    )
    first = batten.from_range(items).map(tell).options(batch_size=3).write_parquet("/features")
    options = RunOptions(jobs=1, executor="serial", is_fresh=is_fresh)
    with made_by(maker):
        report = run_on(storage, replace(first, finalizers=(finalizer,)), options)
    (done,) = report.finalized
    return done.status


def make(storage: ObjectStorage) -> Any:
    return run(storage, "new")


def begin() -> ObjectServer:
    """The first dataset is complete, and there is no second."""
    server = ObjectServer()
    first = batten.from_range(ITEMS).map(tell).options(batch_size=3).write_parquet("/features")
    run_on(ObjectStorage(server), first, RunOptions(jobs=1, executor="serial"))
    return server


def begin_older() -> ObjectServer:
    """There is a second dataset, which another version of the function made."""
    server = begin()
    assert run(ObjectStorage(server), "old", version="0") is RunStatus.COMPLETE
    return server


STARTS = pytest.mark.parametrize("start", [begin, begin_older])


def read(server: ObjectServer) -> set[str]:
    """Who made the rows that a reader finds; empty where there is no dataset."""
    storage = ObjectStorage(server)
    layout = find_current(storage, SECOND)
    observation = observe_output(storage, layout)
    state = judge(observation).verdict.state
    if observation.completion is None:
        assert state in (State.NEW, State.INTERRUPTED, State.RUNNING), observation
        assert not observation.parts
        return set()
    sound = (State.COMPLETE, State.COMPLETE_WITH_ORPHANS, State.RUNNING)
    assert state in sound, observation
    rows: list[dict[str, Any]] = []
    for data in read_parts(storage, layout).values():
        rows += pq.read_table(io.BytesIO(data)).to_pylist()
    numbers = [row["number"] for row in rows]
    assert numbers == [*range(len(numbers))]
    assert len(numbers) in (ITEMS, MORE_ITEMS)
    makers = {row["maker"] for row in rows}
    assert len(makers) == 1, "rows of two attempts"
    return makers


class WatchedServer(ObjectServer):
    """A reader looks after each change."""

    def __init__(self, server: ObjectServer) -> None:
        super().__init__()
        self.objects = dict(server.objects)
        self.makers: list[set[str]] = [read(self)]

    def apply(self, change: ChangeRequest) -> Any:
        answer = super().apply(change)
        if change.name.startswith("counts") and "/staged/" not in change.name:
            found = read(self)
            if found != self.makers[-1]:
                self.makers.append(found)
        return answer


def refuse_left(server: ObjectServer) -> None:
    """Raises where anything is left of another attempt."""
    current = find_current(ObjectStorage(server), SECOND)
    assert not current.next
    own = (f"{current.output}/", f"{current.control}/", "features")
    beside = [name for name in server.objects if not name.startswith(own)]
    assert sorted(beside) == [SECOND.current, SECOND.lock]


def finish(server: ObjectServer, late_at: int = 0) -> None:
    """A last run brings it to its end, and nothing is left of what came before. What is late comes
    before its request of that number, or after it."""
    asked: list[str] = []

    def deliver(what: str) -> None:
        asked.append(what)
        if len(asked) == late_at + 1:
            server.deliver_late()

    try:
        ended = run(ObjectStorage(server, before=deliver), "last")
    except BusyError:
        # A late request took over: then the dead run is complete, or was before this one's claim.
        ended = run(ObjectStorage(server), "last")
    assert ended in (RunStatus.COMPLETE, RunStatus.NOTHING_TO_DO)
    server.deliver_late()
    assert read(server)
    sweep(ObjectStorage(server), SECOND)
    refuse_left(server)
    assert run(ObjectStorage(server), "none") is RunStatus.NOTHING_TO_DO


def test_it_takes_its_place_in_one_step_and_follows_the_first() -> None:
    server = WatchedServer(begin())
    assert run(ObjectStorage(server), "one") is RunStatus.COMPLETE
    assert run(ObjectStorage(server), "none") is RunStatus.NOTHING_TO_DO
    assert run(ObjectStorage(server), "two", version="2") is RunStatus.COMPLETE
    refuse_left(server)
    more = run(ObjectStorage(server), "three", version="2", items=MORE_ITEMS)
    assert more is RunStatus.COMPLETE
    anew = run(ObjectStorage(server), "four", version="2", items=MORE_ITEMS, is_fresh=True)
    assert anew is RunStatus.COMPLETE
    assert server.makers == [set(), {"one"}, {"two"}, {"three"}, {"four"}]


@EVERY
@STARTS
@pytest.mark.parametrize("death", DEATHS)
def test_killed_at_a_change(death: Fate, start: Start, most: int | None, seeded: Random) -> None:
    requests = count_requests(start(), make)
    for at in choose(count_changes(start(), make), seeded, most):
        server = WatchedServer(start())
        with suppress(SenderDied):
            run(ObjectStorage(server, fate=once(at, death)), "new")
        finish(server, late_at=seeded.randrange(requests))
        absent_or_old = server.makers[0]
        told = [makers for makers in server.makers if makers != absent_or_old]
        assert told in ([{"new"}], [{"last"}]), (at, server.makers)


@EVERY
@STARTS
@pytest.mark.parametrize("loss", LOSSES)
def test_an_answer_is_lost(loss: Fate, start: Start, most: int | None, seeded: Random) -> None:
    requests = count_requests(start(), make)
    for at in choose(count_changes(start(), make), seeded, most):
        server = WatchedServer(start())
        assert run(ObjectStorage(server, fate=once(at, loss)), "new") is RunStatus.COMPLETE
        finish(server, late_at=seeded.randrange(requests))
        assert server.makers[1:] == [{"new"}]


@EVERY
@STARTS
def test_overtaken_by_another_run(start: Start, most: int | None, seeded: Random) -> None:
    for at in choose(count_requests(start(), make), seeded, most):
        server = WatchedServer(start())
        ended, _ = overtake(server, at, make, lambda each: run(each, "other"), ends=OVERTAKEN)
        # The other finds nothing to do if the first has ended but for what it clears away.
        assert ended[0] in (RunStatus.COMPLETE, RunStatus.NOTHING_TO_DO), (at, ended)
        finish(server)


@EVERY
def test_one_that_was_overtaken_does_not_bring_back_what_was_before(
    most: int | None, seeded: Random
) -> None:
    """The other sees more items. What is there in the end is made of them."""
    for at in choose(count_requests(begin(), make), seeded, most):
        server = WatchedServer(begin())
        more = partial(run, maker="other", items=MORE_ITEMS)
        ended, _ = overtake(server, at, make, more, ends=OVERTAKEN)
        assert ended[0] is RunStatus.COMPLETE, (at, ended)
        if ended[-1] is not RunStatus.COMPLETE:
            assert read(server) == {"other"}, at
        run(ObjectStorage(server), "last", items=MORE_ITEMS)
        assert run(ObjectStorage(server), "none", items=MORE_ITEMS) is RunStatus.NOTHING_TO_DO


def test_one_whose_plan_goes_between_two_requests_is_none_that_is_complete() -> None:
    """Another run has put one in its place, and deletes it."""

    class Overtaken(ObjectStorage):
        def read_each(self, folder: str, names: Iterable[str]) -> Iterator[bytes | None]:
            for name in [name for name in self.server.objects if name.startswith(f"{folder}/")]:
                del self.server.objects[name]
            return super().read_each(folder, names)

    server = begin_older()
    layout = find_current(ObjectStorage(server), SECOND)
    assert find_contents(ObjectStorage(server), layout) is not None
    assert find_contents(Overtaken(server), layout) is None


def test_what_changes_while_it_is_read_is_not_put_in_place() -> None:
    server = begin_older()

    def overtaken(rows: pa.Table) -> pa.Table:
        first = batten.from_range(MORE_ITEMS).map(tell).options(batch_size=3)
        options = RunOptions(jobs=1, executor="serial")
        thread = threading.Thread(
            target=lambda: run_on(ObjectStorage(server), first.write_parquet("/features"), options)
        )
        thread.start()
        thread.join()
        return sign(rows)

    with pytest.raises(BusyError, match="took over"):
        run(ObjectStorage(server), "new", function=overtaken)
    assert read(server) == {"old"}
    assert run(ObjectStorage(server), "new", items=MORE_ITEMS) is RunStatus.COMPLETE
    assert read(server) == {"new"}


def test_what_was_begun_is_given_up_where_nothing_is_to_be_done() -> None:
    server = begin_older()
    at = count_changes(begin_older(), make) // 2
    with suppress(SenderDied):
        run(ObjectStorage(server, fate=once(at, Fate.DIES_AFTER)), "new")
    storage = ObjectStorage(server)
    begun = load_generations(storage, SECOND).generations.next
    assert begun
    assert run(storage, "none", version="0") is RunStatus.NOTHING_TO_DO
    assert read(server) == {"old"}
    assert not load_generations(storage, SECOND).generations.next
    assert not [name for name in server.objects if begun in name]


@pytest.mark.parametrize("is_fresh", [False, True])
def test_objects_of_others_are_not_touched(is_fresh: bool) -> None:
    for name in ("counts/part-000000.parquet", "counts/rows.csv"):
        server = begin()
        storage = ObjectStorage(server)
        storage.put_new(name, b"of another")
        for _ in range(2):
            with pytest.raises((RefusedError, InconsistentError)):
                run(storage, "new", is_fresh=is_fresh)
        assert storage.read(name) == b"of another"
        assert [each for each in server.objects if each.startswith("counts")] == [name]


@pytest.mark.parametrize("is_fresh", [False, True])
def test_another_dataset_is_refused(is_fresh: bool) -> None:
    server = begin()
    storage = ObjectStorage(server)
    other = batten.from_range(3).map(tell).write_parquet("/counts")
    run_on(storage, other, RunOptions(jobs=1, executor="serial"))
    before = {name: each.data for name, each in server.objects.items() if name.startswith("counts")}
    with pytest.raises(RefusedError, match="is another dataset, not made by finalize"):
        run(storage, "new", is_fresh=is_fresh)
    after = {name: each.data for name, each in server.objects.items() if name.startswith("counts")}
    assert after == before

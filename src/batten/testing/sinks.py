"""What every destination with a commit of its own must do, tried on the real thing."""

from __future__ import annotations

import inspect
import multiprocessing
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from batten.crashlab.staging import SCHEMA, stage_batch
from batten.errors import BusyError, InconsistentError, RefusedError, UsageError
from batten.model.disk.destinations.tokens import PublishEnd, TokenState
from batten.sinks.base import Destination, Sink, Staged
from batten.testing.kills import kill_at_line
from batten.testing.opening import open_sink

Row = dict[str, Any]


def rows_of(*keys: int) -> list[Row]:
    """The rows of these items, as `stage_batch` makes them."""
    return [{"key": key, "name": f"n{key}"} for key in keys]


def pair(batch: int) -> list[int]:
    """The two items of a batch."""
    return [2 * batch, 2 * batch + 1]


def publish_or_give_way(destination: Destination, batch: int) -> PublishEnd:
    """A destination may let one process at a time publish under a name, and tell the others."""
    try:
        return destination.publish(stage_batch(batch, pair(batch)))
    except BusyError:
        return PublishEnd.LOST_RACE


class SinkContract:
    """Subclass it in a test module, as `class TestMine(SinkContract)`, with the two methods.

    Each test has an empty folder. `libraries` are the modules that the sink needs and batten does
    not bring: without them it must say how they are installed."""

    libraries: Collection[str] = ()
    kills_max = 60
    """Of the lines that a publication runs, so many are tried, evenly spread."""

    def make_sink(self, folder: Path) -> Sink:
        """Make the sink that is tried.

        Args:
            folder: An empty folder; a sink that writes files writes within it.

        Returns:
            The sink, writing to an empty place.

        Raises:
            NotImplementedError: The test class does not give this method.
        """
        raise NotImplementedError

    def read_rows(self, folder: Path) -> list[Row]:
        """Read all rows that are there.

        Args:
            folder: The folder of `make_sink`.

        Returns:
            A dict for each row, in the order of `key`, with `key` and `name`; none while nothing
            was made.

        Raises:
            NotImplementedError: The test class does not give this method.
        """
        raise NotImplementedError

    def list_made(self, folder: Path) -> Collection[object]:
        """List what lies where the sink writes.

        Args:
            folder: The folder of `make_sink`.

        Returns:
            What lies there; empty while nothing is made. By default it is the folder's content.
        """
        return list(folder.iterdir())

    def drop(self, folder: Path) -> None:
        """Take away all that the sink made, as another program would.

        Args:
            folder: The folder of `make_sink`.
        """
        pytest.skip("drop() is not given")

    def make_without_name(self, folder: Path) -> None:
        """Make the place beforehand, for rows without the column `name`.

        Args:
            folder: The folder of `make_sink`.
        """
        pytest.skip("make_without_name() is not given")

    def list_code(self, sink: Sink) -> Collection[str]:
        """List the source files of the sink, at whose lines it is killed.

        Args:
            sink: The sink of `make_sink`.

        Returns:
            Their paths; by default the file of the sink's class.
        """
        return [inspect.getfile(type(sink))]

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        made = tmp_path / "place"
        made.mkdir()
        return made

    @pytest.fixture
    def sink(self, folder: Path) -> Sink:
        return self.make_sink(folder)

    @pytest.fixture
    def open_destination(self, sink: Sink, folder: Path) -> Iterator[Callable[[], Destination]]:
        """Opens it; what a test leaves open is closed after it."""
        opened: list[Destination] = []

        def open_it() -> Destination:
            opened.append(open_sink(sink, folder))
            return opened[-1]

        yield open_it
        for destination in opened:
            destination.close()

    def test_what_is_published_is_there_once_and_known(
        self, open_destination: Callable[[], Destination], folder: Path
    ) -> None:
        first, second = stage_batch(0, [0, 1, 2]), stage_batch(1, [3, 4])
        destination = open_destination()
        assert destination.lookup([first.token]) == [TokenState.ABSENT]
        destination.prepare(SCHEMA)
        destination.prepare(SCHEMA)
        assert destination.lookup([first.token]) == [TokenState.ABSENT]
        assert destination.publish(first) is PublishEnd.COMMITTED
        known = destination.lookup([first.token, second.token])
        assert known == [TokenState.SAME, TokenState.ABSENT]
        assert destination.publish(second) is PublishEnd.COMMITTED
        assert self.read_rows(folder) == rows_of(0, 1, 2, 3, 4)
        destination.close()
        destination.close()
        other = open_destination()
        assert other.lookup([first.token, second.token]) == [TokenState.SAME, TokenState.SAME]

    def test_looking_makes_nothing(
        self, open_destination: Callable[[], Destination], folder: Path
    ) -> None:
        before = self.list_made(folder)
        destination = open_destination()
        assert destination.lookup([stage_batch(0, [0]).token]) == [TokenState.ABSENT]
        destination.close()
        assert self.list_made(folder) == before

    def test_a_second_attempt_is_told_that_it_is_there(
        self, open_destination: Callable[[], Destination], folder: Path
    ) -> None:
        staged = stage_batch(0, [0, 1])
        ends = []
        for _ in range(2):
            destination = open_destination()
            destination.prepare(SCHEMA)
            ends += [destination.publish(staged), destination.publish(staged)]
            destination.close()
        assert ends == [PublishEnd.COMMITTED, *[PublishEnd.LOST_RACE] * 3]
        assert self.read_rows(folder) == rows_of(0, 1)

    def test_other_content_under_the_same_name_is_refused(
        self, open_destination: Callable[[], Destination], folder: Path
    ) -> None:
        destination = open_destination()
        destination.prepare(SCHEMA)
        destination.publish(stage_batch(0, [0, 1]))
        other = stage_batch(0, [0, 1], digest="other", fingerprint="g")
        assert destination.lookup([other.token]) == [TokenState.OTHER]
        with pytest.raises(InconsistentError, match="other content"):
            destination.publish(other)
        assert self.read_rows(folder) == rows_of(0, 1)

    def test_datasets_are_told_apart_by_name(
        self, open_destination: Callable[[], Destination], folder: Path
    ) -> None:
        first, second = stage_batch(0, [0, 1]), stage_batch(0, [2, 3], digest="e")
        second = replace(second, token=replace(second.token, dataset="others"))
        destination = open_destination()
        destination.prepare(SCHEMA)
        for staged in (first, second):
            assert destination.lookup([staged.token]) == [TokenState.ABSENT]
            assert destination.publish(staged) is PublishEnd.COMMITTED
        assert destination.lookup([first.token]) == [TokenState.SAME]
        assert destination.lookup([second.token]) == [TokenState.SAME]
        assert self.read_rows(folder) == rows_of(0, 1, 2, 3)

    def test_a_rehearsal_leaves_nothing(
        self, open_destination: Callable[[], Destination], folder: Path
    ) -> None:
        staged = stage_batch(0, [0, 1])
        destination = open_destination()
        destination.prepare(SCHEMA)
        destination.rehearse(staged)
        assert self.read_rows(folder) == []
        assert destination.lookup([staged.token]) == [TokenState.ABSENT]
        assert destination.publish(staged) is PublishEnd.COMMITTED

    def test_retried_items_are_added_to_their_batch(
        self, open_destination: Callable[[], Destination], folder: Path
    ) -> None:
        destination = open_destination()
        destination.prepare(SCHEMA)
        first = stage_batch(0, [0, 1, 2, 3], failed=[1, 3])
        destination.publish(first)
        assert self.read_rows(folder) == rows_of(0, 2)
        again = stage_batch(0, [0, 1, 2, 3], failed=[3])
        assert destination.lookup([again.token]) == [TokenState.OTHER]
        if closed := destination.list_closed([first.token]):
            assert closed == [first.token]
            pytest.skip("it can't take the rows of retried items, and says so")
        assert destination.list_closed([again.token]) == []
        assert destination.publish(again) is PublishEnd.COMMITTED
        assert destination.publish(again) is PublishEnd.LOST_RACE
        assert destination.lookup([again.token]) == [TokenState.SAME]
        assert self.read_rows(folder) == rows_of(0, 1, 2)
        last = stage_batch(0, [0, 1, 2, 3])
        assert destination.publish(last) is PublishEnd.COMMITTED
        assert destination.lookup([last.token]) == [TokenState.SAME]
        assert self.read_rows(folder) == rows_of(0, 1, 2, 3)

    def test_retried_items_that_have_no_rows_or_are_all_of_a_batch(
        self, open_destination: Callable[[], Destination], folder: Path
    ) -> None:
        destination = open_destination()
        destination.prepare(SCHEMA)
        first = stage_batch(0, [0, 1], failed=[0, 1])
        destination.publish(first)
        if destination.list_closed([first.token]):
            pytest.skip("it can't take the rows of retried items, and says so")
        again = stage_batch(0, [0, 1], failed=[1])
        assert destination.publish(again) is PublishEnd.COMMITTED
        filtered = replace(again, token=replace(again.token, digest="filtered"), outcomes="1c1f")
        assert destination.publish(filtered) is PublishEnd.COMMITTED
        assert destination.lookup([filtered.token]) == [TokenState.SAME]
        assert self.read_rows(folder) == rows_of(0)
        with pytest.raises(InconsistentError, match="other content"):
            destination.publish(stage_batch(0, [0, 1], failed=[0]))
        assert self.read_rows(folder) == rows_of(0)

    def test_rows_that_cannot_be_read_leave_nothing(
        self, open_destination: Callable[[], Destination], folder: Path
    ) -> None:
        def fail() -> Iterator[pa.RecordBatch]:
            yield from stage_batch(0, [0]).read()
            raise InconsistentError("the part is damaged")

        def fail_to_load() -> bytes:
            raise InconsistentError("the part is damaged")

        whole = stage_batch(0, [0, 1])
        destination = open_destination()
        destination.prepare(SCHEMA)
        with pytest.raises(InconsistentError, match="damaged"):
            destination.publish(replace(whole, read=fail, load=fail_to_load))
        assert self.read_rows(folder) == []
        assert destination.lookup([whole.token]) == [TokenState.ABSENT]
        assert destination.publish(whole) is PublishEnd.COMMITTED
        assert self.read_rows(folder) == rows_of(0, 1)

    def test_a_place_without_a_column_is_refused(
        self, open_destination: Callable[[], Destination], folder: Path
    ) -> None:
        self.make_without_name(folder)
        destination = open_destination()
        with pytest.raises(RefusedError, match="name"):
            destination.prepare(SCHEMA)

    def test_a_place_that_is_gone_is_told(
        self, open_destination: Callable[[], Destination], folder: Path
    ) -> None:
        """As an error, or as tokens that are gone with it: then the run tells."""
        staged = stage_batch(0, [0, 1])
        destination = open_destination()
        destination.prepare(SCHEMA)
        destination.publish(staged)
        destination.close()
        self.drop(folder)
        again = open_destination()
        told: object
        try:
            told = again.lookup([staged.token])
        except InconsistentError as error:
            told = error.what
        assert told == [TokenState.ABSENT] or "is gone" in str(told)

    @pytest.mark.parametrize("is_retried", [False, True])
    def test_two_processes_publish_the_same_batches(
        self, open_destination: Callable[[], Destination], folder: Path, is_retried: bool
    ) -> None:
        destination = open_destination()
        destination.prepare(SCHEMA)
        if is_retried:
            for batch in range(6):
                staged = stage_batch(batch, pair(batch), failed=[2 * batch + batch % 2])
                destination.publish(staged)
                if destination.list_closed([staged.token]):
                    pytest.skip("it can't take the rows of retried items, and says so")
        destination.close()
        context = multiprocessing.get_context("fork")
        gate = context.Barrier(2)
        ends = context.Queue()

        def publish() -> None:
            mine = open_destination()
            gate.wait()
            ends.put([publish_or_give_way(mine, batch) for batch in range(6)])
            mine.close()

        processes = [context.Process(target=publish) for _ in range(2)]
        for process in processes:
            process.start()
        outcomes = [ends.get(timeout=60) for _ in processes]
        for process in processes:
            process.join()
        committed = [batch.count(PublishEnd.COMMITTED) for batch in zip(*outcomes, strict=True)]
        assert max(committed) <= 1
        again = open_destination()
        for batch in range(6):
            again.publish(stage_batch(batch, pair(batch)))
        again.close()
        assert self.read_rows(folder) == rows_of(*range(12))

    def test_killed_at_any_line_it_has_a_batch_once(
        self, sink: Sink, open_destination: Callable[[], Destination], folder: Path
    ) -> None:
        """A batch for each kill: published by a process that dies, then by another."""
        destination = open_destination()
        destination.prepare(SCHEMA)
        destination.close()
        files = self.list_code(sink)
        published: list[Staged] = []

        def die(number: int) -> bool:
            batch = len(published)
            staged = stage_batch(batch, pair(batch))
            published.append(staged)

            def publish() -> None:
                mine = open_sink(sink, folder)
                mine.publish(staged)
                mine.close()

            return kill_at_line(publish, files, number)

        most = 1
        while die(most):
            most *= 2
        tried = sorted({1 + number * most // self.kills_max for number in range(self.kills_max)})
        for number in tried:
            die(number)
        again = open_destination()
        for staged in published:
            (found,) = again.lookup([staged.token])
            end = again.publish(staged)
            assert (found, end) in [
                (TokenState.ABSENT, PublishEnd.COMMITTED),
                (TokenState.SAME, PublishEnd.LOST_RACE),
            ]
        again.close()
        assert self.read_rows(folder) == rows_of(*range(2 * len(published)))

    def test_a_library_that_is_missing_is_told_with_what_installs_it(
        self, sink: Sink, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for name in self.libraries:
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        if not self.libraries:
            sink.check()
            return
        with pytest.raises(UsageError) as caught:
            sink.check()
        assert "pip install" in caught.value.next

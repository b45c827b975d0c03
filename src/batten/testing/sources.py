"""What every source promises: the same scan each time, and any part of the plan read anywhere."""

from __future__ import annotations

import multiprocessing
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batten.sources.base import SCAN_BLOCK_ITEMS, Source
from batten.testing.planning import plan_source, read_range, read_source, show_items

MakeSource = Callable[[], Source]
RANGES = 25


class SourceContract:
    """Subclass it in a test module, as `class TestMine(SourceContract)`, with the two methods.

    There should be some hundred items at least. Ranges of them are drawn with `seed`."""

    seed: int = 1

    def make_source(self, folder: Path) -> Source:
        """Make the source that is tried; it is made anew each time.

        Args:
            folder: The folder of the job; it may be relative. What the source reads is made there
                the first time.

        Returns:
            The source.

        Raises:
            NotImplementedError: The test class does not give this method.
        """
        raise NotImplementedError

    def expected_items(self, folder: Path) -> list[Any]:
        """Tell which items the source has.

        Args:
            folder: The folder of `make_source`.

        Returns:
            The items, in order.

        Raises:
            NotImplementedError: The test class does not give this method.
        """
        raise NotImplementedError

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        made = tmp_path / "job"
        made.mkdir()
        return made

    @pytest.fixture
    def make(self, folder: Path) -> MakeSource:
        return lambda: self.make_source(folder)

    def test_all_items_are_there_in_order(self, make: MakeSource, folder: Path) -> None:
        assert read_source(make()) == self.expected_items(folder)

    def test_a_second_scan_is_like_the_first(self, make: MakeSource) -> None:
        source = make()
        assert plan_source(source) == plan_source(source) == plan_source(make())

    def test_keys_are_there_when_it_is_keyed(self, make: MakeSource) -> None:
        source = make()
        plan = plan_source(source)
        assert source.is_keyed == (plan.keys is not None)
        assert len(set(plan.keys or [])) == len(plan.keys or [])

    def test_a_count_known_beforehand_is_that_of_the_scan(self, make: MakeSource) -> None:
        source = make()
        plan = plan_source(source)
        known = source.count_items()
        assert known in (None, plan.count)
        if known is not None:
            assert (plan.keys, plan.positions, plan.payloads) == (None, None, None)

    def test_blocks_are_bounded(self, make: MakeSource) -> None:
        plan = plan_source(make())
        assert max(plan.block_counts) <= SCAN_BLOCK_ITEMS
        assert len(plan.block_counts) <= 3 + 2 * plan.count // SCAN_BLOCK_ITEMS

    def test_any_range_reads_like_the_whole(self, make: MakeSource) -> None:
        source = make()
        plan = plan_source(source)
        whole = read_range(source.open(), plan)
        reader = source.open()
        drawn = random.Random(self.seed)
        for _ in range(RANGES):
            start = drawn.randrange(plan.count)
            stop = min(plan.count, start + drawn.choice([1, 2, 50, 900]))
            assert read_range(reader, plan, start, stop) == whole[start:stop]

    def test_a_read_may_be_given_up(self, make: MakeSource) -> None:
        source = make()
        plan = plan_source(source)
        reader = source.open()
        first = next(iter(reader.read(plan.wanted(10, 20))))
        assert read_range(reader, plan, 10, 11) == show_items([first])
        assert read_range(reader, plan, 11, 13) == read_source(source)[11:13]

    def test_a_forked_worker_elsewhere_reads_the_same(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.make_source(folder)
        monkeypatch.chdir(folder)
        source = self.make_source(Path())
        plan = plan_source(source)
        expected = read_range(source.open(), plan, 100, 250)
        receiver, sender = multiprocessing.Pipe(duplex=False)

        def work() -> None:
            os.chdir(tmp_path)
            sender.send(read_range(source.open(), plan, 100, 250))

        worker = multiprocessing.get_context("fork").Process(target=work)
        worker.start()
        sender.close()
        assert receiver.recv() == expected
        receiver.close()
        worker.join()

    def test_the_folder_is_not_part_of_the_identity(self, make: MakeSource, folder: Path) -> None:
        identity = make().identity
        assert str(folder) not in str(identity)
        assert all(isinstance(value, str) for value in identity.values())
        assert set(identity) >= {"source"}

"""Which items of a batch are done again, and which stay, as ranges."""

from __future__ import annotations

import pytest

from batten.model.rules.coverage import split_items


@pytest.mark.parametrize(
    ("wanted", "ranges", "others"),
    [
        ([], [], [(0, 6)]),
        ([0, 1, 2, 3, 4, 5], [(0, 6)], []),
        ([0], [(0, 1)], [(1, 6)]),
        ([5, 4], [(4, 6)], [(0, 4)]),
        ([1, 3, 4], [(1, 2), (3, 5)], [(0, 1), (2, 3), (5, 6)]),
    ],
)
def test_items_are_split_into_ranges(
    wanted: list[int], ranges: list[tuple[int, int]], others: list[tuple[int, int]]
) -> None:
    assert split_items(wanted, 6) == (ranges, others)

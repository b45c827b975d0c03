"""A name is batten's if batten writes it so, and no other text for the same number is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from batten.model.cached.cache_names import find_generation, is_counts
from batten.model.disk.landed import find_landed, find_offset, find_partition
from batten.model.disk.names import find_made, find_number, find_part
from batten.model.disk.staged_names import find_staged

DIGEST = "0123456789abcdef" * 2

NAMES: list[tuple[Callable[[str], object], str]] = [
    (find_part, "part-{}.parquet"),
    (partial(find_number, suffix="json"), "{}.json"),
    (find_made, "{}-" + DIGEST),
    (find_staged, "{}-sealed-" + DIGEST + ".parquet"),
    (find_staged, "{}-quarantine-" + DIGEST + ".parquet"),
    (find_staged, "{}-000000-000001-" + DIGEST + ".arrow"),
    (find_staged, "000000-{}-999999-" + DIGEST + ".arrow"),
]


@pytest.mark.parametrize("number", ["000000", "000042", "999999", "1000000", "123456789012345678"])
@pytest.mark.parametrize(("find", "form"), NAMES)
def test_numbers_as_they_are_written(find: Callable[[str], object], form: str, number: str) -> None:
    assert find(form.format(number)) is not None


@pytest.mark.parametrize(
    "number",
    ["", "0", "00000", "0000000", "0000042", "9" * 19, "\u0660" * 6, "+00042", "00004\u0662"],
)
@pytest.mark.parametrize(("find", "form"), NAMES)
def test_other_texts_for_numbers(find: Callable[[str], object], form: str, number: str) -> None:
    assert find(form.format(number)) is None


@pytest.mark.parametrize(
    ("find", "written", "others"),
    [
        (find_partition, "partition-00001", ["partition-000001", "partition-0000\u0661"]),
        (find_partition, "partition-123456789", ["partition-1", "partition-1234567890"]),
        (find_landed, f"{0:018}-{7:018}.jsonl", [f"{0:018}-" + "\u0667" * 18 + ".jsonl"]),
        (find_generation, "batten-cache-1", ["batten-cache-01", "batten-cache-\u0661"]),
        (partial(find_offset, prefix=""), "7", ["07", "\u0667", "-7", "7" * 19]),
        (partial(find_offset, prefix="0-"), "0-7", ["7", "0-07", "1-7", "0-"]),
    ],
)
def test_other_texts_for_what_is_written(
    find: Callable[[str], object], written: str, others: list[str]
) -> None:
    assert find(written) is not None
    assert [find(other) for other in others] == [None] * len(others)


def test_counts_of_a_process() -> None:
    assert is_counts("counts.host-12-ab")
    assert not is_counts("counts.host-\u0661\u0662-ab")

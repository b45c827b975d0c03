"""Cuts what a scan finds into blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from batten.sources.base import SCAN_BLOCK_ITEMS, ItemsWanted, ScanBlock

Entry = TypeVar("Entry")


def cut_blocks(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """The entries in lists of the size of a block; holds one at a time."""
    iterator = iter(entries)
    while block := list(islice(iterator, SCAN_BLOCK_ITEMS)):
        yield block


def ordinal_blocks(count: int) -> Iterator[ScanBlock]:
    """The blocks of a source of `count` items that its ordinals tell all about."""
    for start in range(0, count, SCAN_BLOCK_ITEMS):
        yield ScanBlock(count=min(SCAN_BLOCK_ITEMS, count - start))


def wanted_ordinals(wanted: ItemsWanted) -> range:
    return range(wanted.first_ordinal, wanted.first_ordinal + wanted.count)

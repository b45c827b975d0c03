"""The integers from 0, for functions that need no input but a number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from batten.errors import UsageError
from batten.sources.base import ItemsWanted, ScanBlock
from batten.sources.blocks import ordinal_blocks, wanted_ordinals


class RangeSource:
    """The integers 0 to n - 1. A greater n at the next run adds items."""

    is_keyed = False
    is_counted = True
    drops_gone = False
    has_kinds = False
    inputs = ()

    def __init__(self, n: int) -> None:
        if not _is_count(n):
            raise UsageError(
                f"from_range({n!r}): the number of items must be an integer of 0 or more.",
                safe="Nothing was changed.",
                next="Correct the number.",
            )
        self._n = n

    @property
    def identity(self) -> dict[str, str]:
        return {"source": "range"}

    def count_items(self) -> int:
        return self._n

    def scan(self) -> Iterator[ScanBlock]:
        return ordinal_blocks(self._n)

    def open(self) -> RangeReader:
        return RangeReader()


class RangeReader:
    """Gives ordinals."""

    def read(self, wanted: ItemsWanted) -> Iterable[int]:
        return wanted_ordinals(wanted)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0

"""How many of a job's rows are in the files of a Delta table still, by what its log says.

The log says what others did to these files (decision 0076).

A group of files has between `low` and `high` rows of the job's. A file that the job added has its
own rows, and one of others has none. Compacting moves rows from files to files; deleting and
updating copy what they keep; overwriting keeps nothing. Of anything else only bounds are known.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from enum import Enum

MANY = 1 << 62
"""More rows than can be: where a log does not say how many a file has."""


class Change(Enum):
    """What became of the rows of removed files."""

    MOVED = "moved"
    COPIED = "copied"
    DROPPED = "dropped"
    UNKNOWN = "unknown"


@dataclass
class _Group:
    """`files` with their rows."""

    files: dict[str, int]
    low: int
    high: int

    def take(self, names: Set[str]) -> tuple[int, int]:
        """Remove the files, and say between which numbers of the job's rows were in them."""
        rows = sum(self.files.pop(name) for name in names)
        left = min(MANY, sum(self.files.values()))
        if not self.files:
            return self.low, self.high
        taken = max(0, self.low - left), min(self.high, rows)
        self.low, self.high = max(0, self.low - rows), min(self.high, left)
        return taken


@dataclass
class Lineage:
    """`doubt` says what was the first change of which only bounds are known."""

    doubt: str = ""
    _groups: dict[str, _Group] = field(default_factory=dict)
    _was: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def low(self) -> int:
        return sum(each.low for each in self._list_groups())

    @property
    def high(self) -> int:
        return min(MANY, sum(each.high for each in self._list_groups()))

    def begin(self, name: str, rows: int, low: int, high: int) -> None:
        """A file is there, with so many of the job's rows in it."""
        self._put({name: rows}, low, high)

    def commit(
        self,
        added: Mapping[str, int],
        removed: Set[str],
        change: Change,
        *,
        is_own: bool,
        what: str,
        own_rows: int | None = None,
    ) -> None:
        """An entry of the log, named by `what`. `added` are files with their rows; `is_own`: by the
        job. `own_rows`: the job replaced all its rows by so many. A file that was there before is
        as it was then."""
        had = sum(self._rows_of(name) for name in removed)
        low, high = self._take(removed)
        new = {}
        for name, rows in added.items():
            if name in self._groups:
                continue
            if name in self._was:
                self._put({name: rows}, *self._was[name])
            else:
                new[name] = rows
        if not removed:
            for name, rows in new.items():
                self._put({name: rows}, *((rows % MANY, rows) if is_own else (0, 0)))
            return
        has = min(MANY, sum(new.values()))
        match change:
            case Change.DROPPED:
                low, high = 0, 0
            case Change.COPIED if had < MANY and has < MANY:
                low, high = max(0, low - max(0, had - has)), min(high, has)
            case Change.MOVED:
                high = min(high, has)
            case _:
                low, high = 0, min(high, has)
        if own_rows is not None:
            low = high = own_rows
        if low != high:
            self.doubt = self.doubt or what
        self._put(new, low, high)

    def _put(self, files: dict[str, int], low: int, high: int) -> None:
        group = _Group(files=dict(files), low=low, high=high)
        alone = len(files) == 1
        for name, rows in files.items():
            self._groups[name] = group
            self._was[name] = (low if alone else 0, high if alone else min(high, rows))

    def _take(self, names: Set[str]) -> tuple[int, int]:
        by_group: dict[int, tuple[_Group, set[str]]] = {}
        for name in names:
            if (group := self._groups.pop(name, None)) is not None:
                by_group.setdefault(id(group), (group, set()))[1].add(name)
        taken = [group.take(each) for group, each in by_group.values()]
        return sum(low for low, _ in taken), min(MANY, sum(high for _, high in taken))

    def _rows_of(self, name: str) -> int:
        group = self._groups.get(name)
        return group.files[name] if group is not None else 0

    def _list_groups(self) -> list[_Group]:
        return list({id(each): each for each in self._groups.values()}.values())

"""Compares what a hand-made job says is done with the rows that are there, key by key.

Counts are reported but decide nothing: equal counts can hide keys that differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import Enum

from batten.model.value_class import value_class


@value_class
class DoneKeys:
    """The keys of the done file, line by line. `torn_key` is the last key, if no newline ends it:
    it may be cut short."""

    keys: Sequence[str]
    torn_key: str | None = None


@value_class
class MalformedLine:
    """A line of a file that holds no row with a key; `number` counts from 1."""

    file: str
    number: int
    why: str


@value_class
class StagedKeys:
    """The staging file: the keys of its whole lines, and what of it is not whole."""

    keys: Sequence[str]
    torn_lines: int = 0
    malformed: tuple[MalformedLine, ...] = ()


class MissingPlace(Enum):
    """Where in the done file the missing keys stand; it tells how the rows were lost."""

    NOWHERE = "nowhere"
    EVERYWHERE = "everywhere"
    HEAD = "head"
    TAIL = "tail"
    SCATTERED = "scattered"


@value_class
class Audit:
    """What the comparison found.

    `done` and `rows` count lines and rows, `done_keys` and `row_keys` distinct keys. Each list
    names a key once: `missing` and `done_duplicates` in the order of the done file, `extra` and
    `duplicates` in that of the rows. `recoverable` are the missing keys that are whole in
    the staging file, `staged_only` those that are nowhere else. `examples` are the first key of
    the done file and of the rows. `broken` are lines of the rows that hold none.
    """

    done: int
    done_keys: int
    rows: int
    row_keys: int
    missing: tuple[str, ...]
    missing_place: MissingPlace
    extra: tuple[str, ...]
    duplicates: tuple[str, ...]
    done_duplicates: tuple[str, ...]
    null_keys: int
    torn_key: str | None
    staged: StagedKeys | None
    recoverable: tuple[str, ...]
    staged_only: tuple[str, ...]
    examples: tuple[str, str] | None
    broken: tuple[MalformedLine, ...] = ()

    @property
    def is_consistent(self) -> bool:
        """Every key that is done has exactly one row, every row is of a key that is done, and
        nothing else lies among the rows."""
        faults = (self.missing, self.extra, self.duplicates, self.null_keys, self.broken)
        return not any(faults)

    @property
    def unrecoverable(self) -> tuple[str, ...]:
        """The missing keys whose rows must be made again."""
        found = set(self.recoverable)
        return tuple(key for key in self.missing if key not in found)

    @property
    def is_hidden_by_counts(self) -> bool:
        """The numbers agree though the keys do not."""
        return self.done == self.rows and not self.is_consistent


def compare_keys(
    done: DoneKeys, rows: Iterable[str | None], staged: StagedKeys | None = None
) -> Audit:
    """Compare the keys that are done with those of the rows, None being a row without a key."""
    done_counts = Counter(done.keys)
    row_counts = Counter(rows)
    null_keys = row_counts.pop(None, 0)
    named: dict[str, int] = {key: count for key, count in row_counts.items() if key is not None}
    missing = tuple(key for key in done_counts if key not in named)
    staged_counts = Counter(staged.keys if staged else ())
    return Audit(
        done=len(done.keys),
        done_keys=len(done_counts),
        rows=sum(named.values()) + null_keys,
        row_keys=len(named),
        missing=missing,
        missing_place=_find_place(missing, tuple(done_counts)),
        extra=tuple(key for key in named if key not in done_counts),
        duplicates=tuple(key for key, count in named.items() if count > 1),
        done_duplicates=tuple(key for key, count in done_counts.items() if count > 1),
        null_keys=null_keys,
        torn_key=done.torn_key,
        staged=staged,
        recoverable=tuple(key for key in missing if key in staged_counts),
        staged_only=tuple(
            key for key in staged_counts if key not in done_counts and key not in named
        ),
        examples=(next(iter(done_counts)), next(iter(named))) if done_counts and named else None,
    )


def _find_place(missing: tuple[str, ...], keys: tuple[str, ...]) -> MissingPlace:
    if not missing:
        return MissingPlace.NOWHERE
    if len(missing) == len(keys):
        return MissingPlace.EVERYWHERE
    if keys[: len(missing)] == missing:
        return MissingPlace.HEAD
    if keys[-len(missing) :] == missing:
        return MissingPlace.TAIL
    return MissingPlace.SCATTERED

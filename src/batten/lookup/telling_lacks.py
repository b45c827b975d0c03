"""What the looks at destinations have in common: what they tell, and when they can't look."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from batten.model.disk.destinations.delivery import Delivery
from batten.model.rules.findings import Code
from batten.model.telling.counts import count_of
from batten.model.telling.sizes import tell_other_size

BATCHES_SHOWN = 5

Found = Iterator[tuple[Code, str] | tuple[Code, str, str]]
"""What is wrong and the evidence; and the name below the destination, if it is about that alone."""


class CannotLookError(Exception):
    """Why a destination can't be looked at. That is no fault of it, and no proof of it either."""


def find_mode(path: str) -> int:
    """What lies there, as of `stat`; 0 for nothing. Raises `OSError` if it can't be looked up:
    `os.path` would say that there is nothing."""
    try:
        return os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def tell_gone(given: Delivery, evidence: str) -> tuple[Code, str]:
    """The table is gone, and its tokens with it."""
    return Code.LOST_WHOLE_TABLE if given.is_whole_table else Code.LOST_TABLE, evidence


def as_counted(given: Delivery, *, is_closed: bool) -> Delivery:
    """What may be counted on. Rows that went, because items did, may be gone from a table before
    that is recorded. So where rows can go, none are counted until accounts are closed."""
    if is_closed:
        return given
    adds_rows = given.adds_rows and not given.is_whole_table
    return replace(given, adds_rows=adds_rows, has_own_keys=False)


def tell_batches(held: Collection[int], given: Delivery) -> tuple[Code, str] | None:
    """The batches that it was given and has no token of, by number. None if it has all tokens."""
    lacking = [batch for batch in range(given.batches) if batch not in held]
    if not lacking or not given.has_tokens:
        return None
    shown = ", ".join(map(str, lacking[:BATCHES_SHOWN]))
    more = ", …" if len(lacking) > BATCHES_SHOWN else ""
    count = count_of(len(lacking), "batch", "batches")
    # Where no token tells whose the rows are, not all of them make way.
    is_known = bool(held or given.marks) or not given.adds_rows
    is_made_again = given.is_whole_table and is_known
    code = Code.LOST_WHOLE_TABLE if is_made_again else Code.LACKING_ROWS
    return code, f"it has no token of {count} that it was given: {shown}{more}"


def tell_rows(found: int, given: Delivery) -> tuple[Code, str]:
    """The destination has so many rows, which are fewer than it was given."""
    was = count_of(given.rows, "row")
    return Code.LACKING_ROWS, f"it has {count_of(found, 'row')}, and was given {was}"


def tell_lost(files: Iterable[tuple[str, str, int | None]]) -> str:
    """Which of the files, by name, path and size, are gone or of another size; empty for none."""
    gone, changed = [], []
    for name, path, size in files:
        try:
            found = os.stat(path)
        except FileNotFoundError:
            gone.append(name)
        else:
            if not stat.S_ISREG(found.st_mode):
                changed.append(f"{name} is no file")
            elif size is not None and found.st_size != size:
                changed.append(f"{name} {tell_other_size(found.st_size, size)}")
    if gone:
        return f"{count_of(len(gone), 'file')} of it is gone, {gone[0]} first"
    return changed[0] if changed else ""

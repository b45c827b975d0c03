"""Which names in a folder of files are taken, and why a file can't have a name."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from batten.errors import StorageError
from batten.model.disk.items.item_files import PlacedFiles

_OF_NAMES = frozenset(
    {
        *(errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ENOTDIR, errno.ELOOP),
        *(errno.EISDIR, errno.EEXIST),
    }
)
"""What a filesystem answers where a name is at fault, or what lies in its way."""


class UnplaceableError(Exception):
    """Why a file can't have its place; what became of the item says it."""


@contextmanager
def tell_unplaceable(name: str) -> Iterator[None]:
    """Whatever the filesystem has against the name is the item's failure."""
    try:
        yield
    except StorageError as error:
        if error.errno not in _OF_NAMES:
            raise
        why = error.what.rpartition(" failed: ")[2].removesuffix(".")
        raise UnplaceableError(f"no file can be called {name!r} here: {why}") from error


class OwnedNames:
    """The names that the records of a ledger give to batches. They are read when they are needed
    first: only where a file has the name that another one is to get."""

    def __init__(self, list_records: Callable[[], Iterable[PlacedFiles]]) -> None:
        self._list_records = list_records
        self._current: set[int] = set()
        self._owners: dict[str, list[tuple[str, int]]] | None = None
        self._marks: dict[str, set[str]] = {}

    def note(self, batch: int, *, is_current: bool) -> None:
        """Whether the record of the batch is of its part as it is now."""
        (self._current.add if is_current else self._current.discard)(batch)

    def forget(self) -> None:
        """Records are others now."""
        self._owners = None
        self._marks = {}

    def take(self, before: PlacedFiles | None, now: PlacedFiles) -> None:
        """The record of a batch is another one now."""
        if self._owners is None:
            return
        for name in () if before is None else before.files:
            own = self._owners.get(name.casefold(), [])
            own[:] = [each for each in own if each != (name, before and before.batch)]
        self._add(self._owners, now)

    def refuse_taken(self, batch: int, name: str) -> set[str]:
        """The marks that other batches gave to the name, which are not as they were. Raises
        `UnplaceableError` if an item of another batch has it."""
        for other, owner in self._find_owners().get(name.casefold(), ()):
            if owner == batch:
                continue
            if other != name:
                raise UnplaceableError(
                    f"another item has a file {other!r}, and the filesystem does not tell the two "
                    "names apart"
                )
            if owner in self._current:
                raise UnplaceableError(f"another item has a file that is called {name!r}")
        return self._marks.get(name, set())

    def list_current(self, batches: int) -> set[str]:
        """The names that files of the first so many batches have."""
        owners = self._find_owners().values()
        return {name for each in owners for name, batch in each if batch < batches}

    def _find_owners(self) -> dict[str, list[tuple[str, int]]]:
        if self._owners is None:
            self._owners = {}
            for record in self._list_records():
                self._add(self._owners, record)
        return self._owners

    def _add(self, owners: dict[str, list[tuple[str, int]]], record: PlacedFiles) -> None:
        for name in record.files:
            owners.setdefault(name.casefold(), []).append((name, record.batch))
        for name in {*record.files, *record.leaving}:
            self._marks.setdefault(name, set()).update(record.marks_of(name))

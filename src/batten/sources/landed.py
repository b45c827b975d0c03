"""Items that were landed: what a stream gave, in files that never change."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Any, BinaryIO

from batten.errors import RefusedError
from batten.model.disk.landed import (
    LINE_BYTES_MAX,
    LandedCheck,
    LandedFile,
    LandedUse,
    decode_deleted,
    decode_item,
    find_landed,
    keep_deleted,
    read_offset,
)
from batten.sources.base import SCAN_BLOCK_ITEMS, ItemsWanted, ScanBlock, Unavailable
from batten.sources.identity.keys import SourceChanged
from batten.sources.landed_uses import is_noted, is_read_by, note_use
from batten.sources.paths import require_folder, source_error, translated_errors
from batten.storage.addresses import local_path
from batten.storage.beneath import Beneath
from batten.storage.reading import close_with


class LandedSource:
    """The items of a folder that `batten.land` fills, in the order of their offsets, which are
    their keys. What is landed later is found by the next run."""

    is_keyed = True
    is_counted = False
    drops_gone = False
    has_kinds = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        folder: Path,
        use: LandedUse | None = None,
        is_begun: bool = False,
    ) -> None:
        self._written = local_path(path)
        self._path = Path(folder, self._written).absolute()
        self._use, self._is_begun = use, is_begun

    @property
    def identity(self) -> dict[str, str]:
        return {"source": f"landed {self._written}"}

    @property
    def inputs(self) -> tuple[Path, ...]:
        return (self._path,)

    def count_items(self) -> int | None:
        return None

    def with_reader(self, output: str, dataset: str, *, is_begun: bool) -> LandedSource:
        """The same, which notes before it is read that this output is made of it."""
        made = copy(self)
        made._use = LandedUse(output=output, prefix="", dataset=dataset)
        made._is_begun = is_begun
        return made

    def is_read_by(self, output: str, dataset: str) -> bool:
        """Whether it was noted that this dataset is made of it, wherever either lies now."""
        return is_read_by(self._path, LandedUse(output=output, prefix="", dataset=dataset))

    def scan(self) -> Iterator[ScanBlock]:
        require_folder(self._path)
        if self._use is not None:
            self._note(self._use)
        for file in list_landed(self._path):
            # Nothing of a file is planned before its digest was seen.
            try:
                offsets, places = read_whole(self._path, file)
            except ValueError as error:
                raise source_error(
                    f"{self._path / file.name} cannot be understood: {error}.",
                    "Restore it from a copy: batten never changes what was landed.",
                ) from error
            keys = list(map(str, offsets))
            for start in range(0, len(keys), SCAN_BLOCK_ITEMS):
                some = slice(start, start + SCAN_BLOCK_ITEMS)
                block = keys[some]
                yield ScanBlock(count=len(block), keys=block, positions=places[some])

    def open(self) -> LandedReader:
        return LandedReader(self._path)

    def _note(self, use: LandedUse) -> None:
        """First it is noted, and then looked: who deletes looks for notes after it has told of the
        deletion (decision 0144). An output that has begun and is not noted was moved, or its note
        was lost: what it still needs of what was deleted is refused when it comes to that."""
        is_new = not is_noted(self._path, use) and not self._is_begun
        deleted = [file for file in list_landed(self._path) if file.is_deleted] if is_new else []
        if not deleted:
            note_use(self._path, use)
            deleted = (
                [file for file in list_landed(self._path) if file.is_deleted] if is_new else []
            )
        if deleted:
            raise refuse_deleted(self._path, deleted[0])


class LandedReader:
    """Gives items by offset; keeps the file open that it read last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files = list_landed(path)
        self._file: LandedFile | None = None
        self._open: BinaryIO | None = None

    def read(self, wanted: ItemsWanted) -> Iterator[Any | Unavailable]:
        with translated_errors(self._path):
            for key, place in zip(wanted.keys or (), wanted.positions or (), strict=True):
                try:
                    yield self._read(int(key), place)
                except (LookupError, ValueError) as error:
                    yield Unavailable(error)

    def _read(self, offset: int, place: int) -> Any:
        lines = self._seek(offset)
        lines.seek(place)
        line = read_line(lines)
        if not line or read_offset(line) != offset:
            raise SourceChanged(f"the item of offset {offset} is not where it was landed")
        return decode_item(line)

    def _seek(self, offset: int) -> BinaryIO:
        if self._file is None or not self._file.first <= offset <= self._file.last:
            place = bisect_right(self._files, offset, key=lambda file: file.first) - 1
            if place < 0 or self._files[place].last < offset:
                raise SourceChanged(f"no landed file holds offset {offset}")
            if self._open is not None:
                self._open.close()
            if self._files[place].is_deleted:
                raise refuse_deleted(self._path, self._files[place])
            self._file = self._files[place]
            self._open = open_landed(self._path, self._file)
            close_with(self, self._open)
        if self._open is None:
            raise LookupError(f"no file is open for offset {offset}")
        return self._open


def refuse_deleted(path: Path, file: LandedFile) -> RefusedError:
    """What was deleted is to be read again."""
    return RefusedError(
        f"The landed items {file.first} to {file.last} of {path} were deleted, when all that had "
        "been made of them was complete.",
        safe="Nothing was changed there; what was made of them stays.",
        next="Have it made of what is landed elsewhere; or go on with the output that was made.",
    )


def read_whole(path: Path, file: LandedFile) -> tuple[list[int], list[int]]:
    """The offsets of its items, and the places of their lines. Raises `ValueError` where it is not
    as it was landed."""
    if file.is_deleted:
        with translated_errors(path), open_landed(path, file) as record:
            return decode_deleted(record.read(LINE_BYTES_MAX), file)
    places: list[int] = []
    place, check = 0, LandedCheck(file)
    with translated_errors(path), open_landed(path, file) as lines:
        while line := read_line(lines):
            if check.take(line) is not None:
                places.append(place)
            place += len(line)
    return check.end(), places


def open_landed(path: Path, file: LandedFile) -> BinaryIO:
    """Raises `OSError` for a link, a pipe, a device: `land` makes none."""
    return os.fdopen(Beneath(str(path)).open_file(file.name), "rb")


def read_line(lines: BinaryIO) -> bytes:
    """The next, empty at the end. What is longer than `land` writes is read no further, and is no
    line of a landed item."""
    return lines.readline(LINE_BYTES_MAX + 1)


def list_landed(path: Path) -> list[LandedFile]:
    """The landed files of the folder, in order, also those that were deleted."""
    with translated_errors(path):
        found = [find_landed(name) for name in os.listdir(path)]
    return keep_deleted(file for file in found if file is not None)

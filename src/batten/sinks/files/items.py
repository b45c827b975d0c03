"""A folder of the files of items: each whole or absent, and all of them in the accounts.

The rows of the ledger say which files there are, with size and digest. The files themselves lie in
`made/`, synced, until they get their places: a link, which replaces nothing. What has a place is
recorded before it gets it (`files/`). So whatever else lies in the folder is somebody's, and is
never replaced; a file of batten's makes way only while it has a digest that batten gave it
(decision 0095).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from batten.errors import CorruptError, RefusedError, StorageError
from batten.model.disk.bounds import RECORD_BYTES_MAX
from batten.model.disk.destinations.tokens import PublishEnd, Token, TokenState
from batten.model.disk.items.item_files import (
    DIGEST_COLUMN,
    FILE_COLUMN,
    SIZE_COLUMN,
    ItemFile,
    PlacedFiles,
    digest_of,
    name_made,
    size_of,
)
from batten.model.disk.items.item_names import NamePattern, fill_around
from batten.model.disk.names import find_number
from batten.model.disk.records import Unreadable, decode_record, encode_record
from batten.model.value_class import value_class
from batten.model.words import FILES, Takes
from batten.sinks.base import AtPath, LedgerPlace, RejectedError, Staged
from batten.sinks.files.places import OwnedNames, UnplaceableError, tell_unplaceable
from batten.sinks.rows.rejecting import list_spans
from batten.storage.base import describe_kind
from batten.storage.changing.publishing import fresh_name
from batten.storage.changing.publishing import replace as replace_file
from batten.storage.digests import find_digest
from batten.storage.relative import folder_of, last_piece

if TYPE_CHECKING:
    import pyarrow as pa


@value_class
class FilesSink(AtPath):
    """The folder at `path`, in which files of items are called as the pattern says."""

    path: Path
    names: NamePattern
    kind: ClassVar[str] = FILES
    takes: ClassVar[Takes] = Takes.FILES
    dataset: ClassVar[str] = ""

    def fill(self, fill: Callable[[str], str]) -> FilesSink:
        names = NamePattern(text=fill_around(self.names.text, fill))
        return replace(self, path=Path(fill(str(self.path))), names=names)

    def check(self) -> None:
        """Needs nothing that batten does not."""

    def open(self, ground: LedgerPlace) -> FilesDestination:
        return FilesDestination(ground)


@value_class
class Placing:
    """A file that is to get its place: of item number `item` of its batch. With `replaces`, a file
    that makes way is there."""

    item: int
    file: ItemFile
    made: str
    target: str
    replaces: bool = False


class FilesDestination:
    """The folder of one ledger; see the module."""

    def __init__(self, ground: LedgerPlace) -> None:
        self._storage, self._layout = ground.storage, ground.layout
        self._folder = ground.layout.output
        self._names = OwnedNames(self._list_records)
        self.bytes: dict[int, int] = {}
        """Of the files of each batch that has places."""
        found = self._storage.find(self._folder)
        if found is None or ground.book.find() is not None:
            return
        is_free = found.is_folder and not any(True for _ in self._storage.list_names(self._folder))
        if not is_free and not any(True for _ in self._storage.list_names(self._layout.files)):
            what = "files are there" if found.is_folder else f"{describe_kind(found)} is there"
            raise RefusedError(
                f"{self._folder} would get files, and {what} that batten did not make.",
                safe="It was not touched.",
                next="Move it away and run again, or write to another folder.",
            )

    def prepare(self, schema: pa.Schema) -> None:
        for folder in (self._folder, self._layout.files, self._layout.staging):
            self._storage.ensure_folder(folder)

    def lookup(self, tokens: Sequence[Token]) -> list[TokenState]:
        return [self._look_up(token) for token in tokens]

    def _look_up(self, token: Token) -> TokenState:
        batch = token.batch or 0
        record = self.find_record(batch)
        if record is None:
            return TokenState.ABSENT
        is_same = record.content == token.digest
        self.bytes[batch] = sum(map(size_of, record.files.values()))
        self._names.note(batch, is_current=is_same)
        return TokenState.SAME if is_same else TokenState.OTHER

    def list_closed(self, tokens: Sequence[Token]) -> list[Token]:
        """None: each batch is made anew."""
        return []

    def publish(self, staged: Staged) -> PublishEnd:
        batch = staged.token.batch or 0
        before = self.find_record(batch)
        files, placings = self._judge(batch, staged, before)
        leaving = _leave(before, files)
        begun = PlacedFiles(batch=batch, content="", files=files, leaving=leaving)
        self._save(begun)
        self._place(placings)
        self._save(replace(begun, content=staged.token.digest))
        self._names.take(before, begun)
        self.bytes[batch] = sum(map(size_of, files.values()))
        self._names.note(batch, is_current=True)
        for name, mark in files.items():
            file = ItemFile(name=name, size=size_of(mark), digest=digest_of(mark))
            self._storage.delete(name_made(self._layout, batch, file))
        return PublishEnd.COMMITTED

    def rehearse(self, staged: Staged) -> None:
        batch = staged.token.batch or 0
        self._judge(batch, staged, self.find_record(batch))

    def close(self) -> None:
        """Nothing is held open."""

    def begin_again(self, batch: int) -> None:
        """The batch is about to be made anew: until then any of its files may be gone."""
        record = self.find_record(batch)
        if record is not None and record.content:
            self._save(replace(record, content=""))
        self._names.note(batch, is_current=False)

    def tidy(self, batches: int) -> None:
        """Of a dataset of so many batches all files have their places. What earlier versions of it
        had in places goes now, and what was made and got none."""
        left = [each for each in self._list_records() if each.leaving or each.batch >= batches]
        if left:
            self._names.forget()
            current = self._names.list_current(batches)
            emptied: set[str] = set()
            for record in left:
                for name in {*record.leaving, *(record.files if record.batch >= batches else ())}:
                    if name not in current:
                        emptied.add(self._remove(name, record.marks_of(name)))
            self._sync_emptied(emptied)
            for record in left:
                if record.batch < batches:
                    self._save(replace(record, leaving={}))
                else:
                    self._storage.delete(self._layout.placed(record.batch))
            # A power cut must not bring back a record of what is gone.
            self._storage.sync_names(self._layout.files)
            self._names.forget()
        made = [entry.name for entry in self._storage.list(self._layout.made)]
        for name in made:
            self._storage.delete(name)
        # Nor what nobody would look for any more.
        self._storage.sync_names(self._layout.made)

    def find_record(self, batch: int) -> PlacedFiles | None:
        """Raises `CorruptError` if what is recorded can't be read."""
        name = self._layout.placed(batch)
        try:
            data = self._storage.read(name, bytes_max=RECORD_BYTES_MAX["files"])
            return decode_record(PlacedFiles, data)
        except FileNotFoundError:
            return None
        except Unreadable as error:
            raise CorruptError(
                f"{name} can't be read: {error}.",
                safe="Nothing was changed.",
                next="Restore it from a copy; or move it away, and run the same command again.",
            ) from error

    def _list_records(self) -> Iterable[PlacedFiles]:
        for entry in list(self._storage.list(self._layout.files)):
            batch = find_number(last_piece(entry.name), "json")
            record = None if batch is None else self.find_record(batch)
            if record is not None:
                yield record

    def _save(self, record: PlacedFiles) -> None:
        self._storage.ensure_folder(self._layout.files)
        name = self._layout.placed(record.batch)
        replace_file(self._storage, self._layout.staging, name, encode_record(record))

    def _judge(
        self, batch: int, staged: Staged, before: PlacedFiles | None
    ) -> tuple[dict[str, str], list[Placing]]:
        """The files of the batch, and those that have yet to get their places. Raises
        `RejectedError` if one can't have it; nothing was changed."""
        files: dict[str, str] = {}
        folders: set[str] = set()
        placings: list[Placing] = []
        errors: dict[int, Exception] = {}
        for item, file in _list_files(staged):
            try:
                _refuse_clash(file.name, files, folders)
                placing = self._find_placing(batch, item, file, before)
            except UnplaceableError as error:
                errors.setdefault(item, error)
                continue
            files[file.name] = file.mark
            folders.update(_list_above(file.name))
            placings += [placing] if placing is not None else []
        if errors:
            raise RejectedError(errors)
        return files, placings

    def _find_placing(
        self, batch: int, item: int, file: ItemFile, before: PlacedFiles | None
    ) -> Placing | None:
        """None if it has its place. Raises `UnplaceableError`."""
        target = f"{self._folder}/{file.name}"
        made = name_made(self._layout, batch, file)
        with tell_unplaceable(file.name):
            entry = self._storage.find(target)
        if entry is None:
            return Placing(item=item, file=file, made=made, target=target)
        if not entry.is_file:
            raise UnplaceableError(f"{describe_kind(entry)} lies where {file.name!r} should be")
        known = set() if before is None else before.marks_of(file.name)
        is_own = before is not None and before.files.get(file.name) == file.mark
        if is_own and before is not None and before.content and entry.size == file.size:
            return None
        known |= self._names.refuse_taken(batch, file.name)
        digest = find_digest(self._storage, target)
        if digest == file.digest:
            return None
        if f"{entry.size} {digest}" not in known:
            raise UnplaceableError(
                f"{file.name!r} is there, and is not as batten made it: it would be replaced"
            )
        return Placing(item=item, file=file, made=made, target=target, replaces=True)

    def _place(self, placings: Sequence[Placing]) -> None:
        """Raises `RejectedError` for those that the filesystem does not take."""
        errors: dict[int, Exception] = {}
        folders: dict[str, None] = {}
        for each in placings:
            try:
                with tell_unplaceable(each.file.name):
                    if (folder := folder_of(each.target)) not in folders:
                        self._storage.ensure_folder(folder)
                        folders[folder] = None
            except UnplaceableError as error:
                errors[each.item] = error
        with self._storage.steady():
            for each in placings:
                if each.item in errors:
                    continue
                try:
                    with tell_unplaceable(each.file.name):
                        self._put(each)
                except UnplaceableError as error:
                    errors[each.item] = error
            for folder in folders:
                self._storage.sync_names(folder)
        if errors:
            raise RejectedError(errors)

    def _put(self, placing: Placing) -> None:
        try:
            if not placing.replaces:
                if not self._storage.publish(placing.made, placing.target):
                    raise UnplaceableError(
                        f"the filesystem takes {placing.file.name!r} for the name of another file"
                    )
                return
            second = fresh_name(self._layout.staging, "put")
            self._storage.publish(placing.made, second)
        except StorageError as error:
            is_lost = error.errno == errno.ENOENT and self._storage.find(placing.made) is None
            if is_lost:
                raise UnplaceableError(
                    f"{placing.file.name!r} was lost before it had its place; try it again"
                ) from error
            raise
        self._storage.replace(second, placing.target)

    def _remove(self, name: str, marks: Collection[str]) -> str:
        """Delete a file that is as batten made it; the folder that it lay in."""
        target = f"{self._folder}/{name}"
        try:
            entry = self._storage.find(target)
            if entry is not None and entry.is_file:
                digest = find_digest(self._storage, target)
                if f"{entry.size} {digest}" in marks:
                    self._storage.delete(target)
        except StorageError as error:
            # What somebody has put into the way is not batten's.
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
        return folder_of(target)

    def _sync_emptied(self, folders: Iterable[str]) -> None:
        """Make removals durable, and remove folders that have nothing left in them."""
        for folder in sorted(folders, key=len, reverse=True):
            inner = folder
            while inner != self._folder and not any(True for _ in self._storage.list_names(inner)):
                self._storage.delete(inner)
                inner = folder_of(inner)
            self._storage.sync_names(inner)


def _leave(before: PlacedFiles | None, files: dict[str, str]) -> dict[str, list[str]]:
    """The marks of earlier versions, by name, but for those that the names have now."""
    leaving: dict[str, list[str]] = {}
    for name in {} if before is None else {**before.leaving, **before.files}:
        marks = sorted(before.marks_of(name) - {files.get(name)}) if before is not None else []
        if marks:
            leaving[name] = marks
    return leaving


def _list_files(staged: Staged) -> Iterable[tuple[int, ItemFile]]:
    """The files of a batch, with the numbers of their items."""
    import pyarrow as pa

    table = pa.Table.from_batches(staged.read(), schema=staged.schema)
    columns = [table.column(name).to_pylist() for name in (FILE_COLUMN, SIZE_COLUMN, DIGEST_COLUMN)]
    rows = list(zip(*columns, strict=True))
    for item, start, stop in list_spans(staged, table):
        for name, size, digest in rows[start:stop]:
            yield item, ItemFile(name=name, size=size, digest=digest)


def _list_above(name: str) -> Iterable[str]:
    while name := folder_of(name):
        yield name


def _refuse_clash(name: str, files: Collection[str], folders: Collection[str]) -> None:
    """Raises `UnplaceableError` for a name that another item of the batch has."""
    if name in files:
        raise UnplaceableError(f"another item has a file that is called {name!r}")
    if name in folders:
        raise UnplaceableError(f"another item has files in a folder that is called {name!r}")
    for above in _list_above(name):
        if above in files:
            raise UnplaceableError(f"another item has a file that is called {above!r}")

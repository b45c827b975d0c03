"""A single file of all rows: CSV, JSON Lines or Parquet.

It appears whole, when the dataset is complete. Until then readers keep what was there.

The file's digest is recorded before the file takes its place, with the digest of what it replaces.
So a crash leaves one of the two. Any other file was changed by someone else, and is never replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from batten.errors import InconsistentError, RefusedError, StorageError
from batten.model.disk.destinations.delivery import Delivery
from batten.model.disk.destinations.tokens import PublishEnd, Token, TokenState
from batten.model.disk.throwaway_names import find_staging_owner
from batten.model.value_class import value_class
from batten.model.words import Takes
from batten.sinks.base import AtPath, LedgerPlace, Staged
from batten.sinks.files.formats import FORMATS
from batten.sinks.located import locate_file
from batten.storage.changing.publishing import fresh_name
from batten.storage.digests import Measured, find_digest
from batten.storage.relative import folder_of, last_piece

if TYPE_CHECKING:
    import pyarrow as pa


@value_class
class FileSink(AtPath):
    """A file at `path`; `kind` is its format: csv, jsonl or parquet."""

    path: Path
    kind: str
    takes: ClassVar[Takes] = Takes.DATASET
    dataset: ClassVar[str] = ""

    def fill(self, fill: Callable[[str], str]) -> FileSink:
        return replace(self, path=Path(fill(str(self.path))))

    def check(self) -> None:
        """Needs nothing that batten does not."""

    def open(self, ground: LedgerPlace) -> FileDestination:
        return FileDestination(ground)


@value_class
class MadeFile:
    """A file that is written and synced under the throwaway `name`: `size` in bytes, `digest`
    (SHA-256), and that of the file that it is to replace, or nothing."""

    name: str
    rows: int
    size: int
    digest: str
    replaces: str


class FileDestination:
    """The file of one ledger; see the module."""

    def __init__(self, ground: LedgerPlace) -> None:
        self._book = ground.book
        self._storage, self._name = locate_file(ground.storage, ground.book.target)
        is_beside = self._storage is ground.storage and folder_of(self._name) == folder_of(
            ground.layout.output
        )
        self._staging = ground.layout.staging if is_beside else None
        found = self._storage.find(self._name)
        if found is not None and (found.is_folder or self._book.find() is None):
            what = "a folder is there" if found.is_folder else "batten did not make it"
            raise RefusedError(
                f"{self._name} would be replaced, and {what}.",
                safe="It was not touched.",
                next="Move it away and run again, or write to another file.",
            )

    def prepare(self, schema: pa.Schema) -> None:
        FORMATS[self._book.kind](schema)

    def lookup(self, tokens: Sequence[Token]) -> list[TokenState]:
        self._delete_throwaways()
        record = self._book.find()
        if record is None or not record.is_file:
            return [TokenState.ABSENT for _ in tokens]
        self._sync()
        is_there = self._digest_one_of(record) == record.digest
        return [
            TokenState.SAME if is_there and token.digest == record.content else TokenState.ABSENT
            for token in tokens
        ]

    def list_closed(self, tokens: Sequence[Token]) -> list[Token]:
        """None: it is made anew."""
        return []

    def publish(self, staged: Staged) -> PublishEnd:
        self.place(self.make(staged), staged)
        return PublishEnd.COMMITTED

    def make(self, staged: Staged) -> MadeFile:
        """Write the file, synced, under a throwaway name. Another process may do so for the one
        that holds the lock. Raises `InconsistentError` if what it would replace was changed."""
        found = self._digest_replaced()
        throwaway = self._clear_throwaway()
        measured = Measured()
        encode = FORMATS[self._book.kind](staged.schema)
        pieces = measured.pass_on(encode(staged.read()))
        self._storage.stage(throwaway, pieces, is_synced=True)
        return MadeFile(
            name=throwaway,
            rows=staged.rows,
            size=measured.size,
            digest=measured.digest,
            replaces=found,
        )

    def place(self, made: MadeFile, staged: Staged) -> None:
        """Record the file, then put it in its place."""
        self._save(made, staged, staged.token.digest)
        self._storage.replace(made.name, self._name)
        try:
            self._storage.sync_names(folder_of(self._name))
        except StorageError:
            # No other sync would make it durable: the next run makes the file anew.
            with suppress(StorageError):
                self._save(made, staged, "")
            raise

    def _save(self, made: MadeFile, staged: Staged, content: str) -> None:
        self._book.save(
            batches=staged.batches,
            rows=made.rows,
            content=content,
            size=made.size,
            digest=made.digest,
            replaces=made.replaces,
        )

    def rehearse(self, staged: Staged) -> None:
        """A file holds whatever its format can hold, which `prepare` says of the columns."""

    def close(self) -> None:
        """Nothing is held open."""

    def _digest_replaced(self) -> str:
        """Raises `InconsistentError` if the file is not one that batten put there."""
        record = self._book.find()
        if record is not None:
            self._sync()
        found = self._digest_one_of(record)
        if found is None:
            raise InconsistentError(
                f"{self._name} was changed by another program since batten wrote it.",
                safe="It was not touched.",
                next="Move it away and run again: it is made anew.",
            )
        return found

    def _sync(self) -> None:
        """Who put the file there may have been killed before it was durable. What is taken for done
        rests on it, and so does the record of what the next file replaces."""
        if self._storage.find(self._name) is not None:
            self._storage.sync_names(folder_of(self._name))

    def _digest_one_of(self, record: Delivery | None) -> str | None:
        """The digest of the file; empty if there is no file. None if it is neither the recorded
        file nor the one that this replaces."""
        entry = self._storage.find(self._name)
        if entry is None:
            return ""
        known = set() if record is None else {record.digest, record.replaces} - {""}
        if record is not None and entry.is_file and entry.size != record.size:
            known.discard(record.digest)
        if entry.is_file and not known:
            return None  # it need not be read, and may have any size
        found = find_digest(self._storage, self._name)
        return found if found in known else None

    def _clear_throwaway(self) -> str:
        """A name for the file while it is written."""
        base = last_piece(self._name)
        folder = folder_of(self._name) if self._staging is None else self._staging
        self._storage.ensure_folder(folder)
        self._delete_throwaways()
        if self._staging is not None:
            return fresh_name(folder, "file")
        return fresh_name(folder, f".{base}").lstrip("/")

    def _delete_throwaways(self) -> None:
        """Elsewhere than in `staging/` nobody else would find what a killed run left: the lock says
        that it is dead."""
        if self._staging is not None:
            return
        start = f".{last_piece(self._name)}."
        for entry in list(self._storage.list(folder_of(self._name))):
            name = last_piece(entry.name)
            if name.startswith(start) and find_staging_owner(name) is not None:
                self._storage.delete(entry.name)

"""Reads that note what can't be read as a finding, and go on.

An inspection tells all that it finds, so no damaged file may end it. Damage is one finding more. A
disk that could not be read this time says nothing of what lies there, and is a `failure` as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from batten.errors import StorageError
from batten.ledger.facts.reasons import name_reason
from batten.model.disk.names import Layout
from batten.model.disk.records import (
    NewerFormat,
    Unreadable,
)
from batten.model.rules.findings import Code, Finding
from batten.storage.base import Entry, Store
from batten.storage.failures import is_of_wrong_kind

Value = TypeVar("Value")
ODD_NAME = "its name is not one that batten gives"


class NotedReads:
    """Of one output. `findings` grow with each; `failure` is the first of the disk's."""

    def __init__(self, storage: Store, layout: Layout) -> None:
        self.storage = storage
        self.layout = layout
        self.findings: list[Finding] = []
        self.failure: StorageError | None = None
        self._misplaced: tuple[str, ...] = ()

    def _decode(
        self,
        name: str,
        code: Code,
        decode: Callable[[bytes], Value],
        batch: int | None = None,
        *,
        is_required: bool = True,
    ) -> Value | None:
        try:
            return decode(self._load(name))
        except NewerFormat as error:
            self._note(Code.NEWER_FORMAT, name, str(error), batch)
        except FileNotFoundError as error:
            if is_required:
                self._note_error(code, name, error, batch)
        except (Unreadable, StorageError) as error:
            self._note_error(code, name, error, batch)
        return None

    def _load(self, name: str) -> bytes:
        return self.storage.read(name)

    def _is_there(self, name: str) -> bool:
        """Also of what can't be looked up."""
        try:
            return self.storage.find(name) is not None
        except StorageError as error:
            self.failure = self.failure or error
            return True

    def _list(self, folder: str) -> Iterable[Entry]:
        try:
            yield from self.storage.list(folder)
        except StorageError as error:
            self._note_error(Code.UNREADABLE_FOLDER, folder, error)

    def _note_error(
        self, code: Code, path: str, error: Exception, batch: int | None = None
    ) -> None:
        if isinstance(error, StorageError) and not is_of_wrong_kind(error):
            self.failure = self.failure or error
        self._note(code, path, name_reason(error), batch)

    def _note(self, code: Code, path: str, evidence: str, batch: int | None = None) -> None:
        if any(path == each or path.startswith(each + "/") for each in self._misplaced):
            return  # All that is wrong there was told.
        self.findings.append(Finding(code=code, path=path, evidence=evidence, batch=batch))

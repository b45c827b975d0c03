"""Where a run and its workers meet: a few small files beside the dataset, in a folder or a store.

Each has one writer. It puts the next version in the place of the one that it wrote before, and a
look tells it if somebody else has been there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from batten.errors import StorageError
from batten.ledger.guarded import taken_over
from batten.model.disk.records import Unreadable, decode_record, encode_record
from batten.model.disk.runs.workers import BOARD, Board, Register
from batten.model.value_class import value_class
from batten.storage.base import Got, Put, Store
from batten.storage.changing.publishing import settle
from batten.storage.relative import last_piece

BYTES_MAX = 1 << 28


@value_class
class SeenRegister:
    """A register in one version; None for one that can't be understood."""

    name: str
    version: str
    register: Register | None


class Meeting:
    """The files in `folder` of a place."""

    def __init__(self, storage: Store, folder: str) -> None:
        self._storage = storage
        self._folder = folder
        self._board_version = ""
        self._beat = 0

    @property
    def poll_seconds(self) -> float:
        """How often a look is worth its cost: a look at a store is a request."""
        return 0.05 if self._storage.folder is not None else 0.5

    def read_board(self) -> Board | None:
        """None if there is none, or none that can be understood."""
        found = self._get(self._name(BOARD))
        if found is None:
            return None
        try:
            return decode_record(Board, found.data)
        except Unreadable:
            return None

    def take_over(self) -> None:
        """This run writes the board from now on, and registers for earlier runs go."""
        found = self._get(self._name(BOARD))
        self._board_version = found.version if found is not None else ""
        for name, version in list(self._list()):
            self._storage.delete_if(name, version)

    def write_board(self, board: Board) -> None:
        """Raises `BusyError` where another run writes it."""
        self._beat += 1
        version = self._put(self._name(BOARD), replace(board, beat=self._beat), self._board_version)
        if version is None:
            raise taken_over(self._storage, self._name(BOARD))
        self._board_version = version

    def list_registers(self) -> Iterator[tuple[str, str]]:
        """The worker and the version of each."""
        for name, version in self._list():
            piece = last_piece(name)
            if piece.endswith(_SUFFIX):
                yield piece.removesuffix(_SUFFIX), version

    def read_register(self, worker: str) -> SeenRegister | None:
        """None if it is gone."""
        found = self._get(self._name(worker))
        if found is None:
            return None
        register = None
        with suppress(Unreadable):
            register = decode_record(Register, found.data)
        if register is not None and register.worker != worker:
            register = None
        return SeenRegister(name=worker, version=found.version, register=register)

    def write_register(self, register: Register, version: str) -> str | None:
        """Its version from now on, in the place of that `version`, or of none if that is empty.
        None where it was taken away: the run has given the worker up."""
        return self._put(self._name(register.worker), register, version)

    def delete_register(self, worker: str, version: str) -> None:
        """Unless it has changed since."""
        with suppress(StorageError):
            self._storage.delete_if(self._name(worker), version)

    def _name(self, piece: str) -> str:
        return f"{self._folder}/{piece}{_SUFFIX}"

    def _get(self, name: str) -> Got | None:
        try:
            return self._storage.get(name, bytes_max=BYTES_MAX)
        except FileNotFoundError:
            return None

    def _put(self, name: str, record: Board | Register, version: str) -> str | None:
        data = encode_record(record)
        if version:
            answer = settle(self._storage, lambda: self._storage.put_if(name, data, version))
        else:
            answer = settle(self._storage, lambda: self._storage.put_new(name, data))
        return None if answer.put is Put.OTHER else answer.version

    def _list(self) -> Iterator[tuple[str, str]]:
        """All but the board; also what a killed writer left half done."""
        for entry in list(self._storage.list(self._folder)):
            if not entry.is_file or entry.name == self._name(BOARD):
                continue
            found = entry if entry.version else self._storage.find(entry.name)
            if found is not None:
                yield entry.name, found.version


_SUFFIX = ".json"

"""An object store in memory, as bad as one may be: the twin of S3 and its like, for tests.

It has no rename, no links, no folders and no lock of a kernel. It keeps conditions, and nothing
else can be relied on: an answer may be lost, before the deed or after it; a request that nobody
heard of may be carried out much later, even when its sender is dead; and a lease may be over at any
moment. What becomes of each change is said by a test, by a `Fate`.

The version of an object is made of its bytes, as an ETag is: the same content again is the same
version again.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import BinaryIO, Literal, NamedTuple

from batten.errors import StorageError
from batten.model.disk.records import Unreadable, decode_record, encode_record
from batten.model.disk.runs.holders import Holder, Lease
from batten.storage.base import READ_BYTES_MAX, Entry, Got, Lock, Piece, Put, PutAnswer
from batten.storage.changing.publishing import settle
from batten.storage.failures import reading_failure, too_large
from batten.storage.local.locking.locks import busy_error
from batten.storage.relative import check_folder, check_name, folder_of, last_piece
from batten.storage.twin.fates import Fate


class SenderDied(BaseException):
    """The process that asks is dead. No `Exception`: no code of it handles its own death."""


class ChangeRequest(NamedTuple):
    """One change that is asked of the store: the condition is part of it."""

    kind: Literal["put_new", "put_if", "delete_if"]
    name: str
    data: bytes = b""
    version: str = ""


class StoredObject(NamedTuple):
    """What is there under one name."""

    data: bytes
    version: str
    modified_seconds: float


class ObjectServer:
    """The store itself, which its clients share. `late` are requests that were not carried out yet;
    `changes` is how many were. Some stores know no conditions, and answer as if they held."""

    def __init__(self, *, keeps_conditions: bool = True) -> None:
        self.keeps_conditions = keeps_conditions
        self.objects: dict[str, StoredObject] = {}
        self.late: list[ChangeRequest] = []
        self.changes = 0

    def apply(self, change: ChangeRequest) -> PutAnswer:
        """Carry the change out, if its condition holds now."""
        self.changes += 1
        found = self.objects.get(change.name)
        version = found.version if found is not None else ""
        is_met = change.version == version or (change.kind == "delete_if" and found is None)
        if self.keeps_conditions and not is_met:
            return PutAnswer(Put.OTHER, version)
        if change.kind == "delete_if":
            self.objects.pop(change.name, None)
            return PutAnswer(Put.MADE)
        made = StoredObject(change.data, version_of(change.data), time.time())
        self.objects[change.name] = made
        return PutAnswer(Put.MADE, made.version)

    def deliver_late(self) -> None:
        """Carry out what nobody waits for any more."""
        waiting, self.late = self.late, []
        for change in waiting:
            self.apply(change)


def version_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def always_done(change: ChangeRequest) -> Fate:
    return Fate.DONE


class ObjectStorage:
    """One client of the store. Implements `Store`.

    `fate` says what becomes of each change. `before` is called before each request, of a look too,
    with what is asked. `is_over` says whether the lease of another is over by now."""

    def __init__(
        self,
        server: ObjectServer | None = None,
        *,
        fate: Callable[[ChangeRequest], Fate] = always_done,
        before: Callable[[str], None] = lambda what: None,
        is_over: Callable[[], bool] = lambda: True,
    ) -> None:
        self.server = server or ObjectServer()
        self.is_alive = True
        self._fate = fate
        self._before = before
        self._is_over = is_over

    folder: None = None
    local: None = None

    @property
    def place(self) -> str:
        return "twin://objects"

    def steady(self) -> AbstractContextManager[None]:
        return nullcontext()

    def put_new(self, name: str, data: Piece) -> PutAnswer:
        return self._change(ChangeRequest("put_new", check_name(name), bytes(data)))

    def put_if(self, name: str, data: Piece, version: str) -> PutAnswer:
        return self._change(ChangeRequest("put_if", check_name(name), bytes(data), version))

    def delete_if(self, name: str, version: str) -> PutAnswer:
        return self._change(ChangeRequest("delete_if", check_name(name), version=version))

    def get(self, name: str, *, bytes_max: int | None = READ_BYTES_MAX) -> Got:
        found = self._load(name)
        if bytes_max is not None and len(found.data) > bytes_max:
            raise reading_failure(too_large(name), "Reading", name)
        return Got(found.data, found.version)

    def read(
        self,
        name: str,
        *,
        offset: int = 0,
        length: int | None = None,
        bytes_max: int | None = READ_BYTES_MAX,
    ) -> bytes:
        data = self._load(name).data
        start = max(len(data) + offset, 0) if offset < 0 else offset
        found = data[start : None if length is None else start + length]
        if bytes_max is not None and len(found) > bytes_max:
            raise reading_failure(too_large(name), "Reading", name)
        return found

    def open(self, name: str) -> BinaryIO:
        return io.BytesIO(self._load(name).data)

    def find(self, name: str) -> Entry | None:
        self._ask(f"find {check_folder(name)}")
        found = self.server.objects.get(name)
        if found is not None:
            return _describe(name, found)
        is_prefix = not name or any(each.startswith(name + "/") for each in self.server.objects)
        return Entry(name, 0, 0.0, "folder") if is_prefix else None

    def list(self, folder: str) -> Iterator[Entry]:
        self._ask(f"list {check_folder(folder)}")
        prefix = folder + "/" if folder else ""
        found: dict[str, Entry] = {}
        for name, stored in self.server.objects.items():
            if name.startswith(prefix):
                piece, _, rest = name[len(prefix) :].partition("/")
                each = prefix + piece
                found[each] = Entry(each, 0, 0.0, "folder") if rest else _describe(each, stored)
        yield from found.values()

    def list_names(self, folder: str) -> Iterator[str]:
        for entry in self.list(folder):
            yield last_piece(entry.name)

    def list_names_after(self, folder: str, after: str) -> Iterator[str]:
        """See `storage.listing`."""
        self._ask(f"list {check_folder(folder)} after {after}")
        start = f"{folder}/"
        for name in list(self.server.objects):
            if name.startswith(start) and name > start + after:
                yield name.removeprefix(start).partition("/")[0]

    def read_each(self, folder: str, names: Iterable[str]) -> Iterator[bytes | None]:
        for name in names:
            try:
                yield self.read(f"{folder}/{name}")
            except (FileNotFoundError, StorageError):
                yield None

    def lease(self, name: str, holder: Holder) -> ObjectLease:
        held = self._find_lease(name)
        entry = self.find(name)
        if held is not None and held.is_held and not self._is_over():
            raise busy_error(folder_of(name), held.holder)
        epoch = held.epoch + 1 if held is not None else 1
        nonce = f"{epoch}-{self.server.changes}"
        mine = encode_record(Lease(epoch=epoch, nonce=nonce, is_held=True, holder=holder))
        take = (
            partial(self.put_new, name, mine)
            if entry is None
            else partial(self.put_if, name, mine, entry.version)
        )
        answer = settle(self, take)
        if answer.put is Put.OTHER:
            raise busy_error(folder_of(name), self.observe_lock(name))
        free = encode_record(Lease(epoch=epoch, nonce=nonce, is_held=False, holder=holder))
        return ObjectLease(partial(self.put_if, name, free, answer.version))

    def observe_lock(self, name: str) -> Holder | None:
        held = self._find_lease(check_name(name))
        return held.holder if held is not None and held.is_held else None

    def _find_lease(self, name: str) -> Lease | None:
        try:
            return decode_record(Lease, self.read(name))
        except (FileNotFoundError, Unreadable):
            return None

    def _load(self, name: str) -> StoredObject:
        self._ask(f"get {check_name(name)}")
        found = self.server.objects.get(name)
        if found is None:
            raise FileNotFoundError(name)
        return found

    def _ask(self, what: str) -> None:
        if not self.is_alive:
            raise SenderDied(what)
        self._before(what)

    def _change(self, change: ChangeRequest) -> PutAnswer:
        self._ask(f"{change.kind} {change.name}")
        fate = self._fate(change)
        if fate.is_late:
            self.server.late.append(change)
        answer = self.server.apply(change) if fate.is_done else None
        if fate.is_death:
            self.is_alive = False
            raise SenderDied(f"{fate.name} {change.kind} {change.name}")
        if answer is None or fate is not Fate.DONE or answer.put is Put.OTHER:
            return self._look(change)
        return answer

    def _look(self, change: ChangeRequest) -> PutAnswer:
        """What is there tells what became of it, but for a change that may come yet."""
        found = self.server.objects.get(change.name)
        version = found.version if found is not None else ""
        if change.kind == "delete_if":
            if found is None:
                return PutAnswer(Put.MADE)
        elif found is not None and found.data == change.data:
            return PutAnswer(Put.SAME, version)
        is_as_before = version == change.version
        return PutAnswer(Put.UNKNOWN if is_as_before else Put.OTHER, version)


class ObjectLease(Lock):
    """A lease that is held until `release`, or until another one finds that it is over."""

    def __init__(self, free: Callable[[], PutAnswer]) -> None:
        self._free: Callable[[], PutAnswer] | None = free

    def release(self) -> None:
        """May be repeated. Where another has it by now, it stays theirs."""
        free, self._free = self._free, None
        if free is not None:
            free()


def _describe(name: str, found: StoredObject) -> Entry:
    return Entry(name, len(found.data), found.modified_seconds, version=found.version)

"""A lease in an object store: who is at work there, so that others wait instead of working twice.

One object says who holds it. The holder writes it anew every few seconds. Who finds it held looks
at it for as long as it lasts, by its own monotonic clock. If nothing changes, the holder is gone,
and the lease is taken in the place of the version that was seen. So no two clocks are compared. A
process of the same machine that is no more is known to be gone at once.

It guards nothing: a holder that slept too long goes on until the store refuses a change of it
(decision 0081).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from batten.errors import StorageError
from batten.model.disk.records import Unreadable, decode_record, encode_record
from batten.model.disk.runs.holders import Holder, Lease
from batten.storage.base import Got, Lock, Put, Store
from batten.storage.changing.publishing import settle
from batten.storage.local.locking.locks import busy_error, has_ended
from batten.storage.relative import folder_of

SECONDS = 30.0
"""So long after it was last written, a lease is over."""
_LOOKS = 20


def take(store: Store, name: str, holder: Holder) -> HeldLease:
    """Raises `BusyError` if another holds it, after a look of `SECONDS` if that one may be dead."""
    found = _load(store, name)
    if found is not None and _seems_held(found) and _changes(store, name, found):
        found = _load(store, name)
        if found is not None and _seems_held(found):
            raise busy_error(folder_of(name), _read(found).holder)
    epoch = _read(found).epoch + 1 if found is not None else 1
    mine = Lease(epoch=epoch, nonce=_nonce(), is_held=True, holder=holder)
    data = encode_record(mine)
    if found is None:
        answer = settle(store, lambda: store.put_new(name, data))
    else:
        answer = settle(store, lambda: store.put_if(name, data, found.version))
    if answer.put is Put.OTHER:
        raise busy_error(folder_of(name), observe(store, name))
    return HeldLease(store, name, mine, answer.version)


def observe(store: Store, name: str) -> Holder | None:
    """Who holds it, or None. Only where this machine's clock says that it was written a moment ago,
    it is not looked at for `SECONDS`. A clock that is behind says that it is yet to be written, and
    one that is ahead, that it is over: then a renewal shows whether it is."""
    found = _load(store, name)
    if found is None or not _seems_held(found):
        return None
    entry = store.find(name)
    is_doubtful = entry is not None and abs(time.time() - entry.modified_seconds) > SECONDS
    if is_doubtful and not _changes(store, name, found):
        return None
    return _read(found).holder


class HeldLease(Lock):
    """A lease that is held until `release`, or until another one finds that it is over."""

    def __init__(self, store: Store, name: str, lease: Lease, version: str) -> None:
        self._store, self._name = store, name
        self._lease, self._version = lease, version
        self._process = os.getpid()
        self._one_at_a_time = threading.Lock()
        self._is_ended = threading.Event()
        thread = threading.Thread(target=self._keep, name="batten-lease", daemon=True)
        thread.start()

    def release(self) -> None:
        """May be repeated. Where another has it by now, it stays theirs. A forked process that
        ends leaves it alone."""
        if self._is_ended.is_set() or os.getpid() != self._process:
            return
        with self._one_at_a_time:
            self._is_ended.set()
            with suppress(StorageError):
                self._write(replace(self._lease, is_held=False))

    def renew(self) -> None:
        """Write it anew, unless it has ended."""
        with self._one_at_a_time, suppress(StorageError):
            if not self._is_ended.is_set():
                self._write(replace(self._lease, nonce=_nonce()))

    def _keep(self) -> None:
        while not self._is_ended.wait(SECONDS / 3):
            self.renew()

    def _write(self, lease: Lease) -> None:
        answer = self._store.put_if(self._name, encode_record(lease), self._version)
        if answer.put is Put.OTHER:
            found = _load(self._store, self._name)
            if found is not None and _is_of(_read(found), lease):
                self._version = found.version  # A renewal of this one that arrived late.
            else:
                self._is_ended.set()  # Another has it, and the store refuses what is too late.
        elif answer.put is not Put.UNKNOWN:
            self._lease, self._version = lease, answer.version


def _nonce() -> str:
    return os.urandom(8).hex()


def _load(store: Store, name: str) -> Got | None:
    try:
        return store.get(name)
    except FileNotFoundError:
        return None


_FREE = Lease(epoch=0, nonce="", is_held=False, holder=Holder(pid=0, host="", since="", boot=""))


def _read(found: Got) -> Lease:
    """What can't be read is held by nobody, and is replaced."""
    try:
        return decode_record(Lease, found.data)
    except Unreadable:
        return _FREE


def _seems_held(found: Got) -> bool:
    lease = _read(found)
    return lease.is_held and not has_ended(lease.holder)


def _is_of(found: Lease, mine: Lease) -> bool:
    """Whether it is a renewal of the same lease: each who takes it counts one more epoch."""
    return (found.epoch, found.holder) == (mine.epoch, mine.holder)


def _changes(store: Store, name: str, found: Got) -> bool:
    """Whether it is written anew, or given back, while one looks at it for as long as it lasts."""
    return _wait_for(lambda: _load(store, name) != found)


def _wait_for(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + SECONDS
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(SECONDS / _LOOKS)
    return True

"""Locks of keys: one process builds an entry at a time, and no build waits for itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from batten.cache.clearing.counts import Counter
from batten.errors import UsageError
from batten.model.cached.cache_names import CacheLayout
from batten.storage.local import folders
from batten.storage.local.locking.held import Held


class KeyLocks:
    """The locks of one cache. Threads may share it."""

    def __init__(self, layout: CacheLayout, counter: Counter) -> None:
        self._layout = layout
        self._counter = counter
        self._in_hand = threading.local()

    def lock(self, key: str) -> Held:
        """Waits while another process has it. Raises `OSError` where nothing can be locked."""
        path = self._layout.lock(key)
        held = folders.lock_within(path, should_wait=False, below=self._layout.root)
        if held is None:
            self._counter.add("waits")
            held = folders.lock_within(path, should_wait=True, below=self._layout.root)
        if held is None:
            raise BlockingIOError(f"{path} is locked")
        return held

    def unlock(self, key: str, lock: Held) -> None:
        if not lock.is_open:
            return  # A build was left in a process that was forked within it.
        with suppress(OSError):
            folders.remove_file(self._layout.lock(key), below=self._layout.root)
        with suppress(OSError):
            lock.release()

    @contextmanager
    def building(self, key: str) -> Iterator[None]:
        """Keeps a build from waiting for itself."""
        if not hasattr(self._in_hand, "keys"):
            self._in_hand.keys = set()
        if key in self._in_hand.keys:
            raise UsageError(
                "Building an entry of the cache asked for that entry itself.",
                safe="Nothing was cached.",
                next="Ask for another key within the build.",
            )
        self._in_hand.keys.add(key)
        try:
            yield
        finally:
            self._in_hand.keys.discard(key)

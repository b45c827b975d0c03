"""The two kinds of entries, and how each is made, kept, taken, and made without the cache."""

from __future__ import annotations

import errno
import os
import pickle
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

from batten.cache.drafts import Draft
from batten.cache.entry import CacheEntry
from batten.cache.kept_entries import KeptEntries
from batten.fingerprint.plain.decoding import decode_plain
from batten.fingerprint.plain.encoding import encode_plain
from batten.fingerprint.plain.letters import BadValue, NotPlain, is_plain_bytes
from batten.model.cached.manifests import BODY_BYTES_MAX
from batten.model.telling.sizes import show_bytes
from batten.storage.failures import writing_failure
from batten.storage.local import folders
from batten.storage.local.folders import Strange
from batten.storage.local.locking.held import Held
from batten.storage.local.owner_rule import NotOwned

Made = TypeVar("Made", covariant=True)
LetGo = Callable[[Held], None]

_OF_THE_MACHINE = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EIO,
        errno.ENOSPC,
        errno.EPERM,
        errno.EROFS,
        errno.ESTALE,
    }
)
"""Failures within a build that may be those of the cache's disk rather than of the build."""


class Making(Protocol[Made]):
    """One entry on its way. `find` takes what is there. If there is nothing, `fill` comes first,
    then `seal`. Then comes `kept` if the entry was published, or `private` if that was not
    possible. `apart` does without the cache."""

    has_files: bool

    def find(
        self, kept: KeptEntries, key: str, *, should_check: bool, is_hit: bool = True
    ) -> tuple[Made] | None:
        """The one that is kept, or None. Raises `Strange` for one that is whole and can't be used
        here."""
        ...

    def fill(self, draft: Draft) -> None: ...

    def seal(self, draft: Draft, boot: str) -> int:
        """The size of the entry, or 0 where there is nothing to keep. Raises `Strange`."""
        ...

    def kept(self, draft: Draft, files: str) -> Made: ...

    def private(self, draft: Draft) -> Made: ...

    def apart(self) -> Made: ...

    def is_of_cache(self, error: OSError, draft: Draft) -> bool:
        """Whether the disk of the cache may be why `fill` failed."""
        ...


class FolderMaking:
    """An entry of files, filled by the caller's function."""

    has_files = True

    def __init__(self, build: Callable[[Path], object], let_go: LetGo) -> None:
        self._build = build
        self._let_go = let_go

    def find(
        self, kept: KeptEntries, key: str, *, should_check: bool, is_hit: bool = True
    ) -> tuple[CacheEntry] | None:
        opened = kept.find(key, should_check=should_check)
        if opened is None:
            return None
        held = opened.held
        return (CacheEntry(Path(opened.files), is_hit=is_hit, close=lambda: self._let_go(held)),)

    def fill(self, draft: Draft) -> None:
        self._build(Path(draft.files))

    def seal(self, draft: Draft, boot: str) -> int:
        return draft.seal_files(boot)

    def kept(self, draft: Draft, files: str) -> CacheEntry:
        return CacheEntry(Path(files), is_hit=False, close=lambda: self._let_go(draft.held))

    def private(self, draft: Draft) -> CacheEntry:
        return CacheEntry(Path(draft.files), is_hit=False, close=draft.discard)

    def apart(self) -> CacheEntry:
        try:
            folder = tempfile.mkdtemp(prefix="batten-")
        except OSError as error:
            raise writing_failure(error, "Making a folder in", tempfile.gettempdir()) from error
        entry = CacheEntry(Path(folder), is_hit=False, close=lambda: _remove(folder))
        try:
            self._build(entry.path)
        except BaseException:
            entry.close()
            raise
        return entry

    def is_of_cache(self, error: OSError, draft: Draft) -> bool:
        return error.errno in _OF_THE_MACHINE or not os.path.isdir(draft.files)


class ValueMaking:
    """An entry that is a value, computed by the caller's function."""

    has_files = False

    def __init__(self, compute: Callable[[], Any]) -> None:
        self._compute = compute
        self._value: Any = None

    def find(
        self, kept: KeptEntries, key: str, *, should_check: bool, is_hit: bool = True
    ) -> tuple[Any] | None:
        body = kept.find_value(key)
        if body is None:
            return None
        if is_plain_bytes(body):
            try:
                return (decode_plain(body),)
            except BadValue as error:
                raise Strange(f"a value can't be read: {error}") from error
        return _find_pickled(kept, key)

    def fill(self, draft: Draft) -> None:
        self._value = self._compute()

    def seal(self, draft: Draft, boot: str) -> int:
        data = _encode(self._value)
        if len(data) > BODY_BYTES_MAX:
            raise Strange(f"a value takes {show_bytes(len(data))}, more than is kept of one")
        return draft.seal_value(data, boot)

    def kept(self, draft: Draft, files: str) -> Any:
        with suppress(OSError):
            draft.held.release()
        return self._value

    def private(self, draft: Draft) -> Any:
        draft.discard()
        return self._value

    def apart(self) -> Any:
        return self._compute()

    def is_of_cache(self, error: OSError, draft: Draft) -> bool:
        return False


def _encode(value: Any) -> bytes:
    """Plain bytes where the value is plain, else its pickle; they begin in different ways."""
    try:
        return encode_plain(value)
    except NotPlain:
        pass
    try:
        return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise Strange(f"a value can't be pickled: {error}") from error


def _find_pickled(kept: KeptEntries, key: str) -> tuple[Any] | None:
    """A pickle is code: it is used only where nobody else can have written it (decision 0036)."""
    try:
        body = kept.find_owned_value(key)
    except NotOwned as error:
        raise Strange(
            f"a kept value is a pickle, which is code, and {error}: see the guide of caches"
        ) from error
    if body is None:
        return None
    try:
        return (pickle.loads(body),)
    except Exception as error:  # whatever unpickling runs
        raise Strange(f"a value can't be unpickled: {error}") from error


def _remove(folder: str) -> None:
    with suppress(OSError):
        folders.remove_tree(folder, below=os.path.dirname(folder))

"""The cache: results that are kept, shared by any number of processes.

A cache may forget, but it must never lie, and never be in the way. That it never lies rests on the
key: it holds the function, all arguments and the identity of each input file, so equal keys have
equal results. That nothing is torn rests on one rename: an entry is filled where no reader looks,
and appears whole, with a manifest of its files. That nothing goes while it is in use rests on locks
of the kernel: a reader holds the manifest shared, and whoever removes the entry needs it alone. The
cache syncs nothing, which would cost more than it saves. Instead an entry from before the machine
started is read through before its first use (decision 0017).

It never makes a job fail. What the machine refuses it (no space, no permission, no locks) costs
speed only: the result is made without it, one warning is given, and it is counted.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from batten.cache.clearing.budget import Budget, Publication, scan_sizes
from batten.cache.clearing.counts import Counter, Counts, Statistics, load_total
from batten.cache.clearing.sweep import sweep_if_due
from batten.cache.default_folder import default_folder, is_disabled
from batten.cache.drafts import Draft
from batten.cache.entry import CacheEntry
from batten.cache.identity import Identifier, KeyIdentity
from batten.cache.kept_entries import KeptEntries
from batten.cache.key_locks import KeyLocks
from batten.cache.making import FolderMaking, Made, Making, ValueMaking
from batten.errors import usage_error
from batten.listening import Log
from batten.model.cached.cache_names import FILES, MANIFEST, CacheLayout
from batten.printable import escape
from batten.storage.addresses import local_path
from batten.storage.local.folders import Strange
from batten.storage.local.locking.held import Held
from batten.storage.machine import Machine

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

GIGABYTE = 1 << 30

_log = Log("batten.cache")


class Cache:
    """Keeps folders of files, and values, by key; any number of processes share it.

    It never makes a job fail. What the machine refuses (space, permission, locks) costs speed only:
    the result is made without the cache, with one warning. Threads and forked processes may share
    an object.

    A key is any nesting of tuples, lists, dicts, sets, texts, bytes, numbers, booleans, None,
    `Path` (the file as it is now) and functions (their code, and the values that it reads).

    Args:
        path: The folder of the cache; by default the user's own cache folder.
        max_bytes: What all entries may take on disk, in bytes; 10 GiB by default. None means no
            limit, 0 keeps nothing. The entries that were used longest ago go first, but none in
            use.
        disk_free_min: What stays free on the disk, in bytes; 1 GiB by default.
        by_content: Whether a file in a key is told by its name and content, not by its place and
            times. False by default.

    Raises:
        UsageError: A size is no number of bytes. Nothing was read or written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        max_bytes: int | None = 10 * GIGABYTE,
        disk_free_min: int = GIGABYTE,
        by_content: bool = False,
    ) -> None:
        self._settings = (max_bytes, disk_free_min, by_content)
        _check_count("max_bytes", max_bytes, may_be_none=True)
        _check_count("disk_free_min", disk_free_min)
        self._layout = CacheLayout(
            os.path.abspath(local_path(path) if path is not None else default_folder())
        )
        self._counter = Counter(self._layout)
        self._identifier = Identifier(by_content=by_content)
        self._boot = Machine().observe_boot()
        self._kept = KeptEntries(self._layout, self._boot)
        self._budget = Budget(
            self._layout,
            self._counter,
            self._boot,
            max_bytes=max_bytes,
            disk_free_min=disk_free_min,
        )
        self._is_off = is_disabled()
        self._has_warned = False
        self._locks = KeyLocks(self._layout, self._counter)

    @property
    def path(self) -> Path:
        """The folder of the cache."""
        return Path(self._layout.root)

    def __reduce__(self) -> tuple[Any, ...]:
        """A cache of the same place, which a worker of a fresh interpreter uses."""
        return _reopen, (self._layout.root, *self._settings)

    def __repr__(self) -> str:
        return f"Cache({self._layout.root!r})"

    def get_or_create(
        self, key: Any, build: Callable[[Path], object], *, should_check: bool = False
    ) -> CacheEntry:
        """Take the entry of a key; if there is none, have `build` fill its folder.

        One process builds a key at a time, and others wait for it. A build is not kept if it leaves
        no file, or if its input files change meanwhile.

        Args:
            key: What the entry is made of, with all that `build` uses.
            build: Called with the folder to fill, a `Path`. If the cache's disk fails, it is called
                once more, with another folder.
            should_check: Whether to read a kept entry through before it is used. False by default.

        Returns:
            The entry, to be used in a `with` block.

        Raises:
            UsageError: The key has no identity, or the build asks for its own entry. Nothing was
                kept.
            StorageError: A temporary folder can't be made either. Nothing was kept.
        """
        return self._obtain(key, FolderMaking(build, self._let_go), should_check)

    def get(self, key: Any, *, should_check: bool = False) -> CacheEntry | None:
        """Look for the entry of a key; nothing is built.

        Args:
            key: What the entry is made of.
            should_check: Whether to read the entry through first. False by default.

        Returns:
            The entry, to be used in a `with` block; None if there is none.

        Raises:
            UsageError: The key has no identity. Nothing was changed.
        """
        making = FolderMaking(_build_nothing, self._let_go)
        identity = None if self._is_off else self._identify(key, FolderMaking)
        found = self._find(identity, making, should_check) if identity is not None else None
        return None if found is None else found[0]

    def get_or_compute(self, key: Any, compute: Callable[[], Result]) -> Result:
        """Take the value of a key; if there is none, compute it and keep it.

        A value of other than plain types (see the guide) is kept as a pickle. A pickle is code, so
        it is used only where nobody else can have written it.

        Args:
            key: What the value is made of, with all that `compute` uses.
            compute: Called without arguments; returns the value. What it raises is raised, and
                nothing is kept.

        Returns:
            The value.

        Raises:
            UsageError: The key has no identity, or `compute` asks for its own key. Nothing was
                kept.
        """
        value: Result = self._obtain(key, ValueMaking(compute), False)
        return value

    async def get_or_await(self, key: Any, compute: Callable[[], Awaitable[Result]]) -> Result:
        """Take the value of a key; if there is none, await it and keep it.

        Unlike `get_or_compute`, it may await several values for one key at a time.

        Args:
            key: What the value is made of, with all that `compute` uses.
            compute: Called without arguments, and awaited; returns the value. What it raises is
                raised, and nothing is kept.

        Returns:
            The value.

        Raises:
            UsageError: The key has no identity. Nothing was kept.
        """
        if self._is_off:
            return await compute()
        identity = self._identify(key, ValueMaking)
        if identity is None:
            return await compute()
        found = self._find(identity, ValueMaking(lambda: None), False)
        if found is not None:
            return cast(Result, found[0])
        made = await compute()
        self._work(identity, ValueMaking(lambda: made), False)
        return made

    def memo(self, function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        """Keep the results of a function, by its code and all its arguments.

        Arguments count by name; one that is left out counts as its default. Errors are not kept.

        Args:
            function: The function; it may be `async def`.

        Returns:
            A function that is called in the same way.

        Raises:
            UsageError: When it is called: an argument has no identity. Nothing was kept.
        """
        from batten.cache.memo import remember

        return remember(self, function)

    def statistics(self) -> Statistics:
        """Count what the cache did and holds; looks at every entry.

        Returns:
            The counts. What can't be read is left out.
        """
        sizes: list[int] = []
        total = Counts()
        with suppress(OSError):
            sizes.extend(size for _, size in scan_sizes(self._layout))
        with suppress(OSError):
            total = load_total(self._layout)
        process = self._counter.snapshot()
        return Statistics(process=process, total=total, entries=len(sizes), bytes=sum(sizes))

    def _obtain(self, key: Any, making: Making[Made], should_check: bool) -> Made:
        identity = None if self._is_off else self._identify(key, type(making))
        if identity is None:
            return making.apart()
        found = self._find(identity, making, should_check)
        return self._work(identity, making, should_check) if found is None else found[0]

    def _find(
        self, identity: KeyIdentity, making: Making[Made], should_check: bool
    ) -> tuple[Made] | None:
        found = None
        try:
            found = making.find(self._kept, identity.digest, should_check=should_check)
        except (OSError, Strange) as error:
            self._degrade(error)
        self._counter.add("misses" if found is None else "hits")
        return found

    def _identify(self, key: Any, kind: type) -> KeyIdentity | None:
        """None if the machine does not let it be known. The two kinds of entries have keys of
        their own."""
        try:
            return self._identifier.identify((kind.__name__, key))
        except OSError as error:
            self._degrade(error)
            return None

    def _work(self, identity: KeyIdentity, making: Making[Made], should_check: bool) -> Made:
        with self._locks.building(identity.digest):
            # This comes before anything is written: leftovers may be what fills the disk.
            with suppress(OSError):
                sweep_if_due(self._layout, self._counter)
            try:
                lock = self._locks.lock(identity.digest)
            except OSError as error:
                self._degrade(error)
                return making.apart()
            try:
                return self._create(identity, making, should_check)
            finally:
                self._locks.unlock(identity.digest, lock)

    def _create(self, identity: KeyIdentity, making: Making[Made], should_check: bool) -> Made:
        """Under the key's lock."""
        key = identity.digest
        try:
            found = making.find(self._kept, key, should_check=should_check)
            if found is not None:
                return found[0]
            aside = self._kept.set_aside(key)
            if aside is not None:
                self._counter.add("set_aside")
                self._budget.forget(aside)
            draft = Draft(self._layout, key, has_files=making.has_files)
        except (OSError, Strange) as error:
            self._degrade(error)
            return making.apart()
        self._counter.add("builds")
        try:
            making.fill(draft)
        except BaseException as error:
            is_of_cache = isinstance(error, OSError) and making.is_of_cache(error, draft)
            draft.discard()
            if not is_of_cache:
                raise
            self._degrade(error)
            return making.apart()
        try:
            return self._publish(identity, making, draft, should_check)
        except BaseException:
            draft.discard()
            raise

    def _publish(
        self, identity: KeyIdentity, making: Making[Made], draft: Draft, should_check: bool
    ) -> Made:
        key, publication = identity.digest, Publication.NO_ROOM
        final = self._layout.entry(key)
        try:
            if identity.are_inputs_unchanged():
                size = making.seal(draft, self._boot)
                if size:
                    publication = self._budget.publish(draft.path, key, size)
        except Strange as error:
            self._warn(f"an entry was not kept: {error}")
        except OSError as error:
            self._degrade(error)
            # It may have taken its place or not, so it is looked up.
            with suppress(OSError):
                if draft.held.find_status(f"{final}/{MANIFEST}") is not None:
                    publication = Publication.DONE
        if publication is Publication.DONE:
            return making.kept(draft, f"{final}/{FILES}")
        if publication is Publication.OCCUPIED:
            with suppress(OSError, Strange):
                found = making.find(self._kept, key, should_check=should_check, is_hit=False)
                if found is not None:
                    draft.discard()
                    return found[0]
        self._counter.add("publish_failures")
        return making.private(draft)

    def _let_go(self, held: Held) -> None:
        with suppress(OSError):
            held.release()
            if self._budget.held_over:
                self._budget.settle()

    def _degrade(self, error: BaseException) -> None:
        self._counter.add("failures")
        self._warn(f"it can't be used: {error}. Results are made without it")

    def _warn(self, what: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            _log.warning("cache %s: %s", escape(self._layout.root), escape(what))


def _build_nothing(folder: Path) -> None:
    """The build of a lookup that builds nothing."""


def _check_count(name: str, value: object, *, may_be_none: bool = False) -> None:
    if value is None and may_be_none:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise usage_error(
            f"{name} is {value!r}.",
            "Give a number of bytes" + (", or None for no limit." if may_be_none else "."),
        )


def _reopen(path: str, max_bytes: int | None, disk_free_min: int, by_content: bool) -> Cache:
    return Cache(path, max_bytes=max_bytes, disk_free_min=disk_free_min, by_content=by_content)

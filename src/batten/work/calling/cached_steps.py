"""Results of a step that are kept in a cache, by item."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batten.errors import StorageError, usage_error
from batten.model.json_text import parse_json
from batten.model.telling.commands import as_path, command
from batten.storage.addresses import local_path
from batten.storage.failures import tell_reason
from batten.storage.local.folder import LocalStorage

if TYPE_CHECKING:
    from batten.cache.cache import Cache
    from batten.jobs.step import Step
    from batten.work.calling.holding import Hold


def choose_cache(wanted: Any, folder: Path) -> Cache | None:
    """The cache that `cache=` of a step means: True is the user's own, a path is relative to
    `folder`. Raises `UsageError`."""
    if wanted is None or wanted is False:
        return None
    from batten.cache.cache import Cache

    if isinstance(wanted, Cache):
        return wanted
    if wanted is True:
        return Cache()
    if isinstance(wanted, str | os.PathLike):
        return Cache(folder / local_path(wanted))
    raise usage_error(f"cache is {wanted!r}.", "Give True, a folder, or a batten.Cache.")


class KeptResults:
    """What one step gives for an item, made once. The key is the step's kind, its function (with
    the `version` of what in it can't be compared), and the item."""

    def __init__(self, step: Step, cache: Cache) -> None:
        from batten.fingerprint.loaded import digest_loaded

        self._cache = cache
        self._step = (step.kind, digest_loaded(step.function, version=step.version))

    def get_or_compute(self, item: Any, compute: Callable[[], Any]) -> Any:
        return self._cache.get_or_compute((self._step, item), compute)

    def get_or_write(self, item: Any, compute: Callable[[], Any], hold: Hold) -> Any:
        """As `get_or_compute`, for what is files: those lie in the cache, and their copies are
        given."""
        with self._cache.get_or_create(
            (self._step, item, "files"), partial(_build, compute, hold)
        ) as entry:
            files = LocalStorage(entry.path)
            try:
                return _give(parse_json(files.read(_SHAPE)), files, hold)
            except (ValueError, RecursionError, FileNotFoundError) as error:
                raise _unreadable(self._cache.path, entry.path, error) from error

    async def get_or_await(self, item: Any, compute: Callable[[], Awaitable[Any]]) -> Any:
        return await self._cache.get_or_await((self._step, item), compute)


_SHAPE = "files.json"
"""In an entry: the numbers of the files, in the lists and dicts that a function gave them in."""


def _build(compute: Callable[[], Any], hold: Hold, folder: Path) -> None:
    count = itertools.count()

    def store(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: store(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [store(each) for each in value]
        number = next(count)
        hold.copy_to(value, folder / str(number))
        return number

    shape = store(compute())
    (folder / _SHAPE).write_text(json.dumps(shape))


def _give(shape: Any, files: LocalStorage, hold: Hold) -> Any:
    """Raises `ValueError` for what `_build` never writes: an entry may be anybody's."""
    if isinstance(shape, dict):
        return {name: _give(each, files, hold) for name, each in shape.items()}
    if isinstance(shape, list):
        return [_give(each, files, hold) for each in shape]
    if type(shape) is not int or shape < 0:
        raise ValueError("it names what is no file of the entry")
    with files.open(str(shape)) as file:
        return hold.write(file)


def _unreadable(cache: Path, folder: Path, error: Exception) -> StorageError:
    reason = tell_reason(error)
    if isinstance(error, RecursionError):
        reason = "it is nested too deeply"
    if isinstance(error, FileNotFoundError):
        reason = "a file of the entry is gone"
    set_aside = command("cache", "verify", "--set-aside", as_path(str(cache)))
    return StorageError(
        f"{folder / _SHAPE}, in the cache, can't be read: {reason}.",
        safe="No item was made of it; what was published stays.",
        next=f"Set damaged entries aside, then run again: {set_aside}",
    )


def find_kept(step: Step) -> KeptResults | None:
    """None if the step's results are not kept."""
    return None if step.cache is None else KeptResults(step, step.cache)

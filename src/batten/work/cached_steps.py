"""Results of a step that are kept in a cache, by item."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batten.errors import UsageError
from batten.storage.addresses import local_path

if TYPE_CHECKING:
    from batten.cache.cache import Cache
    from batten.jobs.step import Step


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
    raise UsageError(
        f"cache is {wanted!r}.",
        safe="Nothing was read or written.",
        next="Give True, a folder, or a batten.Cache.",
    )


class KeptResults:
    """What one step gives for an item, made once. The key is the step's kind, its function (with
    the `version` of what in it can't be compared), and the item."""

    def __init__(self, step: Step, cache: Cache) -> None:
        from batten.fingerprint.loaded import digest_loaded

        self._cache = cache
        self._step = (step.kind, digest_loaded(step.function, version=step.version))

    def get_or_compute(self, item: Any, compute: Callable[[], Any]) -> Any:
        return self._cache.get_or_compute((self._step, item), compute)

    async def get_or_await(self, item: Any, compute: Callable[[], Awaitable[Any]]) -> Any:
        return await self._cache.get_or_await((self._step, item), compute)


def find_kept(step: Step) -> KeptResults | None:
    """None if the step's results are not kept."""
    return None if step.cache is None else KeptResults(step, step.cache)

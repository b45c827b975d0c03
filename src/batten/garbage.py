"""Where no garbage is looked for: while much is imported or read that stays and has no cycles.

Each look of the collector goes over all that is there, and finds nothing. That takes a tenth of the
time in which a run starts.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Within it no garbage is looked for. After it, all that there is counts as old, unless
    something is kept for good."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            _make_old()
            gc.enable()


def keep_for_good() -> None:
    """What there is stays until the process ends: no look of the collector goes over it."""
    gc.freeze()
    _Kept.is_something = True


class _Kept:
    """Whether something is kept for good. To count it takes as long as to look at it."""

    is_something = False


def _make_old() -> None:
    """Otherwise the next object that is made begins a look over all of it."""
    if _Kept.is_something:
        return
    if gc.get_freeze_count():
        _Kept.is_something = True
        return
    gc.freeze()
    gc.unfreeze()

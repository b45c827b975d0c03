"""The lock of an output, with who holds it."""

from __future__ import annotations

from dataclasses import replace

from batten.errors import BusyError
from batten.model.disk.names import CONTROL_SUFFIX, Layout
from batten.model.disk.runs.holders import Holder
from batten.storage.base import Lock, Store
from batten.storage.local.locking.locks import busy_error, current_holder
from batten.storage.machine import Machine


def take_lock(storage: Store, layout: Layout, output: str) -> Lock:
    """The lock of an output, which a message calls `output`. Raises `BusyError`."""
    try:
        return storage.lease(layout.lock, _describe_self())
    except BusyError:
        raise busy_error(output + CONTROL_SUFFIX, storage.observe_lock(layout.lock)) from None


def _describe_self() -> Holder:
    """This process, with what the kernel has counted so far. A run that is killed while it plans
    leaves nothing else."""
    kills = Machine().count_memory_kills()
    counted = {"in_group": kills.in_group, "on_machine": kills.on_machine}
    return replace(
        current_holder(),
        memory_group=kills.group,
        memory_kills={name: count for name, count in counted.items() if count is not None},
    )

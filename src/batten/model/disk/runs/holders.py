"""Who holds a lock or a lease, as its file says."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

from batten.model.disk.bounds import (
    Count,
    Many,
    Name,
    Number,
    Version,
)
from batten.model.value_class import value_class
from batten.model.words import FORMAT_VERSION

PID_MAX = 1 << 22
"""The kernel gives no larger number to a process."""


@value_class
class Holder:
    """The text of a lock: who holds it. `since` is UTC, `boot` the kernel's boot id, and
    `pid_namespace` that in which `pid` counts (containers have their own). `memory_group` and
    `memory_kills` are what the kernel counted when the lock was taken: in that control group and on
    the machine, where it tells; no numbers in a record of 0.1."""

    pid: Annotated[int, Number(0, PID_MAX)]
    host: Name
    since: Name
    boot: Name
    pid_namespace: Name = ""
    memory_group: Name = ""
    memory_kills: Annotated[dict[str, Count], Many(2)] = field(default_factory=dict)


@value_class
class Lease:
    """Who is at work on a store that has no lock. `epoch` counts those that had it, and `nonce`
    tells this one from all others. Where it is not `is_held` it was given back."""

    epoch: Count
    nonce: Name
    is_held: bool
    holder: Holder
    format_version: Version = FORMAT_VERSION

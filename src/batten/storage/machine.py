"""What this machine, and the container around this process, say of memory, processors and space.

Reads only. Whatever can't be read is None: these are facts for checks and hints.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from batten.model.value_class import value_class

_UNLIMITED_BYTES = 1 << 60
"""The first version of control groups writes "no limit" as a number beyond this."""


@value_class
class MemoryKills:
    """How many processes the kernel has killed for want of memory since it started: in the control
    group `group` (a container, a service), and on the whole machine."""

    group: str
    in_group: int | None
    on_machine: int | None


@value_class
class MemoryRoom:
    """`limit_bytes`: what this process and its like may use in all; `available_bytes`: what is left
    of that now. `is_container`: the limit is the control group's, not the machine's memory."""

    limit_bytes: int
    available_bytes: int
    is_container: bool


class Machine:
    """The machine as it is now. `proc` and `groups` are where the kernel shows itself."""

    def __init__(self, proc: str = "/proc", groups: str = "/sys/fs/cgroup") -> None:
        self._proc = str(proc)
        self._groups = str(groups)

    def observe_boot(self) -> str:
        """The kernel's boot id: another one after each restart; empty if it is not known."""
        return next(iter(_lines(f"{self._proc}/sys/kernel/random/boot_id")), "")

    def count_memory_kills(self) -> MemoryKills:
        folder = self._find_group()
        in_group = None
        if folder is not None:
            for name in ("memory.events", "memory.oom_control"):
                in_group = _field(f"{folder}/{name}", "oom_kill") if in_group is None else in_group
        return MemoryKills(
            group=folder or "",
            in_group=in_group,
            on_machine=_field(f"{self._proc}/vmstat", "oom_kill"),
        )

    def observe_memory(self) -> MemoryRoom | None:
        """The narrowest limit that holds here, and what is left of it."""
        rooms = list(self._list_rooms())
        return min(rooms, key=lambda room: room.available_bytes, default=None)

    def _list_rooms(self) -> Iterator[MemoryRoom]:
        meminfo = f"{self._proc}/meminfo"
        total, available = _field(meminfo, "MemTotal:"), _field(meminfo, "MemAvailable:")
        if total is not None and available is not None:
            yield MemoryRoom(
                limit_bytes=total << 10, available_bytes=available << 10, is_container=False
            )
        folder = self._find_group()
        while folder is not None and folder != os.path.dirname(self._groups):
            limit = _number(folder, "memory.max", "memory.limit_in_bytes")
            used = _number(folder, "memory.current", "memory.usage_in_bytes")
            if limit is not None and used is not None and limit < _UNLIMITED_BYTES:
                stat = f"{folder}/memory.stat"
                cached = _field(stat, "inactive_file") or _field(stat, "total_inactive_file") or 0
                yield MemoryRoom(
                    limit_bytes=limit,
                    available_bytes=max(0, limit - max(0, used - cached)),
                    is_container=True,
                )
            folder = os.path.dirname(folder)

    def _find_group(self) -> str | None:
        """The folder of the control group that limits memory here. In a container the kernel may
        tell a path that only the host can see; then the top is ours."""
        for line in _lines(f"{self._proc}/self/cgroup"):
            number, controllers, path = (*line.split(":", 2), "", "")[:3]
            if "memory" in controllers.split(","):
                base = f"{self._groups}/memory"
            elif (number, controllers) == ("0", ""):
                base = self._groups
            else:
                continue
            for folder in (f"{base}/{path.strip('/')}".rstrip("/"), base):
                if _has_memory(folder):
                    return folder
        return None


def find_free_bytes(folder: str) -> int | None:
    """What a process without privileges can still write on the filesystem of the folder."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return None
    return status.f_bavail * status.f_frsize


def is_read_only(folder: str) -> bool:
    """Whether the filesystem of the folder is mounted so that nobody can write there."""
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _has_memory(folder: str) -> bool:
    return any(
        os.path.exists(f"{folder}/{name}") for name in ("memory.events", "memory.oom_control")
    )


def _number(folder: str, *names: str) -> int | None:
    for name in names:
        text = next(iter(_lines(f"{folder}/{name}")), "")
        if text.isdecimal():
            return int(text)
    return None


def _field(path: str, name: str) -> int | None:
    for line in _lines(path):
        words = line.split()
        if len(words) >= 2 and words[0] == name and words[1].isdecimal():
            return int(words[1])
    return None


def _lines(path: str) -> list[str]:
    try:
        with open(path, errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def count_processors() -> int:
    """Those that it is allowed to use, where the system tells; else all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

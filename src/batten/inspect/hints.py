"""What likely ended the last run, and whether the next is likely to end the same way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from batten.errors import StorageError
from batten.inspect.runs import RunLog, list_runs, read_run
from batten.inspect.sizes import show_bytes
from batten.model.names import Layout
from batten.storage.base import Storage

_NEARLY_FULL_BYTES = 1 << 30
_NEARLY_FULL_SHARE = 0.02
_ITEMS_SHOWN = 8


def find_hints(storage: Storage, layout: Layout) -> list[str]:
    """Hints about the last run and the machine as it is now. For a place that no live run holds."""
    runs = list_runs(storage, layout)
    hints = list(_hint_run(storage, layout, read_run(storage, layout, runs[-1]))) if runs else []
    return hints + list(_hint_disk(storage.place)) + list(_hint_memory())


def _hint_run(storage: Storage, layout: Layout, run: RunLog) -> Iterator[str]:
    for signal in run.signals:
        name = _text(signal, "signal") or _text(signal, "name") or "a signal"
        yield f"the last run was sent {name} at {_text(signal, 'time') or 'an unknown time'}"
    if run.stop is None:
        yield "the last run was killed: no stop was logged"
        yield from _hint_in_flight(storage, layout, run.run)
        yield from _hint_restart(run)
    elif error := _describe_error(run.stop.get("error")):
        yield f"the last run stopped by itself ({_text(run.stop, 'status')}): {error}"


def _hint_restart(run: RunLog) -> Iterator[str]:
    boot, host = _text(run.start, "boot"), _text(run.start, "host")
    here = os.uname().nodename
    if host and host != here:
        yield f"the last run was on {host}, this is {here}"
    elif boot and (now := _read_line("/proc/sys/kernel/random/boot_id")):
        yield (
            "the machine has not restarted since"
            if boot == now
            else "the machine has restarted since"
        )


def _hint_in_flight(storage: Storage, layout: Layout, run: str) -> Iterator[str]:
    try:
        data = storage.read(layout.in_flight(run))
    except (FileNotFoundError, StorageError):
        return
    from batten.executors.marks import read_in_flight

    items = read_in_flight(data)
    if items:
        shown = ", ".join(map(str, items[:_ITEMS_SHOWN]))
        more = f" and {len(items) - _ITEMS_SHOWN} more" if len(items) > _ITEMS_SHOWN else ""
        noun = "item" if len(items) == 1 else "items"
        yield f"in hand when it was killed: {noun} {shown}{more} of the plan, counted from 0"


def _hint_disk(place: str) -> Iterator[str]:
    try:
        status = os.statvfs(place)
    except OSError:
        return
    free, whole = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
    if free < min(_NEARLY_FULL_BYTES, whole * _NEARLY_FULL_SHARE):
        yield f"the disk is nearly full: {show_bytes(free)} free; the next run may end for that"
    elif status.f_files and not status.f_favail:
        yield "the filesystem has no room for more files; the next run may end for that"


def _hint_memory() -> Iterator[str]:
    """The group's own count tells of a container; it says nothing of which process it was."""
    for line in _read_lines("/proc/self/cgroup"):
        kind, _, path = line.partition("::")
        if kind != "0":
            continue
        for event in _read_lines(f"/sys/fs/cgroup{path}/memory.events"):
            name, _, count = event.partition(" ")
            if name == "oom_kill" and count.isdigit() and int(count):
                yield (
                    f"out of memory: the kernel has killed {count} of this container's processes "
                    "since it started; fewer --jobs use less"
                )


def _describe_error(error: Any) -> str:
    if isinstance(error, dict):
        error = error.get("what")
    return error.splitlines()[0] if isinstance(error, str) and error else ""


def _text(event: dict[str, Any], name: str) -> str:
    value = event.get(name)
    return value if isinstance(value, str) else ""


def _read_line(path: str) -> str:
    return next(iter(_read_lines(path)), "")


def _read_lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []

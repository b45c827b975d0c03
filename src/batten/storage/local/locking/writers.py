"""Who has a file open for writing now, as the kernel tells."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from batten.model.value_class import value_class

_WRITING = os.O_WRONLY | os.O_RDWR


@value_class
class Writers:
    """The processes that write to any of some files, and how many could not be asked, being of
    other users."""

    pids: tuple[int, ...]
    hidden: int


def find_writers(paths: Iterable[str]) -> Writers:
    """Looks at the open files of every process that this one may ask. A process that has closed its
    file, or has not opened it yet, is not seen; nor is one on another machine."""
    wanted = set()
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            continue
        wanted.add((status.st_dev, status.st_ino))
    pids, hidden = [], 0
    for name in os.listdir("/proc") if wanted else ():
        if not name.isdecimal():
            continue
        try:
            if any(each in wanted for each in _list_written(f"/proc/{name}")):
                pids.append(int(name))
        except PermissionError:
            hidden += 1
        except OSError:
            continue  # It has ended meanwhile.
    return Writers(pids=tuple(sorted(pids)), hidden=hidden)


def _list_written(process: str) -> Iterator[tuple[int, int]]:
    """Device and number of each file that the process has open for writing."""
    for descriptor in os.listdir(f"{process}/fd"):
        try:
            status = os.stat(f"{process}/fd/{descriptor}")
            with open(f"{process}/fdinfo/{descriptor}") as file:
                flags = next(line for line in file if line.startswith("flags:"))
        except (FileNotFoundError, StopIteration):
            continue
        if int(flags.split()[1], 8) & _WRITING:
            yield status.st_dev, status.st_ino

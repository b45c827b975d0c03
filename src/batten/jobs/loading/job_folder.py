"""Where the job file lies while it is loaded, and where an output can't lie.

Relative paths in a job file are relative to its folder.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from batten.errors import UNTOUCHED, RefusedError, StorageError
from batten.ledger.facts.locating import find_dataset_around, is_output
from batten.model.disk.names import Layout
from batten.model.disk.trees.tree_names import TreeLayout
from batten.model.telling.commands import command
from batten.storage.addresses import shown_path
from batten.storage.failures import reading_failure
from batten.storage.local.there import exists, is_folder, is_link, lies

job_folder: ContextVar[Path | None] = ContextVar("job_folder", default=None)


def current_folder() -> Path:
    """The folder of the job file that is being loaded, else the process's own."""
    return job_folder.get() or Path.cwd()


def show_path(path: Path | str) -> str:
    """The path as one would name it from the current folder; of an address, the address."""
    return path if isinstance(path, str) else shown_path(str(path))


def refuse_place(output: Path, own: Path | None = None) -> None:
    """Raises `RefusedError` for an output that lies within another dataset than the job's `own`."""
    with _looking_at(output):
        found = find_dataset_around(output)
    if found is not None and (own is None or found != Path(os.path.abspath(own))):
        raise _refusal(
            f"{show_path(output)} lies within another dataset: {show_path(found)}.",
            "Write to a place of its own.",
        )


def refuse_output(folder: Path) -> None:
    """Raises `RefusedError` for a folder into which a job writes."""
    with _looking_at(folder):
        is_of_job = is_output(folder)
    if is_of_job:
        raise _refusal(
            f"{show_path(folder)} is the output of a job.",
            "Name a folder of its own. What is there: " + command("diagnose", show_path(folder)),
        )


def refuse_tree(output: Path, own: Collection[Path]) -> None:
    """Raises `RefusedError` for a folder that transactions change, unless the pipeline puts its
    items into it: `own` are the trees of its sinks. A dataset of whose folder somebody took a
    tree's lock is still a dataset."""
    absolute = os.path.abspath(output)
    layout, dataset = TreeLayout(root=absolute), Layout(absolute)
    with _looking_at(output):
        is_tree = lies(layout.control)
        is_dataset = exists(Path(dataset.config)) and not exists(Path(layout.journal))
    if is_tree and not is_dataset and os.path.realpath(output) not in map(os.path.realpath, own):
        raise _refusal(
            f"{show_path(output)} is a tree of files that transactions change.",
            "Write to a place of its own. What is there: " + command("diagnose", show_path(output)),
        )


def refuse_folder(output: Path) -> None:
    """Raises what forbids to keep parts there: `RefusedError` for a symbolic link, which can't be
    exchanged for the dataset that replaces it; `StorageError` for a mount point, into which nothing
    can be renamed from beside it."""
    absolute = Path(os.path.abspath(output))
    with _looking_at(output):
        links = is_link(absolute)
        is_mount = not links and _is_mount(absolute)
    if links:
        raise _refusal(
            f"{show_path(output)} is a symbolic link.",
            f"Name the folder itself: {_show_target(absolute)}; what batten keeps beside it "
            "must lie there, too.",
        )
    if is_mount:
        raise StorageError(
            f"{show_path(output)} and its folder are on different filesystems.",
            safe=UNTOUCHED,
            next="Put the output and its .batten folder on one filesystem: name a folder in "
            f"{show_path(output)}.",
            errno=errno.EXDEV,
        )


def refuse_file(path: Path, parts: Path | None) -> None:
    """Raises `RefusedError` for a file of all rows that would take the place of a symbolic link, or
    lie in the folder of the `parts`, where readers would take it for one."""
    absolute = Path(os.path.abspath(path))
    with _looking_at(path):
        links = is_link(absolute)
    if links:
        raise _refusal(
            f"{show_path(path)} is a symbolic link, which a file would replace.",
            f"Name the file itself: {_show_target(absolute)}; or remove the link.",
        )
    if parts is not None and Path(os.path.abspath(parts)) in absolute.parents:
        raise _refusal(
            f"{show_path(path)} lies in {show_path(parts)}, the folder of the parts.",
            "Write the file to another folder.",
        )


def _refusal(what: str, next: str) -> RefusedError:
    return RefusedError(what, safe=UNTOUCHED, next=next)


def _is_mount(path: Path) -> bool:
    return is_folder(path) and path.stat().st_dev != path.parent.stat().st_dev


def _show_target(link: Path) -> str:
    return show_path(Path(os.path.realpath(link)))


@contextmanager
def _looking_at(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise reading_failure(error, "Looking at", show_path(path)) from error

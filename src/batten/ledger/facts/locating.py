"""Where the parts of an output lie, seen from the disk alone."""

from __future__ import annotations

import os
from pathlib import Path

from batten.errors import StorageError
from batten.model.disk.names import CONTROL_SUFFIX, Layout
from batten.model.disk.records import Config, Unreadable, decode_record
from batten.storage.base import Store
from batten.storage.local.there import exists

_FILE_SUFFIX = ".parquet"
"""By it a job's Parquet output is one file, and not a folder."""


def find_layout(storage: Store, output: str) -> Layout:
    """The layout of the output. Its parts lie in its control folder in two cases: there is a place
    for them, or the output is a file and no record says that it should be a folder."""
    layout = Layout(output)
    inside = Layout(output, is_inside=True)
    try:
        control, found = storage.find(layout.control), storage.find(output)
    except StorageError:
        return layout
    if control is None or not control.is_folder:
        return layout
    is_file = found is not None and not found.is_folder
    try:
        has_place = storage.find(inside.data) is not None
        return inside if has_place or (is_file and _may_be_file(storage, layout)) else layout
    except StorageError:
        return inside if is_file else layout


def find_dataset_around(path: str | os.PathLike[str]) -> Path | None:
    """The folder of a dataset in which the path lies, as it is written or by the links that it
    passes: that of its parts, or its control folder. Raises `OSError`."""
    for way in dict.fromkeys((os.path.abspath(path), os.path.realpath(path))):
        for folder in Path(way).parents:
            if _holds_dataset(folder):
                return folder
    return None


def _holds_dataset(folder: Path) -> bool:
    other = Layout(folder.name)
    has_parts_inside = exists(folder.parent / Layout(folder.name, is_inside=True).data)
    is_control = folder.name.endswith(CONTROL_SUFFIX) and exists(folder / "dataset.json")
    return is_control or (exists(folder.parent / other.config) and not has_parts_inside)


def is_output(path: str | os.PathLike[str]) -> bool:
    """Whether a job's records lie beside it. Raises `OSError`."""
    real = Path(os.path.realpath(path))
    return exists(real.parent / Layout(real.name).config)


def _may_be_file(storage: Store, layout: Layout) -> bool:
    """Whether the job's output may be a file, by what is recorded of it."""
    try:
        kind = decode_record(Config, storage.read(layout.config)).sink
    except FileNotFoundError:
        return True
    except Unreadable:
        return False
    return kind != "parquet" or layout.output.endswith(_FILE_SUFFIX)

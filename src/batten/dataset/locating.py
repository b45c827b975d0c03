"""Where the parts of an output lie, seen from the disk alone."""

from __future__ import annotations

from dataclasses import replace

from batten.errors import StorageError
from batten.model.names import Layout
from batten.storage.base import Storage


def find_layout(storage: Storage, output: str) -> Layout:
    """The layout of the output: its parts lie in its control folder where there is a place for
    them, or where the output is a file and it is not known yet what made it."""
    layout = Layout(output)
    inside = replace(layout, is_inside=True)
    try:
        control, found = storage.find(layout.control), storage.find(output)
        if control is None or not control.is_folder:
            return layout
        if storage.find(inside.data) is not None:
            return inside
        is_file = found is not None and not found.is_folder
        return inside if is_file and storage.find(layout.config) is None else layout
    except StorageError:
        return layout

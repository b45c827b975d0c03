"""Files of an Iceberg table, as its library writes them, durable when they are closed.

A catalogue names a table's metadata, and that names everything else: so all of it must be durable
before the catalogue is told. The library is given this class by its name.
"""

from __future__ import annotations

import io
import os

from pyiceberg.io import OutputFile, OutputStream
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

from batten.storage.local.folder import LocalStorage
from batten.storage.relative import folder_of


def find_local_name(location: str) -> str | None:
    """The name in a storage of the whole machine, or None for what is elsewhere. The folders of a
    table are the user's, and may be links: the name holds none."""
    scheme, _, path = PyArrowFileIO.parse_location(location)
    return os.path.realpath(path).lstrip("/") if scheme == "file" else None


class SyncedFiles(PyArrowFileIO):
    """Like that of the library, but for new files of this machine."""

    def new_output(self, location: str) -> PyArrowFile:
        made = super().new_output(location)
        name = find_local_name(location)
        if name is not None:
            made.create = _Creation(made, name)  # type: ignore[method-assign]
        return made


class _Creation:
    def __init__(self, file: OutputFile, name: str) -> None:
        self._file = file
        self._name = name

    def __call__(self, overwrite: bool = False) -> OutputStream:
        if not overwrite and self._file.exists():
            raise FileExistsError(self._file.location)
        return _SyncedStream(self._name)


class _SyncedStream(io.BytesIO):
    """Held in memory, since it is small, and written as it is closed."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def close(self) -> None:
        if self.closed:
            return
        storage = LocalStorage("/")
        storage.ensure_folder(folder_of(self._name))
        storage.stage(self._name, self.getvalue(), is_synced=True)
        storage.sync_names(folder_of(self._name))
        super().close()

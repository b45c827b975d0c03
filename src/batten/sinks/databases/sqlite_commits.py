"""What SQLite shows as committed, made durable by who finds it.

A commit ends with a change to a journal beside the database, and a sync of that. The process may be
killed between the two. Then everybody sees what was committed, and a power cut takes it back. So
who takes it for done syncs first. The database itself is synced before its journal changes.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from batten.errors import StorageError
from batten.storage.local.tree import open_tree

_JOURNALS = ("-journal", "-wal")


def make_commits_durable(database: Path) -> None:
    """Raises `StorageError` if the disk fails."""
    folder, name = os.path.split(os.path.realpath(database))
    storage = open_tree(folder)
    for ending in _JOURNALS:
        try:
            storage.sync_file(f"{name}{ending}")
        except StorageError as error:
            if error.errno != errno.ENOENT:
                raise
    storage.sync_names("")

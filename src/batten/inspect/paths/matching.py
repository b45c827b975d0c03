"""The paths that a pattern finds, and whether that can be known.

`glob` takes a folder that may not be read for an empty one.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator

from batten.storage.failures import reading_failure


def match_paths(pattern: str) -> Iterator[str]:
    """Raises `StorageError` if the folder that the pattern begins with can't be read."""
    _list_names(_find_fixed_folder(pattern))
    return glob.iglob(pattern)


def list_files(path: str) -> Iterator[str]:
    """The path itself, or if it is a folder all files below it. Raises as `match_paths` does."""
    if not os.path.isdir(path) or os.path.islink(path):
        yield path
        return
    for name in _list_names(path):
        yield from list_files(f"{path.rstrip('/')}/{name}")


def _find_fixed_folder(pattern: str) -> str:
    folder = os.path.dirname(pattern)
    while glob.has_magic(folder):
        folder = os.path.dirname(folder)
    return folder


def _list_names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder or "."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise reading_failure(error, "Listing", folder) from error

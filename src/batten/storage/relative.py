"""Names relative to a storage: checked, and taken apart."""

from __future__ import annotations


def check_name(name: str) -> str:
    """The name itself. Raises `ValueError` for a name that is absolute, or that holds an empty
    piece, `.` or `..`. So no name leads out of the storage, and no file has two names."""
    guarded = f"/{name}/"
    if "//" in guarded or "/../" in guarded or "/./" in guarded or "\0" in name:
        raise ValueError(f"not a name within a storage: {name!r}")
    return name


def check_folder(folder: str) -> str:
    """`check_name` for a folder, which may also be the storage itself: the empty name."""
    return check_name(folder) if folder else folder


def folder_of(name: str) -> str:
    """The folder that a file or folder lies in; empty for the storage itself."""
    return name.rpartition("/")[0]


def last_piece(name: str) -> str:
    return name.rpartition("/")[2]

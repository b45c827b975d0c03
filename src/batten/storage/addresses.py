"""Paths that a user named, told from addresses of other storage.

A place with a scheme would become a local folder of that name, and the job would call it done
(decision 0048).
"""

from __future__ import annotations

import os
import re

from batten.errors import usage_error
from batten.model.patterns import pattern
from batten.model.telling.commands import as_path

_ADDRESS = pattern(r"\s*([A-Za-z{][\w+.{}-]*)://", re.ASCII)

_SHORTENED = pattern(
    r"\s*(s3[an]?|gs|gcs|az|azure|abfss?|adl|wasbs?|r2|oss|hf|https?|ftps?|sftp|ssh"
    r"|(?:web)?hdfs|viewfs|dbfs|sqlite|jdbc:\w+):/|\s*(file|jdbc:\w+):",
    re.ASCII | re.IGNORECASE,
)
"""`Path("s3://bucket")` is `s3:/bucket`. Of other names before `:/` a folder may well be called.
SQLite takes `file:base.db?mode=rw` for an address."""

_SCHEME = pattern(r"\s*([A-Za-z][\w+.:-]*?):/", re.ASCII)
_OF_ONE_PROCESS = pattern(r"/dev/(?:std|fd(?:/|$))|/proc/(?:self|thread-self|\d+)(?:/|$)", re.ASCII)
STORES = frozenset({"s3", "gs", "az"})
"""Schemes at which a dataset can lie."""
_OF_POSTGRES = frozenset({"postgres", "postgresql"})


def find_scheme(written: str) -> str:
    """The scheme of an address such as `s3://bucket/rows`; empty for a path."""
    found = _ADDRESS.match(written) if "://" in written else None
    return found[1].lower() if found is not None else ""


def has_more_than_a_place(rest: str) -> bool:
    """Whether what comes after `://` has a query, a fragment, or somebody's name: credentials are
    given so, and what is shown or stored must not have them."""
    return any(mark in rest for mark in "?#") or "@" in rest.partition("/")[0]


def as_written(path: object) -> str:
    """A path or an address, as it was written. `~/` is the user's home folder, as shells have it.
    Raises `UsageError` for what is neither."""
    if not isinstance(path, str | bytes | os.PathLike):
        raise usage_error(f"{path!r} is no path.", 'Give a text or a pathlib.Path: "features/".')
    written = os.fsdecode(path)
    if not _can_be_named(written):
        raise usage_error(f"{written!r} can't be the name of a file.", "Name it otherwise.")
    if written == "~" or written.startswith("~/"):
        return os.path.expanduser(written)
    return written


def _can_be_named(written: str) -> bool:
    try:
        os.fsencode(written)
    except UnicodeEncodeError:
        return False
    return "\0" not in written


def is_of_one_process(path: str | os.PathLike[str]) -> bool:
    """Whether the name, such as `/dev/stdin`, stands for an open file of whoever asks: to another
    process it is another file, or none."""
    return _OF_ONE_PROCESS.match(os.path.abspath(path)) is not None


def local_path(path: str | os.PathLike[str]) -> str:
    """The path as it was written. Raises `UsageError` for an address with a scheme, and for what is
    no path."""
    written = as_written(path)
    refuse_address(written)
    return written


def refuse_address(written: str) -> None:
    """Raises `UsageError` for an address with a scheme."""
    if ":" not in written:
        return
    found = _ADDRESS.match(written) or _SHORTENED.match(written)
    if found is None:
        return
    scheme = (found[1] or found[found.lastindex or 0]).lower()
    advice = "Name a local path, and copy what lies there with that storage's own tools."
    if "://" not in written and scheme in STORES:
        advice = f"If a dataset lies there, write the address as a text: '{scheme}://…'"
    if scheme == "file":
        from urllib.parse import unquote

        rest = unquote(written[found.end() :].partition("?")[0])
        advice = f"Write the path itself: {'/' + rest.lstrip('/') if rest[:1] == '/' else rest!r}"
    raise usage_error(
        f"{written!r} is an address ({scheme}:), and this takes a local path.", advice
    )


def refuse_other_database(address: str) -> None:
    """Raises `UsageError` for the address of a database that is not PostgreSQL. It is not shown: it
    may hold a password."""
    found = _SCHEME.match(address)
    if found is None or found[1].lower() in _OF_POSTGRES:
        return
    raise usage_error(
        f"The address begins with {found[1].lower()}:, and .write_postgres() is for PostgreSQL.",
        "Write it as libpq reads it: postgresql://host/base, or 'host=… dbname=…'.",
    )


def shown_path(path: str) -> str:
    """The path as one would name it from the current folder."""
    relative = os.path.relpath(path)
    return path if relative.startswith("../..") else as_path(relative)

"""Paths that a user named, told from addresses of other storage: a place with a scheme would become
a local folder of that name, and the job would call it done."""

from __future__ import annotations

import os
import re

from batten.errors import UsageError
from batten.model.patterns import pattern

_ADDRESS = pattern(r"\s*([A-Za-z{][\w+.{}-]*)://", re.ASCII)

_SHORTENED = pattern(
    r"\s*(s3[an]?|gs|gcs|az|azure|abfss?|adl|wasbs?|r2|oss|hf|https?|ftps?|sftp|ssh"
    r"|(?:web)?hdfs|viewfs|dbfs|file):/",
    re.ASCII | re.IGNORECASE,
)
"""`Path("s3://bucket")` is `s3:/bucket`. Of other names before `:/` a folder may well be called."""


def local_path(path: str | os.PathLike[str]) -> str:
    """The path as it was written. Raises `UsageError` for an address with a scheme."""
    written = os.fsdecode(path)
    refuse_address(written)
    return written


def refuse_address(written: str) -> None:
    """Raises `UsageError` for an address with a scheme."""
    if ":/" not in written:
        return
    found = _ADDRESS.match(written) or _SHORTENED.match(written)
    if found is None:
        return
    scheme = found[1].lower()
    advice = "Name a local path, and copy what lies there with that storage's own tools."
    if scheme == "file":
        from urllib.parse import unquote

        advice = f"Write the path itself: {'/' + unquote(written[found.end() :]).lstrip('/')!r}"
    raise UsageError(
        f"{written!r} is an address ({scheme}:), and batten reads and writes local paths only.",
        safe="Nothing was read or written.",
        next=advice,
    )

"""Why something can't be read, in words of evidence."""

from __future__ import annotations


def name_reason(error: BaseException) -> str:
    """Why something can't be read, as evidence: no full stop at its end."""
    if isinstance(error, FileNotFoundError):
        return "it is gone"
    return (getattr(error, "what", None) or str(error)).splitlines()[0].removesuffix(".")

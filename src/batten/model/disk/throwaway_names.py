"""Names of what lies in `staging/` for a moment: who wrote it, and what it is to become."""

from __future__ import annotations

import re
from collections.abc import Collection

from batten.model.disk.names import DELIVERY, NUMBERED, PART
from batten.model.disk.staged_names import CHUNK, SEALED
from batten.model.patterns import pattern

_THROWAWAY = pattern(
    r"(?P<what>.+)\.(?P<host>[^/.]+)-(?P<pid>[1-9]\d{0,9})-(?P<random>[0-9a-f]{16})", re.ASCII
)
_STAGED_WHAT = pattern(
    rf"dataset\.json|schema\.json|upstream\.json|COMPLETE|REPLACING|JOURNAL|put|file|item"
    rf"|{NUMBERED.pattern}|{PART.pattern}|{CHUNK.pattern}|{SEALED.pattern}|{DELIVERY.pattern}"
    r"|\d{18}-\d{18}\.(jsonl|deleted)|[0-9a-f]{24}\.(json|answers)",
    re.ASCII,
)
"""What batten stages, by the names that it will have; a file of all rows is staged as "file", one
of an item as "item"."""
_WORKROOM = "workroom"


def staging_name(what: str, *, host: str, pid: int, random: str) -> str:
    return f"{what}.{host}-{pid}-{random}"


def find_staging_owner(name: str) -> tuple[str, int] | None:
    """Host and process that wrote a throwaway file, or None for another name."""
    match = _THROWAWAY.fullmatch(name)
    return (match["host"], int(match["pid"])) if match else None


def workroom_name(*, host: str, pid: int, random: str) -> str:
    """That of a folder in `staging/` which a function is given to write in."""
    return staging_name(_WORKROOM, host=host, pid=pid, random=random)


def is_workroom(name: str) -> bool:
    match = _THROWAWAY.fullmatch(name)
    return match is not None and match["what"] == _WORKROOM


def is_throwaway(name: str, also: Collection[str] = ()) -> bool:
    """Whether a file of `staging/` has a name that batten gives there: to one of what it stages, or
    of what is in `also`. Whatever has another name is never deleted."""
    match = _THROWAWAY.fullmatch(name)
    return match is not None and (
        match["what"] in also or _STAGED_WHAT.fullmatch(match["what"]) is not None
    )

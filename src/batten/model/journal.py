"""The journal of a change to a tree: what is to be done, so that whoever comes next can do it.

One file, made anew in one step whenever it changes. While its change is open its operations are
those that undo it; from the step in which it is committed, those that complete it. Either way
recovery is the same: do all of them, in order. Each can be done any number of times.
"""

from __future__ import annotations

from enum import StrEnum

from batten.model.value_class import value_class
from batten.model.words import FORMAT_VERSION

NOT_STAGED = -1
ABSENT = ""


class Action(StrEnum):
    """What an operation does to its path."""

    DELETE = "delete"
    REMOVE_FOLDER = "remove folder"
    DISCARD = "discard"
    """Delete all at and below the path that no other operation of the journal names."""
    MAKE_FOLDER = "make folder"
    PUT = "put"
    RESTORE = "restore"
    """Put a backup in the place of whatever an unfinished change left there."""


class Phase(StrEnum):
    """Whether the operations undo a change or complete it."""

    OPEN = "open"
    COMMITTED = "committed"


@value_class
class Operation:
    """One step. `path` is relative to the root. `staged` is the number of the staged file that is
    put there, or `NOT_STAGED`. `before` and `after` say what is at the path as `describe_file`
    does, when the change was committed and when this operation was done."""

    action: str
    path: str
    staged: int = NOT_STAGED
    before: str = ABSENT
    after: str = ABSENT


@value_class
class Journal:
    """`JOURNAL`: see the module. `change` names the change, and its staged files begin with it.
    `token` is empty where the change carries none."""

    phase: str
    change: str
    token: str
    operations: list[Operation]
    time: str
    format_version: int = FORMAT_VERSION


def describe_file(kind: str, size: int, modified_ns: int) -> str:
    """What tells a file from another that came to lie in its place, and stays so when the tree is
    copied with its times. A folder is told by its kind alone."""
    return kind if kind == "folder" else f"{kind} {size} {modified_ns}"

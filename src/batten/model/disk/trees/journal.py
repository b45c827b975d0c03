"""The journal of a change to a tree: what is to be done, so that whoever comes next can do it.

One file, made anew in one step whenever it changes. While its change is open, its operations undo
the change. From the step on in which it is committed, they complete it. Either way recovery is the
same: do all of them, in order. Each can be done any number of times.
"""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from typing import Annotated, ClassVar

from batten.model.disk.bounds import (
    RECORD_BYTES_MAX,
    Many,
    MaybeHexadecimal,
    Name,
    Number,
    PathWithin,
    Piece,
    Text,
    TokenText,
    Version,
    make_reader,
)
from batten.model.value_class import value_class
from batten.model.words import FORMAT_VERSION

NOT_STAGED = -1
ABSENT = ""

OPERATIONS_MAX = 10**6
STAGED_MAX = 10**9
"""The largest number of a staged file."""


class OperationKind(StrEnum):
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
    does, when the change was committed and when this operation was done. `digest` is the SHA-256 of
    a file that is put, if a job uses the tree. It is empty if it is not known."""

    action: Annotated[str, Text(16, "|".join(OperationKind))]
    path: PathWithin
    staged: Annotated[int, Number(NOT_STAGED, STAGED_MAX)] = NOT_STAGED
    before: Name = ABSENT
    after: Name = ABSENT
    digest: MaybeHexadecimal = ""

    def find_fault(self) -> str:
        """In which way its fields don't fit each other."""
        is_staged = self.action in (OperationKind.PUT, OperationKind.RESTORE)
        if is_staged is not (self.staged > NOT_STAGED):
            return f"not a staged file to {self.action}: {self.staged}"
        is_told = bool(self.before or self.after)
        if is_told and self.action not in (OperationKind.PUT, OperationKind.DELETE):
            return f"not what is to be known to {self.action}: {self.before or self.after!r}"
        if self.after and self.action == OperationKind.DELETE:
            return f"not what is left of what is deleted: {self.after!r}"
        return ""


@value_class
class Journal:
    """`JOURNAL`: see the module. `change` names the change, and its staged files begin with it.
    `token` is empty if the change carries none. `protected` are paths at and below which it was
    changed in place."""

    phase: Annotated[str, Text(16, "|".join(Phase))]
    change: Piece
    token: TokenText
    operations: Annotated[list[Operation], Many(OPERATIONS_MAX)]
    time: Name
    protected: Annotated[list[PathWithin], Many(OPERATIONS_MAX)] = field(default_factory=list)
    format_version: Version = FORMAT_VERSION

    bytes_max: ClassVar[int] = RECORD_BYTES_MAX["journal"]


def check_token(token: str) -> None:
    """Raises `ValueError` for a token that no journal can hold."""
    make_reader(TokenText)(token, "token")


def describe_file(kind: str, size: int, modified_ns: int) -> str:
    """What tells a file from another that came to lie in its place, and stays so when the tree is
    copied with its times. A folder is told by its kind alone."""
    return kind if kind == "folder" else f"{kind} {size} {modified_ns}"

"""What is recorded of the files of a batch's items: the accounts of an output of files."""

from __future__ import annotations

import hashlib
from dataclasses import field
from typing import Annotated, ClassVar

from batten.model.disk.bounds import (
    BYTES_MAX,
    RECORD_BYTES_MAX,
    Many,
    MaybeHexadecimal,
    Name,
    Position,
    Text,
    Version,
)
from batten.model.disk.items.item_names import BadNameError, check_item_name
from batten.model.disk.names import Layout
from batten.model.disk.staged_names import DIGEST_CHARACTERS
from batten.model.value_class import value_class
from batten.model.words import FORMAT_VERSION

FILES_MAX = 10**7
"""Of one batch."""

FILE_COLUMN, SIZE_COLUMN, DIGEST_COLUMN = "file", "bytes", "sha256"
"""The columns of the rows of an output of files, after the key."""

FILE_COLUMNS = {FILE_COLUMN: "string", SIZE_COLUMN: "int64", DIGEST_COLUMN: "string"}
"""Their types."""

Mark = Annotated[str, Text(96, r"\d{1,19} [0-9a-f]{64}")]
"""The size of a file in bytes, and its SHA-256."""


@value_class
class ItemFile:
    """A file of an item: its name below the output, its size in bytes, and its SHA-256."""

    name: str
    size: int
    digest: str

    @property
    def mark(self) -> str:
        return f"{self.size} {self.digest}"


@value_class
class PlacedFiles:
    """`files/000042.json`: which files of a batch have a place in the output, by name.

    It is written before any of them gets its place, and then anew. `content` stands for the part of
    which they all are; empty while they get their places, when each may be there or not. `leaving`
    are the marks that earlier versions of the batch gave to names. What has such a mark makes way.
    """

    batch: Position
    content: MaybeHexadecimal
    files: Annotated[dict[str, Mark], Many(FILES_MAX)]
    leaving: Annotated[dict[str, Annotated[list[Mark], Many(1000)]], Many(FILES_MAX)] = field(
        default_factory=dict
    )
    run: Name = ""
    time: Name = ""
    format_version: Version = FORMAT_VERSION

    bytes_max: ClassVar[int] = RECORD_BYTES_MAX["files"]

    def find_fault(self) -> str:
        """In which way it can't be; empty if it can."""
        for name in (*self.files, *self.leaving):
            try:
                check_item_name(name, room=1 << 16)
            except BadNameError as error:
                return str(error)
        return ""

    def marks_of(self, name: str) -> set[str]:
        """The marks that a file of the name may have."""
        own = self.files.get(name)
        return {*self.leaving.get(name, ()), *((own,) if own else ())}


def size_of(mark: str) -> int:
    return min(int(mark.partition(" ")[0]), BYTES_MAX)


def digest_of(mark: str) -> str:
    return mark.partition(" ")[2]


def name_made(layout: Layout, batch: int, file: ItemFile) -> str:
    """Where the file lies until it gets its place. The name follows from the row, so that no row
    has to hold it."""
    text = f"{file.name}\0{file.digest}".encode(errors="surrogatepass")
    return layout.made_file(batch, hashlib.sha256(text).hexdigest()[:DIGEST_CHARACTERS])

"""What a destination was given, as the ledger records it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import Annotated, ClassVar

from batten.model.disk.bounds import (
    RECORD_BYTES_MAX,
    Bytes,
    Count,
    Many,
    MaybeHexadecimal,
    Name,
    Position,
    TargetText,
    Text,
    TokenText,
    Version,
)
from batten.model.disk.destinations.targets import PACKAGED, Target, read_target
from batten.model.value_class import value_class
from batten.model.words import (
    FILES,
    FORMAT_VERSION,
    HIVE,
)

ONCE, AT_LEAST_ONCE = "once", "at least once"
CAN_NOT_BE_ASKED = (
    "it keeps no tokens and can't be asked: each row is there at least once, and after a crash a "
    "batch may be there twice"
)
"""The weaker promise, in the words of all commands."""
NOT_COUNTED = (
    "rows may replace others of the same key there, so they are not counted: one that another "
    "program deletes is not missed"
)
"""What a look at a table can't see, in the words of all commands."""


@value_class
class Delivery:
    """What a destination has been given: a record `deliveries/<kind>-<digest>.json`.

    Attributes:
        kind: csv, jsonl, parquet, sqlite and so on.
        target: Names the destination, without secrets.
        batches: How many batches it has been given, from the first on.
        rows: How many rows these hold.
        content: Stands for all of it.
        size: Of a file, its bytes. The record is written before the file takes its place. Of files
            of items, the bytes of all. Otherwise 0.
        digest: Of a file, its SHA-256; otherwise empty.
        replaces: Of a file, the digest of the one before it; empty if there was none.
        run: The run that wrote the record.
        time: When it was written, in UTC.
        dataset: The name of the rows in tokens; empty in records of 0.1.
        adds_rows: Whether each row is a row of its own there. False in records of 0.1.
        has_own_keys: Whether each row has the key of its item, of which no other row has that, so
            that a table which replaces rows by key has at least so many. False in earlier records.
        package: The package that brings the kind of destination; empty if batten does (decision
            0085).
        is_remote: Whether a server has it.
        files: Of a folder of partitions, the size and the SHA-256 of each file, by its name.
        lets_go: Whether what it has makes way for a dataset that is computed anew (decision 0101).
        can_be_asked: Whether it keeps tokens. If not, this record alone tells what it has, and a
            batch may be there twice (decision 0142).
        marks: The columns and values that tell its rows in a table from those of other runs.
        form: How rows stand there, in words; empty where that is always the same, and in earlier
            records (decision 0159).
        format_version: The version of the record's format.
    """

    kind: Name
    target: TargetText
    batches: Position
    rows: Count
    content: Name
    size: Bytes
    digest: MaybeHexadecimal
    replaces: MaybeHexadecimal
    run: Name
    time: Name
    dataset: TokenText = ""
    adds_rows: bool = False
    has_own_keys: bool = False
    package: Name = ""
    is_remote: bool = False
    files: Annotated[
        dict[str, Annotated[str, Text(100, r"\d{1,18} [0-9a-f]{64}")]], Many(100_000)
    ] = field(default_factory=dict)
    lets_go: bool = False
    can_be_asked: bool = True
    marks: Annotated[dict[TokenText, TokenText], Many(1000)] = field(default_factory=dict)
    form: TargetText = ""
    format_version: Version = FORMAT_VERSION

    bytes_max: ClassVar[int] = RECORD_BYTES_MAX["delivery"]

    @property
    def is_file(self) -> bool:
        return bool(self.digest)

    @property
    def is_uncounted(self) -> bool:
        """Whether a look at its table can't count its rows, because rows may have replaced others
        of the same key."""
        is_table = bool(self.dataset) and not self.is_file and self.kind not in (FILES, HIVE)
        return is_table and self.rows > 0 and not (self.adds_rows or self.has_own_keys)

    @property
    def is_whole_table(self) -> bool:
        """Whether it is a table that took all rows at once, in the place of others. What of it is
        gone with its tokens, the next run makes again."""
        is_table = not self.is_file and self.kind not in (FILES, HIVE)
        return bool(self.content) and is_table and self.lets_go

    @property
    def has_tokens(self) -> bool:
        """Whether tokens tell of it: there are none of no rows that were added at once."""
        return bool(self.rows or self.lets_go or not self.content)

    @property
    def where(self) -> Target:
        """What `target` says, part by part."""
        return read_target(self.kind, self.target)

    @property
    def shown_as(self) -> str:
        """The kind of which `target` is the line."""
        return PACKAGED if self.package else self.kind

    @property
    def is_here(self) -> bool:
        """Whether it lies on this machine, so that it can be looked at. If not, a server has it."""
        if self.package:
            return not self.is_remote
        return bool(self.where.path)

    @property
    def promise(self) -> str:
        """How often a row is there."""
        return ONCE if self.can_be_asked else AT_LEAST_ONCE

    @property
    def keeps_rows(self) -> bool:
        """Whether its rows can't be told from rows of others and taken out. Then it can't be given
        a dataset that is computed anew."""
        is_let_go = self.is_file or self.lets_go or self.kind in (FILES, HIVE)
        return not is_let_go and self.batches > 0 and self.rows > 0


def find_kept(deliveries: Iterable[Delivery]) -> str:
    """The first destination that keeps its rows, for messages; empty if none does."""
    return next((delivery.target for delivery in deliveries if delivery.keeps_rows), "")

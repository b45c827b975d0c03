"""Files of landed items: their names and their lines.

000000000000000017-000000000000000099.jsonl     the first and the last offset in it
{"offset": 17, "item": …}                       a line
{"items": 83, "sha256": "…"}                    the last line, of all before it

000000000000000017-000000000000000099.deleted   in its place when it was deleted, as was asked for
{"offsets": [17, …], "places": [0, …]}          what it had; the last line is its digest

A topic has a folder of them for each partition, `partition-00000`, and `reached.json` beside them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

from batten.model.disk.bounds import Bytes, Many, Name, Number, PathText, Text, build
from batten.model.json_text import parse_json
from batten.model.patterns import pattern
from batten.model.telling.counts import count_of
from batten.model.value_class import value_class

DIGITS = 18
OFFSET_MAX = 10**DIGITS - 1
LINE_BYTES_MAX = 1 << 28
"""Of one item: a line is held in memory, whoever wrote it."""
REACHED = "reached.json"
"""How far each partition of a topic was read."""
REACHED_BYTES_MAX = 1 << 28
READERS = "readers"
"""In the control folder of a landing: who has read it."""
NOTE_BYTES_MAX = 1 << 20
_NAME = pattern(rf"(\d{{{DIGITS}}})-(\d{{{DIGITS}}})\.(jsonl|deleted)", re.ASCII)
_PARTITION = pattern(r"partition-(\d{5}|[1-9]\d{5,8})", re.ASCII)
_OFFSET = pattern(rf"0|[1-9]\d{{0,{DIGITS - 1}}}", re.ASCII)
_END = re.compile(rb'\{"items": (\d{1,18}), "sha256": "([0-9a-f]{64})"\}\n')
_LINE = re.compile(rb'\{"offset": (\d{1,18}), "item": (.*)\}\n?')


@dataclass(frozen=True, order=True)
class LandedFile:
    """Holds the items with offsets from `first` to `last`, both included. `is_deleted`: it tells of
    a file that was deleted."""

    first: int
    last: int
    is_deleted: bool = False

    @property
    def name(self) -> str:
        kind = "deleted" if self.is_deleted else "jsonl"
        return f"{self.first:0{DIGITS}}-{self.last:0{DIGITS}}.{kind}"


Offset = Annotated[int, Number(0, OFFSET_MAX)]


@value_class
class LandedUse:
    """An output, as an absolute path or an address, what its keys have before the offsets, and
    which `dataset` was there when it last read, as `name_dataset` says it. Noted in `readers/`,
    where the path is relative; an earlier batten did not note the dataset."""

    output: PathText
    prefix: Annotated[str, Text(10, r"(\d{1,9}-)?")]
    dataset: Name = ""


@value_class
class ReachedOffsets:
    """`reached.json`: the topic's id and its name, and by partition how far it was read. An earlier
    batten did not note the name."""

    id: Name
    offsets: Annotated[dict[str, Offset], Many(1_000_000)]
    topic: Name = ""

    def find_fault(self) -> str:
        """In which way it can't be; empty if it can."""
        odd = [each for each in self.offsets if not re.fullmatch(r"\d{1,9}", each, re.ASCII)]
        return f"it has a partition {odd[0][:40]!r}" if odd else ""


@value_class
class _Deleted:
    offsets: Annotated[list[Offset], Many(LINE_BYTES_MAX)]
    places: Annotated[list[Bytes], Many(LINE_BYTES_MAX)]


def find_offset(key: str, prefix: str) -> int | None:
    """The offset of an item with that key, if it is one of those that have the prefix."""
    offset = key.removeprefix(prefix)
    return int(offset) if key.startswith(prefix) and _OFFSET.fullmatch(offset) else None


def keep_deleted(files: Iterable[LandedFile]) -> list[LandedFile]:
    """In order. What is said to be deleted counts as that, though its file may still be there."""
    found = {(file.first, file.last): file for file in sorted(files)}
    return list(found.values())


def name_partition(number: int) -> str:
    """The folder in which the messages of a partition lie."""
    return f"partition-{number:05}"


def find_partition(name: str) -> int | None:
    """The partition of the folder, or None for a name of anything else."""
    match = _PARTITION.fullmatch(name)
    return int(match[1]) if match else None


def list_partition_names(names: Iterable[str]) -> list[str]:
    """The folders of partitions among the names in a folder, if a topic is landed there."""
    found = list(names)
    numbers = {name: find_partition(name) for name in found} if REACHED in found else {}
    partitions = sorted(number for number in numbers.values() if number is not None)
    return [name_partition(number) for number in partitions]


def find_landed(name: str) -> LandedFile | None:
    """What the name says, or None for a name of anything else."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    return LandedFile(int(match[1]), int(match[2]), match[3] == "deleted")


def encode_line(offset: int, item: Any) -> bytes:
    """Raises `TypeError` or `ValueError` for what JSON can't hold, and for what is too large."""
    text = json.dumps(item, ensure_ascii=False, allow_nan=False)
    line = f'{{"offset": {offset}, "item": {text}}}\n'.encode()
    if len(line) > LINE_BYTES_MAX:
        raise ValueError(f"it has {count_of(len(line), 'byte')}, more than {LINE_BYTES_MAX:,}")
    return line


def encode_end(lines: Sequence[bytes]) -> bytes:
    """The last line of a file of these."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line)
    return f'{{"items": {len(lines)}, "sha256": "{digest.hexdigest()}"}}\n'.encode()


def encode_deleted(offsets: Sequence[int], places: Sequence[int]) -> bytes:
    """What stands for a file that is deleted: the keys of a plan stay as they are. Raises
    `ValueError` where that is more than is read of such a file."""
    text = json.dumps({"offsets": list(offsets), "places": list(places)}) + "\n"
    data = text.encode() + encode_end([text.encode()])
    if len(data) > LINE_BYTES_MAX:
        raise ValueError(
            f"it has too many items: a list of them takes {count_of(len(data), 'byte')}"
        )
    return data


def decode_deleted(data: bytes, file: LandedFile) -> tuple[list[int], list[int]]:
    """The offsets, and the places that their lines had. Raises `ValueError`."""
    line, _, end = data.partition(b"\n")
    if end != encode_end([line + b"\n"]):
        raise ValueError("its digest differs")
    told: _Deleted = build(_Deleted, parse_json(line))
    if len(told.offsets) != len(told.places):
        raise ValueError("it has not a place for each offset")
    _check_offsets(told.offsets, file)
    return told.offsets, told.places


class LandedCheck:
    """Holds the lines of one file, as they are read, against its name and its last line. Files of
    older versions have no such line."""

    def __init__(self, file: LandedFile) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._offsets: list[int] = []
        self._is_ended = False

    def take(self, line: bytes) -> int | None:
        """The offset of its item; None for the last line. Raises `ValueError`."""
        if self._is_ended:
            raise ValueError("something follows its digest")
        if end := _END.fullmatch(line):
            self._is_ended = True
            if (len(self._offsets), self._digest.hexdigest()) != (int(end[1]), end[2].decode()):
                raise ValueError("its digest differs")
            return None
        self._digest.update(line)
        self._offsets.append(read_offset(line))
        return self._offsets[-1]

    def end(self) -> list[int]:
        """All offsets, when all was read. Raises `ValueError` where they are not those of the
        name: a file that was cut off at the end of a line tells it in no other way."""
        _check_offsets(self._offsets, self._file)
        return self._offsets


def _check_offsets(found: Sequence[int], file: LandedFile) -> None:
    told = f"from {found[0]} to {found[-1]}" if found else "none"
    if not found or (found[0], found[-1]) != (file.first, file.last):
        raise ValueError(f"it has other offsets than its name says: {told}")
    if any(after <= before for before, after in pairwise(found)):
        raise ValueError("its offsets don't grow")


def read_offset(line: bytes) -> int:
    """The offset of a line, without looking at its item. Raises `ValueError`."""
    return int(_match(line)[1])


def decode_item(line: bytes) -> Any:
    """The item of a line. Raises `ValueError`."""
    return parse_json(_match(line)[2])


def _match(line: bytes) -> re.Match[bytes]:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError("it is no line of a landed item")
    return match

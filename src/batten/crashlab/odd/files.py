"""Files that a record lists by size and digest, and plain ones that end with their own digest."""

from __future__ import annotations

import hashlib
import json
import random
import re

from batten.crashlab.odd.records import Folder, bytes_of, change_record, set_field
from batten.crashlab.odd.tables import mutate_part
from batten.crashlab.odd.values import change_bytes
from batten.model.disk.items.row_digests import seal_digests
from batten.model.disk.items.versions import GONE, UNKNOWN
from batten.model.disk.records import Unreadable, open_record
from batten.model.disk.staged_names import DIGEST_CHARACTERS

_LISTS = re.compile(r"(^|/)(files/\d+|deliveries/[^/]+)\.json$")


def mutate_listed(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    """A file of an item, or of a folder in partitions."""
    if name.endswith(".parquet"):
        mutate_part(folder, name, dice, canary)
    else:
        folder[name] = dice.choice([b"", change_bytes(bytes_of(folder, name), dice)])
    if dice.random() < 0.7:
        _fit_lists(folder, name)


def mutate_list(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    """What lists files, so that another name is in it, or another mark."""
    try:
        files = dict(json.loads(open_record(bytes_of(folder, name)))["files"])
        key = dice.choice(sorted(files))
    except (KeyError, Unreadable, ValueError, IndexError, TypeError):
        folder[name] = change_record(bytes_of(folder, name), dice)
        return
    act, mark = dice.random(), files[key]
    if act < 0.4:
        folder[name] = change_record(bytes_of(folder, name), dice)
        return
    if act < 0.7:
        del files[key]
        key = dice.choice(_NAMES)
    elif act < 0.9:
        mark = dice.choice(_MARKS)
    files[key] = mark
    lists = {"leaving": {key: [mark]}} if dice.random() < 0.3 else {"files": files}
    set_field(folder, name, **lists)


def mutate_made(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    """A file that has yet to get its place, under its own name or that of another one."""
    folder[name] = dice.choice([b"", bytes_of(folder, name) + b"x", dice.randbytes(9)])
    if dice.random() < 0.3:
        digest = hashlib.sha256(dice.randbytes(9)).hexdigest()[:DIGEST_CHARACTERS]
        folder[re.sub(r"[0-9a-f]{32}", digest, name)] = folder.pop(name)


def mutate_sealed(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    """Versions, digests and values of items."""
    data = bytearray(bytes_of(folder, name)[:-32])
    for _ in range(dice.randint(1, 3)):
        place = dice.randrange(max(len(data) // 8, 1)) * 8
        data[place : place + 8] = dice.choice([GONE, UNKNOWN, dice.randbytes(8), b"", b"\1" * 16])
    folder[name] = seal_digests(bytes(data)) if dice.random() < 0.9 else bytes(data)


def _fit_lists(folder: Folder, name: str) -> None:
    data = bytes_of(folder, name)
    mark = f"{len(data)} {hashlib.sha256(data).hexdigest()}"
    for each in [other for other in folder if _LISTS.search(other)]:
        try:
            files = json.loads(open_record(bytes_of(folder, each)))["files"]
            if (own := name.partition("/")[2]) in files:
                set_field(folder, each, files={**files, own: mark})
        except (KeyError, Unreadable, ValueError, TypeError):
            continue


_NAMES = (
    *("../victim/precious", "/dev/zero", "..", ".", "", "a/../../victim/precious", "0", "0/a.txt"),
    *("0/a.txt/b", "victim", "x" * 300, "a\nb", "\x1b[31m", "a//b", "./a", "\ud800", "1/a.txt"),
)
_MARKS = (
    *("", "0", "0 ", "-1 x", "99999999999999999999 " + "0" * 64, "1 " + "0" * 64, "1 \x1b[31m"),
    f"0 {hashlib.sha256().hexdigest()}",
    f"8 {hashlib.sha256(b'precious').hexdigest()}",
)

"""A folder in memory, and its records changed so that their checksums are right again."""

from __future__ import annotations

import hashlib
import json
import random
import struct
from collections.abc import Callable
from typing import NamedTuple

from batten.crashlab.odd.values import change_bytes, change_json, dump
from batten.model.cached.manifests import LINE_BYTES
from batten.model.disk.records import Unreadable, open_record, seal_record


class Special(NamedTuple):
    """What is no file of bytes: `kind` is folder, pipe, link, or sparse (of `size` bytes)."""

    kind: str
    target: str = ""
    size: int = 0


Node = bytes | Special
Folder = dict[str, Node]

Mutation = Callable[[Folder, str, random.Random, bytes], None]
"""Changes one file of the folder. The bytes are a pickle that shows when it is run."""


def bytes_of(folder: Folder, name: str) -> bytes:
    node = folder[name]
    return node if isinstance(node, bytes) else b""


def change_record(data: bytes, dice: random.Random, times: int = 1) -> bytes:
    """A record with odd fields and the right checksum; or what is none with something else."""
    try:
        value = json.loads(open_record(data))
    except (Unreadable, ValueError):
        return change_bytes(data, dice)
    for _ in range(times):
        try:
            value = change_json(value, dice)
        except RecursionError:
            break
        if not isinstance(value, dict):
            break
    body = dump(value)
    return seal_record(body) if dice.random() < 0.97 else body + b"\n"


def mutate_record(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    folder[name] = change_record(bytes_of(folder, name), dice, dice.choice([1, 1, 2]))


def set_field(folder: Folder, name: str, **fields: object) -> None:
    """Make a record tell something else, where it is there and can be read."""
    try:
        value = json.loads(open_record(bytes_of(folder, name)))
        value.update(fields)
    except (KeyError, Unreadable, ValueError, AttributeError):
        return
    folder[name] = seal_record(dump(value))


def mutate_log(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    lines = bytes_of(folder, name).splitlines() or [b"{}"]
    place = dice.randrange(len(lines))
    try:
        lines[place] = dump(change_json(json.loads(lines[place]), dice))
    except ValueError:
        lines[place] = change_bytes(lines[place], dice)
    folder[name] = b"\n".join(lines) + b"\n" * dice.choice([0, 1, 1, 1])


def mutate_marks(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    data = bytearray(bytes_of(folder, name))
    for _ in range(dice.randint(1, 4)):
        place = dice.randrange(max(len(data) // 8, 1)) * 8
        odd = dice.choice([0, 1, 5, -1, 2**62, 2**40, dice.randrange(2**32)])
        data[place : place + 8] = struct.pack("=q", odd)
    folder[name] = bytes(data)


def mutate_manifest(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    line, newline, body = bytes_of(folder, name).partition(b"\n")
    if dice.random() < 0.5:
        folder[name] = change_record(line + newline, dice) + body
        return
    act = dice.random()
    if act < 0.3:
        body = canary
    elif body.endswith(b"}\n"):
        body = change_record(body, dice)
    else:
        body = change_bytes(body, dice)
    try:
        head = json.loads(open_record(line + newline))
    except (Unreadable, ValueError):
        return
    head |= {"body_size": len(body), "body_digest": hashlib.sha256(body).hexdigest()}
    folder[name] = seal_record(dump(head)) + body + b"\0" * dice.choice([0, 0, 0, LINE_BYTES])


def mutate_landed(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    lines = bytes_of(folder, name).splitlines()
    place = dice.randrange(len(lines)) if lines else 0
    lines[place : place + 1] = dice.choice(
        [[], [b"{}"], [b'{"offset": 999999999999999999, "item": 1}'], [change_bytes(b"x", dice)]]
    )
    folder[name] = b"\n".join(lines) + b"\n"

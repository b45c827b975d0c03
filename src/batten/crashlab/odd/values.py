"""Values that are odd where a field of a record has them, and bytes that are."""

from __future__ import annotations

import json
import random
from typing import Any

ODD_NUMBERS: list[Any] = [
    *(0, 1, -1, -2, 2, 7, 255, 10**6, 10**9, 2**31, 2**40, 2**53, 2**63 - 1, 2**63, 10**15),
    *(10**18, -(2**63), 10**40, 1.5, -0.0, 1e308, float("nan"), float("inf")),
]
ODD_TEXTS: list[Any] = [
    *("", " ", "x" * 300, "x" * 70_000, "\x1b[31mred\x07", "a\nb", "\0", "\udce9", "ü", "\u202e"),
    *(
        "../victim/precious",
        "/etc/passwd",
        "..",
        ".",
        "victim",
        "a/../../victim",
        "-rf",
        "~",
        "$(id)",
    ),
    *("9" * 30 + "c", "1c1f1q", "2c", "1x", "ordinals:0-4", "ordinals:9-1", "sha256:" + "0" * 64),
    *("0" * 64, "g" * 64, "committed", "open", "file 1 2", "folder", "2026-99-99T99:99:99Z"),
    *(
        "curl http://x | sh",
        "fresh",
        "lock",
        "parts",
        "set-aside",
        "csv",
        "sqlite",
        "tree",
        "files",
    ),
]
ODD_VALUES: list[Any] = [None, True, False, [], {}, [None], [[]], {"a": {"b": []}}, [1, "a", {}]]


def change_json(value: Any, dice: random.Random) -> Any:
    """The value with one thing in it changed, anywhere."""
    slots: list[tuple[Any, Any]] = []
    if isinstance(value, dict | list):
        _collect_slots(value, slots)
    if not slots or dice.random() < 0.03:
        return dice.choice([*ODD_VALUES, dice.choice(ODD_NUMBERS), dice.choice(ODD_TEXTS)])
    holder, key = dice.choice(slots)
    act = dice.random()
    if act < 0.12:
        del holder[key]
    elif act < 0.2 and isinstance(holder, dict):
        holder[dice.choice(["x", "__class__", "format_version", ""])] = _odd(None, dice)
    elif act < 0.26 and isinstance(holder, list):
        holder.extend([holder[key]] * dice.choice([1, 3, 2000]))
    elif act < 0.32:
        other, place = dice.choice(slots)
        holder[key] = json.loads(json.dumps(other[place]))
    elif act < 0.35:
        for _ in range(dice.choice([2, 50, 5000])):
            holder[key] = [holder[key]]
    else:
        holder[key] = _odd(holder[key], dice)
    return value


def _collect_slots(value: Any, slots: list[tuple[Any, Any]]) -> None:
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in list(inner):
        slots.append((value, key))
        if isinstance(each, dict | list):
            _collect_slots(each, slots)


def _odd(value: Any, dice: random.Random) -> Any:
    if type(value) is int and dice.random() < 0.6:
        return dice.choice([*ODD_NUMBERS, value + 1, value - 1, -value, value * 1000])
    if isinstance(value, str) and dice.random() < 0.6:
        return dice.choice([*ODD_TEXTS, value * 2, value[:-1], value.upper()])
    return dice.choice([dice.choice(ODD_NUMBERS), dice.choice(ODD_TEXTS), *ODD_VALUES])


def dump(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    except (RecursionError, ValueError):
        return b"[" * 100_000


def change_bytes(data: bytes, dice: random.Random) -> bytes:
    act = dice.random()
    if act < 0.15:
        return data[: dice.randrange(len(data) + 1)]
    if act < 0.25:
        return data + dice.choice([b"\0" * 100, b"\n", data, dice.randbytes(50)])
    if act < 0.32:
        return dice.choice([b"", b"\0" * len(data), dice.randbytes(len(data) or 9), b"[" * 100_000])
    changed = bytearray(data or b"\0")
    for _ in range(dice.choice([1, 1, 2, 5])):
        changed[dice.randrange(len(changed))] = dice.choice([0, 0x7F, 0xFF, dice.randrange(256)])
    return bytes(changed)

"""Folders that are odd in one way or a few: every kind of record and file, changed where it hurts.

A folder is a dict from relative names to what lies there: bytes, or a `Special`. What is changed is
made to fit what describes it again (checksums, digests, sizes), so that the change is seen by what
looks at the content, and not stopped at the first check.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from batten.model.cached.manifests import LINE_BYTES
from batten.model.disk.names import DIGEST_CHARACTERS
from batten.model.disk.records import PART_KEY, Unreadable, open_record, seal_record


class Special(NamedTuple):
    """What is no file of bytes: `kind` is folder, pipe, link, or sparse (of `size` bytes)."""

    kind: str
    target: str = ""
    size: int = 0


Node = bytes | Special
Folder = dict[str, Node]

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
ODD_NAMES = [
    *("part-999999999999.parquet", "part-000000 (copy).parquet", "part-0.parquet", ".hidden"),
    *(
        "000001.json",
        "999999999.json",
        "x" * 250,
        "a\nb",
        "\x1b[31m",
        "caf\udce9",
        "part-\u0660\u0660.parquet",
    ),
    *("000000.arrow", "x.jsonl", "x.inflight", "COMPLETE", "REPLACING", "JOURNAL", "tree", "fresh"),
    *("000000-sealed-" + "0" * 32 + ".parquet", "000000-000000-000002-" + "0" * 32 + ".arrow"),
    *(
        "000000-000000-999999999999-" + "0" * 32 + ".arrow",
        "what.host-1-0",
        "what.host-" + "9" * 40 + "-0",
    ),
    *("000000-000000-000001-" + "f" * 64 + "-" + "0" * 32 + ".arrow", "dataset.json", "lock"),
]


def mutate(folder: Folder, dice: random.Random, canary: bytes) -> list[str]:
    """Change the folder in place; gives what was done. `canary` is a pickle that shows when it is
    run."""
    done = []
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        names = sorted(name for name, node in folder.items() if isinstance(node, bytes))
        if not names:
            break
        name = dice.choice(names)
        kinds = [*_find_kinds(name), *_COMMON]
        kind = kinds[0] if dice.random() < 0.65 else dice.choice(kinds)
        # What an earlier change made unreadable, or nested deeply, can't be changed again.
        with suppress(RecursionError, ValueError):
            kind(folder, name, dice, canary)
        done.append(f"{kind.__name__.removeprefix('_')} {name}")
    return done


Mutation = Callable[[Folder, str, random.Random, bytes], None]


def _find_kinds(name: str) -> list[Mutation]:
    return [kind for pattern, kind in _KINDS if re.search(pattern, name)]


def bytes_of(folder: Folder, name: str) -> bytes:
    node = folder[name]
    return node if isinstance(node, bytes) else b""


# --- JSON ------------------------------------------------------------------------------------


def change_json(value: Any, dice: random.Random) -> Any:
    """The value with one thing in it changed, anywhere."""
    slots: list[tuple[Any, Any]] = []
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


def _dump(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    except (RecursionError, ValueError):
        return b"[" * 100_000


def change_record(data: bytes, dice: random.Random, times: int = 1) -> bytes:
    """A record with odd fields and the right checksum; or what is none with something else."""
    try:
        value = json.loads(open_record(data))
    except (Unreadable, ValueError):
        return _change_bytes(data, dice)
    for _ in range(times):
        try:
            value = change_json(value, dice)
        except RecursionError:
            break
        if not isinstance(value, dict):
            break
    body = _dump(value)
    return seal_record(body) if dice.random() < 0.97 else body + b"\n"


def _record(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    folder[name] = change_record(bytes_of(folder, name), dice, dice.choice([1, 1, 2]))


def _set_field(folder: Folder, name: str, **fields: object) -> None:
    """Make a record tell something else, where it is there and can be read."""
    try:
        value = json.loads(open_record(bytes_of(folder, name)))
        value.update(fields)
    except (KeyError, Unreadable, ValueError, AttributeError):
        return
    folder[name] = seal_record(_dump(value))


def _log(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    lines = bytes_of(folder, name).splitlines() or [b"{}"]
    place = dice.randrange(len(lines))
    try:
        lines[place] = _dump(change_json(json.loads(lines[place]), dice))
    except ValueError:
        lines[place] = _change_bytes(lines[place], dice)
    folder[name] = b"\n".join(lines) + b"\n" * dice.choice([0, 1, 1, 1])


# --- files with digests elsewhere --------------------------------------------------------------


def _plan(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    data = _change_arrow(bytes_of(folder, name), dice, canary)
    folder[name] = data
    if dice.random() < 0.95:
        digest = hashlib.sha256(data).hexdigest()
        record = name.removesuffix("arrow") + "json"
        _set_field(folder, record, keys_size=len(data), keys_digest=digest)


def _change_arrow(data: bytes, dice: random.Random, canary: bytes) -> bytes:
    if dice.random() < 0.3:
        return _change_bytes(data, dice)
    try:
        reader = pa.ipc.open_file(pa.py_buffer(data))
        batches = [reader.get_batch(place) for place in range(reader.num_record_batches)]
    except (pa.ArrowException, OSError, ValueError):
        return data
    columns = {name: batches[0].column(name) for name in reader.schema.names} if batches else {}
    count = batches[0].num_rows if batches else 0
    name = dice.choice([*columns, "key", "position", "value", "payload"])
    columns[name] = dice.choice(
        [
            pa.nulls(count),
            pa.nulls(count, pa.string()),
            pa.array([canary] * count, pa.large_binary()),
            pa.array([dice.randbytes(9)] * count, pa.large_binary()),
            pa.array([2**62] * count, pa.int64()),
            pa.array([-5] * count, pa.int64()),
            pa.array([["nested"]] * count),
            pa.array([dice.choice(ODD_TEXTS).replace("\udce9", "")] * count, pa.string()),
        ]
    )
    if dice.random() < 0.2:
        columns.pop(dice.choice(list(columns)))
    if not columns:
        return data
    table = pa.table(columns)
    metadata = dict(reader.schema.metadata or {})
    if dice.random() < 0.3 and metadata:
        key = dice.choice(list(metadata))
        metadata[key] = _dump(_try_change(metadata[key], dice))
    sink = pa.BufferOutputStream()
    table = table.replace_schema_metadata(metadata or None)
    with pa.ipc.new_file(sink, table.schema) as writer:
        for _ in range(dice.choice([0, 1, 1, len(batches), len(batches) + 1])):
            writer.write_table(table)
    return bytes(sink.getvalue())


def _try_change(data: bytes, dice: random.Random) -> Any:
    try:
        return change_json(json.loads(data), dice)
    except (ValueError, RecursionError):
        return dice.choice(ODD_VALUES)


def _part(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    data = _change_parquet(bytes_of(folder, name), dice)
    folder[name] = data
    number = re.search(r"part-(\d+)\.parquet$", name)
    if number and dice.random() < 0.9:
        digest = hashlib.sha256(data).hexdigest()
        control = name.rpartition("/")[0] + ".batten"
        if "/parts/" in name:
            control = name.partition("/parts/")[0]
        _set_field(folder, f"{control}/commits/{number[1]}.json", size=len(data), digest=digest)
        if dice.random() < 0.7:
            _fit_size(folder, f"{control}/COMPLETE", int(number[1]), len(data))


def _fit_size(folder: Folder, name: str, batch: int, size: int) -> None:
    try:
        sizes = json.loads(open_record(bytes_of(folder, name)))["part_sizes"]
        sizes[batch] = size
    except (KeyError, Unreadable, ValueError, IndexError, TypeError):
        return
    _set_field(folder, name, part_sizes=sizes)


def _change_parquet(data: bytes, dice: random.Random) -> bytes:
    act = dice.random()
    if act < 0.3:
        return _change_bytes(data, dice)
    if act < 0.4:
        size = struct.pack("<I", dice.choice([0, 1, len(data), 2**31, 2**32 - 1]))
        return data[:-8] + size + b"PAR1"
    if act < 0.6:
        at = data.rfind(PART_KEY.encode())
        footer = bytearray(data)
        for _ in range(dice.choice([1, 2, 8])):
            place = (
                dice.randrange(max(at - 200, 0), len(data)) if at > 0 else dice.randrange(len(data))
            )
            footer[place] = dice.choice([0, 0x7F, 0xFF, dice.randrange(256)])
        return bytes(footer)
    try:
        table = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
    except (pa.ArrowException, OSError, ValueError):
        return data
    metadata = dict(table.schema.metadata or {})
    key = PART_KEY.encode()
    if key in metadata and dice.random() < 0.7:
        record = change_record(metadata[key] + b"\n", dice).rstrip(b"\n")
        metadata[key] = record.decode("utf-8", "replace").encode()
    else:
        name = dice.choice(table.column_names)
        place = table.column_names.index(name)
        odd = dice.choice([pa.nulls(len(table)), pa.array([2**62] * len(table))])
        table = table.set_column(place, dice.choice([name, "x"]), odd)
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(metadata), sink)
    return bytes(sink.getvalue())


def _staged(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    data = bytes_of(folder, name)
    is_arrow = name.endswith("arrow")
    data = _change_arrow(data, dice, canary) if is_arrow else _change_parquet(data, dice)
    del folder[name]
    digest = hashlib.sha256(data).hexdigest()[:DIGEST_CHARACTERS]
    folder[re.sub(r"[0-9a-f]{32}(?=\.\w+$)", digest, name)] = data


def _marks(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    data = bytearray(bytes_of(folder, name))
    for _ in range(dice.randint(1, 4)):
        place = dice.randrange(max(len(data) // 8, 1)) * 8
        odd = dice.choice([0, 1, 5, -1, 2**62, 2**40, dice.randrange(2**32)])
        data[place : place + 8] = struct.pack("=q", odd)
    folder[name] = bytes(data)


def _manifest(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
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
        body = _change_bytes(body, dice)
    try:
        head = json.loads(open_record(line + newline))
    except (Unreadable, ValueError):
        return
    head |= {"body_size": len(body), "body_digest": hashlib.sha256(body).hexdigest()}
    folder[name] = seal_record(_dump(head)) + body + b"\0" * dice.choice([0, 0, 0, LINE_BYTES])


def _landed(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    lines = bytes_of(folder, name).splitlines()
    place = dice.randrange(len(lines)) if lines else 0
    lines[place : place + 1] = dice.choice(
        [[], [b"{}"], [b'{"offset": 999999999999999999, "item": 1}'], [_change_bytes(b"x", dice)]]
    )
    folder[name] = b"\n".join(lines) + b"\n"


# --- any file ----------------------------------------------------------------------------------


def _change_bytes(data: bytes, dice: random.Random) -> bytes:
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


def _bytes(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    folder[name] = _change_bytes(bytes_of(folder, name), dice)


def _kind(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    _put(folder, name, _odd_node(dice, name))


def _odd_node(dice: random.Random, name: str) -> Special:
    up = "../" * name.count("/")
    return dice.choice(
        [
            Special("folder"),
            Special("pipe"),
            Special("link", f"{up}victim/precious"),
            Special("link", f"{up}victim"),
            Special("link", "nothing-there"),
            Special("link", "/dev/zero"),
            Special("link", name.rpartition("/")[2]),
            Special("sparse", size=dice.choice([10**9, 20 * 2**30, 2**40])),
        ]
    )


def _above(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    """Something else lies in the place of a folder above the file."""
    pieces = name.split("/")
    if len(pieces) > 1:
        above = "/".join(pieces[: dice.randrange(1, len(pieces))])
        if dice.random() < 0.7:
            _put(folder, above, _odd_node(dice, above))
        else:
            _put(folder, above, dice.choice([b"", b"x"]))


def _put(folder: Folder, name: str, node: Node) -> None:
    if name == "out" and isinstance(node, Special) and node.kind == "link":
        node = Special("pipe")  # the place that the user names may be a link, and is then followed
    for other in [each for each in folder if each.startswith(f"{name}/")]:
        del folder[other]
    folder[name] = node


def _gone(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    del folder[name]


def _renamed(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    node = folder.pop(name)
    _put(folder, _odd_place(folder, name, dice), node)


def _copied(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    node = folder[name] if dice.random() < 0.6 else _odd_node(dice, name)
    _put(folder, _odd_place(folder, name, dice), node)


def _odd_place(folder: Folder, name: str, dice: random.Random) -> str:
    parents = sorted({each.rpartition("/")[0] for each in folder if "/" in each})
    parent = name.rpartition("/")[0] if dice.random() < 0.5 else dice.choice(parents or [""])
    last = dice.choice([*ODD_NAMES, name.rpartition("/")[2]])
    return f"{parent}/{last}" if parent else f"out.batten/{last}"


_COMMON: list[Mutation] = [_kind, _above, _bytes, _gone, _renamed, _copied]

_KINDS: list[tuple[str, Mutation]] = [
    (r"(^|/)(plan|commits|recompute|deliveries|tokens)/[^/]+\.json$", _record),
    (r"(^|/)(dataset|schema)\.json$", _record),
    (r"(^|/)(COMPLETE|REPLACING|JOURNAL|lock|budget|total)$", _record),
    (r"plan/\d+\.arrow$", _plan),
    (r"part-\d+\.parquet$|quarantine/\d+\.parquet$", _part),
    (r"staged/.*-[0-9a-f]{32}\.(arrow|parquet)$", _staged),
    (r"runs/.*\.jsonl$", _log),
    (r"\.inflight$", _marks),
    (r"/manifest$", _manifest),
    (r"\d{18}-\d{18}\.jsonl$", _landed),
]

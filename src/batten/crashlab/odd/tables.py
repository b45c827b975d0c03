"""Arrow and Parquet files of a folder, changed so that what describes them fits again."""

from __future__ import annotations

import hashlib
import json
import random
import re
import struct
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from batten.crashlab.odd.bombs import ROWS, choose_arrow, choose_part
from batten.crashlab.odd.records import Folder, bytes_of, change_record, set_field
from batten.crashlab.odd.values import ODD_TEXTS, ODD_VALUES, change_bytes, change_json, dump
from batten.ledger.files.part_rows import PartRows
from batten.model.disk.footer import decode_part
from batten.model.disk.records import PART_KEY, Unreadable, open_record
from batten.model.disk.staged_names import DIGEST_CHARACTERS


def mutate_plan(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    data = _change_arrow(bytes_of(folder, name), dice, canary)
    folder[name] = data
    if dice.random() < 0.95:
        digest = hashlib.sha256(data).hexdigest()
        record = name.removesuffix("arrow") + "json"
        set_field(folder, record, keys_size=len(data), keys_digest=digest)


def _change_arrow(data: bytes, dice: random.Random, canary: bytes) -> bytes:
    act = dice.random()
    if act < 0.25:
        return change_bytes(data, dice)
    if act < 0.3:
        return choose_arrow(dice)
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
        metadata[key] = dump(_try_change(metadata[key], dice))
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


def mutate_part(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    data = _change_parquet(bytes_of(folder, name), dice)
    folder[name] = data
    number = re.search(r"part-(\d+)\.parquet$", name)
    if number and dice.random() < 0.9:
        digest = hashlib.sha256(data).hexdigest()
        control = name.rpartition("/")[0] + ".batten"
        if "/parts/" in name:
            control = name.partition("/parts/")[0]
        told = {"size": len(data), "digest": digest, **_find_rows(data)}
        set_field(folder, f"{control}/commits/{number[1]}.json", **told)
        if dice.random() < 0.7:
            _fit_size(folder, f"{control}/COMPLETE", int(number[1]), len(data))

    number = re.search(r"quarantine/(\d+)\.parquet$", name)
    if number and dice.random() < 0.9:
        record = f"{name.rpartition('/quarantine/')[0]}/commits/{number[1]}.json"
        set_field(folder, record, quarantine_digest=hashlib.sha256(data).hexdigest())


def _find_rows(data: bytes) -> dict[str, int]:
    """How many it says it has, for its record."""
    try:
        return {"rows": decode_part(data).rows}
    except Unreadable:
        return {}


def _fit_size(folder: Folder, name: str, batch: int, size: int) -> None:
    try:
        sizes = json.loads(open_record(bytes_of(folder, name)))["part_sizes"]
        sizes[batch] = size
    except (KeyError, Unreadable, ValueError, IndexError, TypeError):
        return
    set_field(folder, name, part_sizes=sizes)


def _change_parquet(data: bytes, dice: random.Random) -> bytes:
    act = dice.random()
    if act < 0.3:
        return change_bytes(data, dice)
    if act < 0.4:
        size = struct.pack("<I", dice.choice([0, 1, len(data), 2**31, 2**32 - 1]))
        return data[:-8] + size + b"PAR1"
    if act < 0.5:
        return _make_bomb(data, dice)
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
        table = PartRows(data).read_table()  # an earlier change may have made it a bomb
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


def _make_bomb(data: bytes, dice: random.Random) -> bytes:
    try:
        about = pq.ParquetFile(pa.BufferReader(data)).metadata.metadata or {}
        described = json.loads(open_record(about[PART_KEY.encode()] + b"\n"))
        described["rows"] = dice.choice([2, ROWS, described["rows"]])
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError):
        described = {}  # a quarantine file says nothing of itself
    return choose_part(dice, dump(described))


def mutate_staged(folder: Folder, name: str, dice: random.Random, canary: bytes) -> None:
    data = bytes_of(folder, name)
    is_arrow = name.endswith("arrow")
    data = _change_arrow(data, dice, canary) if is_arrow else _change_parquet(data, dice)
    del folder[name]
    digest = hashlib.sha256(data).hexdigest()[:DIGEST_CHARACTERS]
    folder[re.sub(r"[0-9a-f]{32}(?=\.\w+$)", digest, name)] = data

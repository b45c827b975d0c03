"""A few kilobytes that stand for gigabytes are refused before they take any memory."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batten.inspect.verifying.verify import verify
from batten.ledger.facts.unpacked import UNPACKED_BYTES_MAX, refuse_unpacked
from batten.ledger.files.schema_file import encode_schema
from batten.model.disk.records import (
    PART_KEY,
    CommitRecord,
    Segment,
    Unreadable,
    decode_record,
    encode_record,
)
from batten.model.rules.findings import Code


def encode(table: pa.Table, compression: str | None) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def make_bomb() -> bytes:
    texts = pa.array([b"\0" * UNPACKED_BYTES_MAX], pa.large_binary())
    return encode(pa.table({"value": texts}), "zstd")


def test_a_bomb_is_refused() -> None:
    data = make_bomb()
    assert len(data) < 100_000
    with pytest.raises(Unreadable, match="bytes"):
        refuse_unpacked(data)


@pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
def test_what_fits_is_not(compression: str | None) -> None:
    texts = pa.array([b"x" * 1000, None], pa.large_binary())
    refuse_unpacked(encode(pa.table({"key": ["a", "b"], "value": texts}), compression))


@pytest.mark.parametrize("data", [b"", b"ARROW1\0\0", b"ARROW1\0\0" + b"\xff" * 100, b"\0" * 1000])
def test_what_is_none_is_left_to_arrow(data: bytes) -> None:
    refuse_unpacked(data)


def test_a_plan_that_is_one_is_damaged(build: Any) -> None:
    built = build(published=1)
    data = make_bomb()
    path = built.file(built.layout.segment(0))
    segment = decode_record(Segment, path.read_bytes())
    changed = replace(segment, keys_size=len(data), keys_digest=hashlib.sha256(data).hexdigest())
    path.write_bytes(encode_record(changed))
    built.file(built.layout.segment_keys(0)).write_bytes(data)
    assert Code.UNREADABLE_PLAN in {finding.code for finding in verify(built.path).findings}


MEASURED = """
import sys
import pyarrow as pa
from batten.inspect.verifying.verify import verify
found = verify(sys.argv[1])
print(*(each.code.value for each in found.findings), pa.default_memory_pool().max_memory())
"""


@pytest.mark.parametrize("column", ["numbers", "texts", "lists"])
@pytest.mark.parametrize("is_true", [True, False])
def test_a_part_that_stands_for_gigabytes_fills_no_memory(
    build: Any, column: str, is_true: bool
) -> None:
    """Its rows are all alike, so it has a few kilobytes; the records say so, or do not."""
    built = build(items=1, batch_size=1, filtered=frozenset(), quarantined=frozenset(), published=0)
    rows = 10_000_000 if column == "numbers" else 100_000
    value: Any = {"numbers": 7, "texts": "x" * 10_000, "lists": ["x" * 10_000]}[column]
    kind = {"numbers": pa.int64(), "texts": pa.string(), "lists": pa.list_(pa.string())}[column]
    alike = pa.array([value] * min(rows, 1000), kind)
    names = ["key", *(f"column_{n}" for n in range(8))]
    piece = pa.table([pa.array([built.key(0)] * len(alike)), *[alike] * 8], names)
    described = replace(built.describe(0), rows=rows)
    path = built.write(built.layout.part(0), b"")
    about = {PART_KEY: encode_record(described).decode().strip()}
    schema = piece.schema.with_metadata(about)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for _ in range(rows // 1_000_000 or 1):
            many = pa.concat_tables([piece] * (min(rows, 1_000_000) // len(alike)))
            writer.write_table(many.replace_schema_metadata(about))
    built.write(built.layout.schema, encode_schema(pa.schema(list(schema)[1:])))
    data = path.read_bytes()
    record = CommitRecord(
        batch=0,
        items=1,
        rows=rows if is_true else 1,
        outcomes=described.outcomes,
        keys=described.keys,
        fingerprint=described.fingerprint,
        size=len(data),
        digest=hashlib.sha256(data).hexdigest(),
        quarantine_digest="",
        run="r",
        time="t",
    )
    built.write(built.layout.commit(0), encode_record(record))
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(built.path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    *codes, held = done.stdout.split()
    assert codes == ([] if is_true else ["accounts-differ"]), done.stdout
    assert int(held) < 200 << 20

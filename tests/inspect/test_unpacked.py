"""A few kilobytes that stand for gigabytes are refused before they take any memory."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from batten.dataset.unpacked import UNPACKED_BYTES_MAX, refuse_unpacked
from batten.inspect.verify import verify
from batten.model.findings import Code
from batten.model.records import Segment, Unreadable, decode_record, encode_record


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

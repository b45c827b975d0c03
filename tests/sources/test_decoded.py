"""Compressed files and other encodings give the items of the plain file, from any place."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import batten
from batten.errors import UsageError
from batten.sources.base import Unavailable
from batten.sources.records.csv import CsvSource
from batten.sources.records.jsonl import JsonLinesSource


def _zst(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": _zst,
}


def _lines(count: int, seeded: random.Random) -> list[dict[str, Any]]:
    return [{"id": f"ü{n}", "x": "é" * seeded.randrange(400)} for n in range(count)]


@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize("key", [None, "id"])
def test_compressed_lines_are_found_again(
    ending: str, key: str | None, tmp_path: Path, sources: Any, seeded: random.Random
) -> None:
    items = _lines(3000, seeded)
    text = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in items)
    (tmp_path / f"in.jsonl{ending}").write_bytes(PACK[ending](text.encode()))
    source = JsonLinesSource(f"in.jsonl{ending}", key=key, folder=tmp_path)
    plan = sources.plan(source)
    reader = source.open()
    for start, stop in [(0, 3000), (2990, 3000), (5, 9), (9, 20), (0, 1), (1500, 1501)]:
        assert sources.read_range(reader, plan, start, stop) == items[start:stop]


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz"])
def test_pieces_that_were_compressed_alone_are_one_text(
    ending: str, tmp_path: Path, sources: Any
) -> None:
    data = PACK[ending](b'{"a": 1}\n') + PACK[ending](b'{"a": 2}\n')
    (tmp_path / f"in.jsonl{ending}").write_bytes(data)
    found = sources.read(JsonLinesSource(f"in.jsonl{ending}", folder=tmp_path))
    assert found == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-32-be", "shift_jis"])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_another_encoding_is_read(encoding: str, ending: str, tmp_path: Path, sources: Any) -> None:
    word = "日本\\n" if encoding == "shift_jis" else "Zürich"
    rows = [{"id": str(n), "city": f"{word},\n{n}"} for n in range(500)]
    text = "id,city\n" + "".join(f'{row["id"]},"{row["city"]}"\n' for row in rows)
    data = text.encode(encoding)
    (tmp_path / f"in.csv{ending}").write_bytes(gzip.compress(data) if ending else data)
    source = CsvSource(f"in.csv{ending}", key="id", folder=tmp_path, encoding=encoding)
    plan = sources.plan(source)
    assert sources.read_range(source.open(), plan) == rows
    assert sources.read_range(source.open(), plan, 490, 500) == rows[490:]
    assert "encoding" in source.identity


def test_a_byte_that_is_no_character_spoils_its_own_line_alone(
    tmp_path: Path, sources: Any
) -> None:
    (tmp_path / "in.csv").write_bytes(b"id,x\n1,\xfc\n2,\x81\n3,\xfc\n")
    source = CsvSource("in.csv", folder=tmp_path, encoding="cp1252")
    plan = sources.plan(source)
    first, second, third = source.open().read(plan.wanted(0, 3))
    assert (first["x"], third["x"]) == ("ü", "ü")
    assert isinstance(second, Unavailable)
    assert "is not cp1252, which has no character for byte 0x81" in str(second.error)


def test_utf_8_is_the_default_by_any_name(tmp_path: Path) -> None:
    one = JsonLinesSource("x.jsonl", folder=tmp_path)
    for name in ("utf-8", "UTF8", "utf_8_sig"):
        other = JsonLinesSource("x.jsonl", folder=tmp_path, encoding=name)
        assert other.identity == one.identity


@pytest.mark.parametrize("encoding", ["no such", "hex", "rot13", "", None, 5, b"utf-8"])
def test_what_is_no_encoding_is_refused(encoding: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no encoding of texts"):
        JsonLinesSource("x.jsonl", folder=tmp_path, encoding=encoding)


@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize("cut", [0, 1, 40, -1])
def test_a_file_that_is_torn_or_no_such_file_is_told(ending: str, cut: int, tmp_path: Path) -> None:
    whole = PACK[ending](b'{"a": 1}\n' * 100_000)
    data = b"this is no archive at all" if cut == 0 else whole[:cut]
    (tmp_path / f"in.jsonl{ending}").write_bytes(data)
    with pytest.raises(UsageError, match="can't be decompressed"):
        list(JsonLinesSource(f"in.jsonl{ending}", folder=tmp_path).scan())


def test_a_file_that_is_not_of_its_encoding_is_told(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b'{"a": 1}\n\x00')
    with pytest.raises(UsageError, match="it is not utf-16"):
        list(JsonLinesSource("in.jsonl", folder=tmp_path, encoding="utf-16").scan())


def test_a_job_reads_a_compressed_file_by_several_workers(tmp_path: Path) -> None:
    text = "".join(f'{{"id": {n}}}\n' for n in range(2000))
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    pipeline = (
        batten.from_jsonl(tmp_path / "in.jsonl.gz", key="id")
        .map(lambda row: {"n": row["id"]})
        .options(batch_size=50)
        .write_parquet(tmp_path / "out")
    )
    assert pipeline.run(jobs=3).rows == 2000
    (tmp_path / "in.jsonl.gz").write_bytes(
        gzip.compress(text.encode()) + gzip.compress(b'{"id": 2000}\n')
    )
    again = pipeline.run(jobs=3)
    assert (again.executed_items, again.rows) == (1, 2001)

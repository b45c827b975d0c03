"""A part or a quarantine file of some kilobytes that stand for gigabytes fills no memory, whatever
reads it; what describes it has been made to fit."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batten.ledger.files.part_rows import BATCH_BYTES, PartRows
from batten.model.disk.footer import decode_part
from batten.model.disk.records import (
    PART_KEY,
    CommitRecord,
    Completion,
    Unreadable,
    decode_record,
    encode_record,
)

JOB = textwrap.dedent("""
    import batten

    def double(n: int) -> dict:
        if n == 1:
            raise ValueError("one")
        return {"text": f"t{n}", "list": [f"l{n}"], "data": b"d", "numbers": [n]}

    pipeline = batten.from_items([0, 1, 2], key=str).map(double).write_parquet("out")
""")
CALLS = {
    "verify": "verify('out')",
    "to_batches": "sum(b.num_rows for b in batten.open('out').to_batches())",
    "to_arrow": "batten.open('out').to_arrow()",
    "export": "batten.open('out').export('out.jsonl')",
    "quarantined": "batten.open('out').quarantined()",
    "show": "main(['show', 'out'])",
    "report": "main(['report', 'out'])",
    "retry": "run(retry_quarantined=True)",
}
MEASURED = """
import resource, sys
import pyarrow as pa
import batten
from batten.cli.main import main
from batten.jobs.loading.job_file import load_job
from batten.inspect.verifying.verify import verify

def run(**options):
    load_job("job.py", {}, batten.Pipeline).pipeline.run(executor="serial", **options)

resource.setrlimit(resource.RLIMIT_DATA, (2 << 30, 2 << 30))
try:
    {call}
except batten.BattenError as error:
    print("refused", type(error).__name__)
print("held", pa.default_memory_pool().max_memory())
"""


def repeat(value: Any, times: int, kind: pa.DataType) -> pa.Array:
    """The same value so often, which takes no memory here."""
    only = pa.array([value], kind)
    return pa.DictionaryArray.from_arrays(pa.array([0] * times, pa.int32()), only)


LONG = "x" * (1 << 20)

BOMBS: dict[str, Callable[[], dict[str, Any]]] = {
    "a page of zeros": lambda: {"data": [b"\0" * (300 << 20), b""]},
    "a list of nothing": lambda: {
        "numbers": pa.ListArray.from_arrays(
            pa.array([0, 40_000_000, 40_000_000], pa.int32()), pa.nulls(40_000_000, pa.int64())
        )
    },
    "a text in a list": lambda: {
        "list": pa.ListArray.from_arrays(
            pa.array([0, 6000, 6000], pa.int32()), pa.array(["x" * (1 << 16)] * 6000)
        )
    },
}


def make_bomb(data: bytes, columns: dict[str, Any]) -> bytes:
    """The file with other columns, which says the same of itself."""
    table = pq.read_table(io.BytesIO(data))
    for name, values in columns.items():
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, pa.array(values))
    return encode(table)


def encode(table: pa.Table) -> bytes:
    texts = [name for name in table.column_names if name != "data"]
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=texts, store_schema=False)
    made = bytes(sink.getvalue())
    assert len(made) < 100_000
    return made


@pytest.fixture
def output(tmp_path: Path) -> Path:
    (tmp_path / "job.py").write_text(JOB)
    call(tmp_path, "run()")
    return tmp_path


def call(folder: Path, what: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", MEASURED.replace("{call}", what)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    *told, held = done.stdout.splitlines()
    assert int(held.split()[1]) < 600 << 20
    return told


def put_part(folder: Path, data: bytes) -> None:
    """In the place of the part, with records that fit."""
    control = folder / "out.batten"
    record = decode_record(CommitRecord, (control / "commits/000000.json").read_bytes())
    changed = replace(record, size=len(data), digest=hashlib.sha256(data).hexdigest())
    (control / "commits/000000.json").write_bytes(encode_record(changed))
    complete = decode_record(Completion, (control / "COMPLETE").read_bytes())
    (control / "COMPLETE").write_bytes(encode_record(replace(complete, part_sizes=[len(data)])))
    (folder / "out/part-000000.parquet").write_bytes(data)


@pytest.mark.parametrize(
    ("name", "bomb"),
    [
        *((name, "a page of zeros") for name in ("verify", "to_batches", "export", "retry")),
        *((name, "a list of nothing") for name in ("verify", "to_arrow")),
        *((name, "a text in a list") for name in ("verify", "to_batches", "retry")),
    ],
)
def test_a_part(output: Path, name: str, bomb: str) -> None:
    data = (output / "out/part-000000.parquet").read_bytes()
    put_part(output, make_bomb(data, BOMBS[bomb]()))
    told = call(output, CALLS[name])
    if name != "verify":
        assert told[-1] == "refused CorruptError"


@pytest.mark.parametrize("name", ["quarantined", "show", "report", "verify"])
def test_a_quarantine_file(output: Path, name: str) -> None:
    path = output / "out.batten/quarantine/000000.parquet"
    rows = pq.read_table(path)
    many = pa.table(
        {
            field.name: repeat(rows.column(field.name)[0].as_py(), 5000, field.type)
            for field in rows.schema
        }
    )
    error = repeat(LONG, 5000, pa.string())
    path.write_bytes(encode(many.set_column(2, "error", error)))
    record = output / "out.batten/commits/000000.json"
    changed = decode_record(CommitRecord, record.read_bytes())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    record.write_bytes(encode_record(replace(changed, quarantine_digest=digest)))
    told = call(output, CALLS[name])
    if name == "quarantined":
        assert told[-1] == "refused CorruptError"


def test_a_part_without_its_keys_is_damage(output: Path) -> None:
    path = output / "out/part-000000.parquet"
    described = encode_record(decode_part(path.read_bytes())).decode().strip()
    table = pq.read_table(path).drop_columns(["key"])
    put_part(output, encode(table.replace_schema_metadata({PART_KEY: described})))
    assert call(output, CALLS["retry"])[-1] == "refused CorruptError"


def test_outcomes_that_are_not_those_of_the_batch_are_damage(output: Path) -> None:
    path = output / "out/part-000000.parquet"
    described = replace(decode_part(path.read_bytes()), outcomes=f"{10**15}c1q")
    about = {PART_KEY: encode_record(described).decode().strip()}
    put_part(output, encode(pq.read_table(path).replace_schema_metadata(about)))
    assert call(output, CALLS["retry"])[-1] == "refused CorruptError"


def test_long_texts_that_are_there_once_come_a_few_rows_at_a_time() -> None:
    data = encode(pa.table({"key": ["k"] * 9000, "text": repeat(LONG, 9000, pa.string())}))
    rows = 0
    for batch in PartRows(data).read_batches():
        assert batch.schema.field("text").type == pa.string()
        assert batch.nbytes <= BATCH_BYTES + (1 << 21)
        rows += batch.num_rows
    assert rows == 9000
    with pytest.raises(Unreadable, match="stand for"):
        PartRows(data).read_table()


EVERY = pa.table(
    {
        "list": pa.array([["x", "y"], None, []], pa.list_(pa.string())),
        "map": pa.array([[("k", "v")], [], None], pa.map_(pa.string(), pa.string())),
        "struct": [{"p": "x"}, None, {"p": "z"}],
        "binary": pa.array([b"1", b"2", None], pa.large_binary()),
        "text": ["q", "q", "r"],
        "pair": pa.array([["1", "2"]] * 3, pa.list_(pa.string(), 2)),
        "number": [1, 2, 3],
        "fixed": pa.array([b"abc"] * 3, pa.binary(3)),
    }
)


@pytest.mark.parametrize("most", [BATCH_BYTES, 3])
def test_all_kinds_of_columns_come_as_they_are(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batten.ledger.files.part_rows.BATCH_BYTES", most)
    sink = pa.BufferOutputStream()
    pq.write_table(EVERY, sink)
    data = bytes(sink.getvalue())
    assert PartRows(data).read_table().equals(EVERY)
    chosen = ["text", "list"]
    assert PartRows(data).read_table(chosen).equals(EVERY.select(chosen))

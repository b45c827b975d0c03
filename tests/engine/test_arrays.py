"""Arrays that are laid out by hand are those that Arrow makes, down to their checks."""

import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batten.ledger.files.quarantine_file import encode_quarantine
from batten.rows import arrays
from batten.rows.arrays import integers, large_binaries, long_texts, plain_array, texts

TYPES = {
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    bytes: pa.binary(),
    bool: pa.bool_(),
}


def _random_value(kind: type, chooser: random.Random) -> object:
    if kind is int:
        return chooser.choice([0, -1, 2**63 - 1, -(2**63), chooser.getrandbits(40)])
    if kind is float:
        return chooser.choice([0.0, -0.0, float("inf"), chooser.random()])
    if kind is bool:
        return chooser.random() < 0.5
    text = "".join(chooser.choices("aé漢🦆\0", k=chooser.randrange(4)))
    return text if kind is str else text.encode()


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("has_nulls", [False, True])
@pytest.mark.parametrize("count", [1, 7, 8, 9, 1000])
def test_the_array_is_that_of_arrow(
    kind: type, has_nulls: bool, count: int, seeded: random.Random
) -> None:
    values = [
        None if has_nulls and seeded.random() < 0.3 else _random_value(kind, seeded)
        for _ in range(count)
    ]
    made = plain_array(values, kind, has_nulls=None in values)
    made.validate(full=True)
    expected = pa.array(values, TYPES[kind])
    assert made.equals(expected)
    assert made.null_count == expected.null_count
    assert made.type == expected.type


def test_those_of_the_plan_as_well() -> None:
    assert integers(range(5)).equals(pa.array([0, 1, 2, 3, 4], pa.int64()))
    assert integers([]).equals(pa.array([], pa.int64()))
    assert texts(["a", "é", ""]).equals(pa.array(["a", "é", ""]))
    assert large_binaries([b"", b"xy"]).equals(pa.array([b"", b"xy"], pa.large_binary()))


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1])
def test_an_integer_beyond_64_bits_is_an_error(value: int) -> None:
    with pytest.raises(OverflowError):
        integers([value])


def test_text_that_is_not_unicode_is_an_error() -> None:
    with pytest.raises(UnicodeEncodeError):
        texts(["\udcff"])


def test_texts_that_one_array_can_not_hold_are_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    """As tracebacks of a hundred thousand items that failed, which a quarantine file holds."""
    assert long_texts(["a", "b"]).equals(pa.array(["a", "b"]))

    def refuse(_: Sequence[str]) -> pa.Array:
        raise OverflowError

    monkeypatch.setattr(arrays, "texts", refuse)
    assert long_texts(["a", "b"]).equals(pa.array(["a", "b"]))
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        name: texts(["a", "b"]) for name in ("key", "error", "time")
    }
    columns |= {name: integers([0, 1]) for name in ("item", "attempts")}
    columns["traceback"] = pa.chunked_array([["a"], ["b"]], pa.string())
    held = pq.read_table(pa.BufferReader(encode_quarantine(columns)))
    assert held.column("traceback").to_pylist() == ["a", "b"]


@pytest.mark.parametrize("end", ['write_parquet("out")', 'write_tree("out", commit=commit)'])
def test_a_run_does_not_import_pandas(end: str, tmp_path: Path) -> None:
    """A stand-in for it tells: what `pyarrow.array` does wherever pandas is installed."""
    (tmp_path / "pandas.py").write_text("open('imported', 'w')\nraise ImportError\n")
    job = """
import batten, sys

def measure(line):
    if line["name"] == "7":
        raise ValueError("it fails")
    return {"number": 1, "share": 0.5, "text": "x", "is_it": True, "nothing": line["maybe"]}

items = [{"name": str(n), "maybe": None if n % 2 else n} for n in range(150)]

def commit(change, number, row):
    if number["name"] == "9":
        raise ValueError("it is rejected")

batten.from_items(items, key="name").map(measure).END.run(jobs=2)
"""
    done = subprocess.run(
        [sys.executable, "-c", job.replace("END", end)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "imported").exists()

"""Batches for a model: by tokens, and smaller where a device's memory does not do."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

import batten
from batten.errors import UsageError
from batten.storage.blame import is_out_of_memory

JOB = """
import os

class OutOfMemoryError(RuntimeError):
    pass

def note(count):
    calls = os.open("calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(calls, b"%d\\n" % count)
    os.close(calls)

def row(number):
    return {"number": number, "length": 1 + number % 5}

def work(table):
    note(table.num_rows)
    BODY
    return table

pipeline = (
    batten.from_range(40).map(row)
    .map_batches(work, OPTIONS)
    .write_parquet("out/").options(batch_size=20, stop_when=None)
)
"""


def write(job: Any, options: str, body: str = "pass") -> Any:
    return job.write(JOB.replace("BODY", body).replace("OPTIONS", options))


def test_a_call_gets_no_more_tokens_than_are_allowed(job: Any) -> None:
    done = write(job, 'tokens_max=10, tokens=lambda row: row["length"]').run("--jobs", "1")
    assert done.code == 0, done.err
    assert [row["number"] for row in job.rows()] == list(range(40))
    # 1 2 3 4 and 5 1 2, then 3 4, and so on, anew in the second batch of 20.
    assert list(map(int, job.calls())) == 2 * [4, 3, 2, 3, 2, 3, 2, 1]


def test_an_item_with_more_tokens_goes_alone(job: Any) -> None:
    done = write(job, "items=10, tokens_max=1, tokens=lambda row: 5").run("--jobs", "2")
    assert done.code == 0, done.err
    assert job.calls() == ["1"] * 40


def test_an_item_whose_tokens_cannot_be_counted_fails_alone(job: Any) -> None:
    done = write(job, 'tokens_max=50, tokens=lambda row: 4 // abs(row["number"] - 7)').run()
    assert done.code == 3, done.err
    assert list(job.quarantined()) == ["7"]
    assert job.quarantined()["7"][0].startswith("ZeroDivisionError")
    assert len(job.rows()) == 39


@pytest.mark.parametrize("told", ["-1", "float('nan')", "float('inf')", "None", "'3'", "10**400"])
def test_a_count_of_tokens_that_limits_nothing_fails_its_item_alone(told: str, job: Any) -> None:
    counted = f'tokens_max=50, tokens=lambda row: {told} if row["number"] == 7 else 1'
    done = write(job, counted).run("--jobs", "1")
    assert done.code == 3, done.err
    assert list(job.quarantined()) == ["7"]
    assert job.quarantined()["7"][0].startswith("ValueError: `tokens` gave ")
    assert len(job.rows()) == 39


@pytest.mark.parametrize("told", ["2.5", "True", "__import__('numpy').int64(2)"])
def test_tokens_are_any_number(told: str, job: Any) -> None:
    assert write(job, f"tokens_max=50, tokens=lambda row: {told}").run().code == 0


@pytest.mark.parametrize("own", ["", ", concurrency=1"])
@pytest.mark.parametrize(
    "raised",
    [
        "OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB')",
        "RuntimeError('CUDA error: out of memory')",
        "MemoryError()",
    ],
)
def test_half_the_items_are_tried_where_memory_does_not_do(raised: str, own: str, job: Any) -> None:
    body = f"if table.num_rows > 10: raise {raised}"
    done = write(job, f"items=20, retries=2{own}", body).run("--jobs", "1")
    assert done.code == 0, done.err
    assert sorted(map(int, job.calls())) == [10, 10, 10, 10, 20, 20]
    assert [row["number"] for row in job.rows()] == list(range(40))


def test_it_is_halved_once_and_then_each_item_is_tried_alone(job: Any) -> None:
    body = "if 7 in table.column('number').to_pylist(): raise MemoryError"
    done = write(job, "items=20", body).run("--jobs", "1")
    assert done.code == 3, done.err
    assert list(job.quarantined()) == ["7"]
    assert list(map(int, job.calls())) == [20, 10, *[1] * 10, 10, 20]


def test_another_failure_is_not_halved(job: Any) -> None:
    body = "if 7 in table.column('number').to_pylist(): raise ValueError('no')"
    done = write(job, "items=20", body).run("--jobs", "1")
    assert done.code == 3, done.err
    assert list(map(int, job.calls())) == [20, *[1] * 20, 20]


@pytest.mark.parametrize(
    ("error", "is_of_memory"),
    [
        (MemoryError(), True),
        (type("OutOfMemoryError", (RuntimeError,), {})("x"), True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes."), True),
        (RuntimeError("Failed to allocate memory for requested buffer of size 9"), True),
        (RuntimeError("no kernel image"), False),
        (OSError("out of memory"), False),
        (KeyError("out of memory"), False),
    ],
)
def test_what_tells_that_memory_did_not_do(error: Exception, is_of_memory: bool) -> None:
    assert is_out_of_memory(error) == is_of_memory


def test_tokens_and_their_limit_need_each_other() -> None:
    def same(table: pa.Table) -> pa.Table:
        return table

    for options in ({"tokens_max": 5}, {"tokens": len}, {"tokens_max": 0, "tokens": len}):
        with pytest.raises(UsageError, match="tokens"):
            batten.from_range(1).map_batches(same, **options)  # type: ignore[arg-type]


def test_the_limit_of_tokens_is_part_of_what_the_rows_were_made_by(job: Any) -> None:
    write(job, 'tokens_max=10, tokens=lambda row: row["length"]').run()
    for changed in ('tokens_max=11, tokens=lambda row: row["length"]', "tokens_max=10, tokens=len"):
        assert write(job, changed).run().code == 5

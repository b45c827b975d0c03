"""What a function gave and no row can be made of is quarantined: it may have been paid for."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest

import batten
from batten.inspect.show import show

pytestmark = pytest.mark.usefixtures("in_folder")


class Odd:
    def __repr__(self) -> str:
        raise OSError("no")


def ask(number: int) -> dict[str, Any]:
    return {"text": "paid" if number else 1}


async def ask_and_await(number: int) -> dict[str, Any]:
    return ask(number)


def find_kept(job: batten.Pipeline, **options: Any) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", batten.QuarantinedWarning)
        report = job.write_parquet("out").run(progress=False, jobs=1, **options)
    assert report.quarantined == 1
    [failed] = show("out").quarantined
    return failed.traceback


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("function", [ask, ask_and_await])
def test_a_row_of_another_type(function: Callable[[int], Any], batch_size: int) -> None:
    job = batten.from_range(2).map(function).options(batch_size=batch_size)
    assert "{'text': 'paid'}" in find_kept(job)


def test_rows_that_are_too_many_to_show() -> None:
    job = batten.from_range(1).flat_map(lambda n: [{"n": 1}, *[{"n": "x"}] * 5])
    told = find_kept(job.options(schema={"n": "int64"}), executor="serial")
    assert told.count("'n'") == 3
    assert "3 rows more" in told


def test_what_is_no_row() -> None:
    job = batten.from_range(1).map(lambda n: ["paid", n])
    assert "['paid', 0]" in find_kept(job, executor="serial")


def test_what_a_check_refuses() -> None:
    job = batten.from_range(1).map(lambda n: {"text": "paid"}).check(lambda row: "too short")
    assert "{'text': 'paid'}" in find_kept(job, executor="serial")


def test_what_is_long_or_can_not_be_shown() -> None:
    job = batten.from_range(1).map(
        lambda n: {"long": "x" * 10**6, "bytes": b"y" * 10**6, "odd": Odd()}
    )
    told = find_kept(job, executor="serial")
    assert "1,000,000 bytes" in told
    assert "an Odd that can't be shown (OSError)" in told.replace("a Odd", "an Odd")
    assert len(told) < 25_000


def test_a_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAID_KEY", "sk-0123456789abcdef0123")
    key = batten.Secret("PAID_KEY")
    job = batten.from_range(1).map(lambda n: [f"sent with {key()}"])
    assert "sk-0123456789abcdef0123" not in find_kept(job, executor="serial")

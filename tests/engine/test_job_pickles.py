"""A job is a value: it can be sent to a worker anywhere, and does there what it does here."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import batten
from batten.pipeline.pipeline import Pipeline
from batten.work import workforce


def square(number: int) -> dict[str, Any]:
    return {"square": number * number}


def square_of(item: dict[str, Any]) -> dict[str, Any]:
    if item["number"] == 2:
        raise ValueError("two fails")
    return square(item["number"])


def count_letters(path: Path) -> dict[str, Any]:
    return {"letters": len(path.read_text())}


class Adder:
    """Is constructed by each worker."""

    def __init__(self) -> None:
        self.more = 5

    def __call__(self, number: int) -> dict[str, Any]:
        return {"sum": number + self.more}


def from_range(folder: Path) -> Pipeline:
    cache = batten.Cache(folder / "cache")
    return batten.from_range(5).map(square, retries=1, cache=cache)


def from_items(folder: Path) -> Pipeline:
    items = [{"name": f"item {number}", "number": number} for number in range(5)]
    return batten.from_items(items, key="name").map(square_of)


def from_files(folder: Path) -> Pipeline:
    for number in range(5):
        (folder / f"{number}.txt").write_text("a" * number)
    return batten.from_files(str(folder / "*.txt")).map(count_letters)


def from_jsonl(folder: Path) -> Pipeline:
    lines = "".join(json.dumps({"number": number}) + "\n" for number in range(5))
    (folder / "in.jsonl").write_text(lines)
    return batten.from_jsonl(folder / "in.jsonl").map(square_of)


def of_a_class(folder: Path) -> Pipeline:
    return batten.from_range(5).map(Adder)


MAKERS = [from_range, from_items, from_files, from_jsonl, of_a_class]


def send(value: Any) -> Any:
    """What arrives of it elsewhere."""
    return pickle.loads(pickle.dumps(value))


def read_rows(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder).to_pylist()
    return rows


@pytest.mark.parametrize("make", MAKERS)
def test_a_pipeline_that_was_sent_does_the_same(
    make: Callable[[Path], Pipeline], tmp_path: Path
) -> None:
    pipeline = make(tmp_path).options(batch_size=2)
    here = pipeline.write_parquet(tmp_path / "here")
    there = send(pipeline.write_parquet(tmp_path / "there"))
    assert here.run(executor="serial").rows == there.run(executor="serial").rows
    assert read_rows(tmp_path / "here") == read_rows(tmp_path / "there")
    assert send(here).run(executor="serial").status == "nothing-to-do"


@pytest.mark.parametrize("make", MAKERS)
def test_what_a_worker_is_told_can_be_sent(
    make: Callable[[Path], Pipeline], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it has worked: what it has open stays here."""
    here = make(tmp_path).options(batch_size=2).write_parquet(tmp_path / "here")
    expected = here.run(executor="serial").rows
    sent, made = [], workforce.make_work

    def send_work(*given: Any, **named: Any) -> Any:
        work = send(made(*given, **named))

        def work_and_send(task: Any, mark: Any) -> Any:
            answer = work(send(task), mark)
            sent.append(send(work))
            return send(answer)

        return work_and_send

    monkeypatch.setattr(workforce, "make_work", send_work)
    there = make(tmp_path).options(batch_size=2).write_parquet(tmp_path / "there")
    assert there.run(executor="serial").rows == expected
    assert read_rows(tmp_path / "here") == read_rows(tmp_path / "there")
    assert sent

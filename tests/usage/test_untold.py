"""Answers that do not say what they used, or strangely: the call counts, with its bound."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pydantic
import pytest

import batten
from batten.model.rules.usage import Usage, read_recorded, record_usage, tell_usage

ITEMS = 6

GOOD = {"prompt_tokens": 10, "completion_tokens": 5, "cost": 0.5}

STRANGE: list[Any] = [
    None,
    {},
    {"total_tokens": 15},
    {**GOOD, "prompt_tokens": float("nan")},
    {**GOOD, "prompt_tokens": -1},
    {**GOOD, "prompt_tokens": True},
    {**GOOD, "prompt_tokens": "many"},
    {**GOOD, "prompt_tokens": 10**70},
    {**GOOD, "cost": {"usd": 1}},
    {**GOOD, "cost": "NaN"},
    "nonsense",
]


class Answer(pydantic.BaseModel):
    text: str


def answer(used: object) -> dict[str, Any]:
    message = {"role": "assistant", "content": json.dumps({"text": "yes"})}
    return {"choices": [{"message": message, "finish_reason": "stop"}], "usage": used}


def ask(number: int) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": str(number)}]}


def run(out: Path, call: Callable[[dict[str, Any]], Any]) -> Usage:
    pipeline = batten.from_range(ITEMS).map(batten.structured(Answer, ask, call))
    report = pipeline.write_parquet(out).run(executor="serial", progress=False)
    assert report.usage is not None
    return report.usage


def asked(body: dict[str, Any]) -> int:
    return int(body["messages"][-1]["content"])


@pytest.mark.parametrize("used", STRANGE, ids=str)
def test_a_strange_usage_counts_as_a_call_of_which_it_is_not_known(
    used: object, tmp_path: Path
) -> None:
    usage = run(tmp_path / "out", lambda body: answer(used if asked(body) == 3 else GOOD))
    assert (usage.calls_untold, usage.calls_lost) == (1, 1)
    assert usage.lost_at_most["cost"] == Decimal("0.5")
    assert usage.total["input_tokens"] in (50, 60)
    shown = dict(tell_usage(usage))
    assert shown["and"].startswith("1 call answered, without a usage that can be read: at most")


def test_it_is_so_after_the_accounts_are_closed_and_in_the_record(tmp_path: Path) -> None:
    usage = run(tmp_path / "out", lambda body: answer(None))
    assert (usage.calls_untold, usage.total) == (ITEMS, {})
    assert read_recorded(record_usage(usage)) == usage
    contents = batten.diagnose(tmp_path / "out").contents
    assert contents.usage == usage
    assert usage.to_json()["lost"] == {"calls": ITEMS, "untold": ITEMS, "at_most": {}}
    assert dict(tell_usage(usage))["and"].endswith("that can be read: unknown")


def test_numbers_may_be_texts(tmp_path: Path) -> None:
    texts = {"prompt_tokens": "10", "completion_tokens": " 5 ", "cost": "2.5e-1"}
    usage = run(tmp_path / "out", lambda body: answer(texts))
    assert usage.calls_untold == 0
    assert usage.total == {"input_tokens": 60, "output_tokens": 30, "cost": Decimal("1.5")}


def test_a_function_that_can_not_tell_fails_and_the_call_counts(tmp_path: Path) -> None:
    def work(number: int) -> dict[str, int]:
        used = {**GOOD, "prompt_tokens": "?"} if number == 1 else GOOD
        batten.usage(answer(used))
        if number == 2:
            batten.usage(cost="dear")  # type: ignore[arg-type]
        return {"number": number}

    pipeline = batten.from_range(4).map(work).write_parquet(tmp_path / "out")
    usage = pipeline.run(executor="serial", progress=False).usage
    assert usage is not None
    assert usage.calls_untold == 2
    assert usage.total["cost"] == Decimal("2.0")
    assert usage.total["input_tokens"] == 30


def test_what_is_named_beside_a_strange_answer_is_told(tmp_path: Path) -> None:
    def work(number: int) -> dict[str, int]:
        batten.usage(answer(None), price=2)
        return {"number": number}

    pipeline = (
        batten.from_range(1).map(work).options(stop_when=None).write_parquet(tmp_path / "out")
    )
    with pytest.warns(batten.QuarantinedWarning):
        usage = pipeline.run(executor="serial", progress=False).usage
    assert usage is not None
    assert (usage.total, usage.calls_untold) == ({"price": 2}, 1)


def test_they_count_in_the_budget(tmp_path: Path) -> None:
    """Each as if it had used what the dearest item did."""
    pipeline = batten.from_range(40).map(
        batten.structured(Answer, ask, lambda body: answer(GOOD if asked(body) < 2 else None))
    )
    with pytest.raises(batten.InterruptedRunError, match="budget"):
        pipeline.write_parquet(tmp_path / "out").run(
            executor="serial", progress=False, budget=Decimal(5)
        )
    usage = batten.diagnose(tmp_path / "out").contents.usage
    assert usage is not None
    assert (usage.total["cost"], usage.calls_untold) == (Decimal("1.0"), 8)

"""A pydantic model as the row of a chat call: sent along, validated, repaired, or quarantined."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import pytest
from pydantic import BaseModel, Field

import batten

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import VendorServer


class Tag(BaseModel):
    name: str


class Verdict(BaseModel):
    label: Literal["good", "bad"]
    score: int = Field(ge=0, le=10)
    tags: list[Tag] = []


pytestmark = pytest.mark.usefixtures("in_folder")


def request(number: int) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": str(number)}]}


GOOD = '{"label": "good", "score": 7, "tags": [{"name": "a"}]}'
BAD_AT_FIRST, NEVER, REFUSES = 2, 4, 5


def say(body: Any) -> dict[str, Any]:
    """One item is bad at first, one always, and one is refused. An answer uses ten tokens."""
    messages = body["messages"]
    number, tries = int(messages[0]["content"]), len(messages) // 2
    text: str | None = GOOD
    if (number == BAD_AT_FIRST and not tries) or number == NEVER:
        text = json.dumps({"label": "so-so", "score": 70 + tries, "tags": []})
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if number == REFUSES:
        message = {"role": "assistant", "content": None, "refusal": "I can't say"}
    usage = {"prompt_tokens": 10, "completion_tokens": 1}
    return {"choices": [{"message": message}], "usage": usage}


asked: Counter[int] = Counter()
seen: list[Any] = []


def call(body: dict[str, Any]) -> Any:
    asked[int(body["messages"][0]["content"])] += 1
    seen.append(body)
    return say(body)


async def call_async(body: dict[str, Any]) -> Any:
    return call(body)


def check(report: batten.Report, usage_calls: int) -> None:
    table = batten.open("out").to_arrow()
    assert table.column_names == ["key", "label", "score", "tags"]
    assert table.column("label").to_pylist() == ["good"] * 4
    assert table.column("tags").to_pylist() == [[{"name": "a"}]] * 4
    assert report.accounts is not None
    assert report.accounts.quarantined == 2
    assert report.usage is not None
    assert report.usage.total["input_tokens"] == 10 * usage_calls
    assert report.usage.kept["input_tokens"] == 10 * 5
    failed = {each.key: each for each in batten_quarantined()}
    assert "label: Input should be 'good' or 'bad'" in failed["4"].error
    assert '"score": 72' in failed["4"].error
    assert '"score": 72' in failed["4"].traceback
    assert "I can't say" in failed["5"].error


def batten_quarantined() -> Any:
    from batten.inspect.show import show

    return show("out").quarantined


@pytest.mark.parametrize("own", [call, call_async])
def test_by_a_client_of_the_users_own(own: Callable[..., Any]) -> None:
    asked.clear()
    seen.clear()
    job = batten.from_range(6).map(batten.structured(Verdict, request, own, repairs=2), retries=2)
    with pytest.warns(batten.QuarantinedWarning):
        report = job.write_parquet("out").run(progress=False, executor="serial")
    check(report, 4 + 1 + 3 + 1)
    assert asked == {0: 1, 1: 1, 2: 2, 3: 1, 4: 3, 5: 1}
    wanted = seen[0]["response_format"]["json_schema"]
    assert (wanted["name"], wanted["strict"]) == ("Verdict", True)
    assert wanted["schema"]["required"] == ["label", "score", "tags"]
    assert wanted["schema"]["additionalProperties"] is False
    assert wanted["schema"]["$defs"]["Tag"]["additionalProperties"] is False
    assert "default" not in json.dumps(wanted["schema"])
    repair = next(body for body in seen if len(body["messages"]) == 3)
    assert repair["messages"][1]["role"] == "assistant"
    assert "score: Input should be less than or equal to 10" in repair["messages"][2]["content"]


def test_by_a_batch_interface(vendor: VendorServer) -> None:
    vendor.answer = say
    job = batten.from_range(6).map_batch_api(
        batten.structured(Verdict, request, repairs=2),
        base_url=vendor.base_url,
        poll_seconds=0.01,
    )
    with pytest.warns(batten.QuarantinedWarning):
        report = job.write_parquet("out").run(progress=False)
    check(report, 4 + 1 + 3 + 1)
    assert sum(vendor.charged) == 10 * 9
    assert max(vendor.begun.values()) == 1


def test_what_can_not_be_structured_is_refused() -> None:
    with pytest.raises(batten.UsageError, match="pydantic model"):
        batten.structured(dict, request, call)
    with pytest.raises(batten.UsageError, match="repairs"):
        batten.structured(Verdict, request, call, repairs=-1)
    with pytest.raises(batten.UsageError, match="one of them"):
        batten.from_range(3).map_batch_api(request)


def test_another_model_is_another_job() -> None:
    class Other(BaseModel):
        label: str

    job = batten.from_range(2).map(batten.structured(Verdict, request, call))
    job.write_parquet("out").run(progress=False, executor="serial")
    job = batten.from_range(2).map(batten.structured(Other, request, call))
    with pytest.raises(batten.RefusedError):
        job.write_parquet("out").run(progress=False, executor="serial")

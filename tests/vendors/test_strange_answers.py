"""A model that answers with nonsense: it is repaired, tried again or quarantined, with the answer
that was paid for, and never taken for a row that it is not."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, RootModel, field_validator

import batten
from batten.inspect.show import show
from batten.jobs.structure import AnswerError, Structure

if TYPE_CHECKING:
    from conftest import VendorServer

GOOD = '{"score": 0.5}'


class Score(BaseModel):
    score: float


class Count(BaseModel):
    count: int


class Odd(BaseModel):
    count: int

    @field_validator("count")
    @classmethod
    def check(cls, count: int) -> int:
        known = {1: "one"}
        known[count]
        return count


class Node(BaseModel):
    name: str
    nodes: list[Annotated[Node, Field(description="below it")]] = []


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]


class Pet(BaseModel):
    pet: Cat | Dog = Field(discriminator="kind")


class Numbers(RootModel[list[int]]):
    pass


class Nothing(BaseModel):
    pass


class Callback(BaseModel):
    back: Callable[[int], int]


pytestmark = pytest.mark.usefixtures("in_folder")


def request(number: int) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": str(number)}]}


def say(text: Any, **more: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 10, "completion_tokens": 1}
    message = {"role": "assistant", "content": text}
    return {"choices": [{"message": message, **more}], "usage": usage}


class Client:
    """Gives these answers in turn, and the last one ever after."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.bodies: list[dict[str, Any]] = []

    def __call__(self, body: dict[str, Any]) -> Any:
        self.bodies.append(body)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def run(model: type[Any], client: Any, *, retries: int = 0, repairs: int = 1) -> batten.Report:
    step = batten.structured(model, request, client, repairs=repairs)
    job = batten.from_range(1).map(step, retries=retries).write_parquet("out")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", batten.QuarantinedWarning)
        return job.run(progress=False, executor="serial", jobs=1)


def row() -> dict[str, Any]:
    [found] = batten.open("out").to_arrow().drop_columns(["key"]).to_pylist()
    return dict(found)


NO_JSON = {
    "NaN": '{"score": NaN}',
    "infinity": '{"score": -Infinity}',
    "a name twice": '{"score": 0.1, "score": 0.2}',
    "a name twice within": '{"score": 0.1, "more": {"a": 1, "a": 1}}',
    "nested deeply": '{"score": ' + "[" * 100_000,
    "a byte order mark": "\ufeff" + GOOD,
    "half a character": '{"score": 0.5, "more": "\ud800"}',
    "a fence": f"```json\n{GOOD}\n```",
    "nothing": "",
    "a long number": '{"score": ' + "9" * 5000 + "}",
}


@pytest.mark.parametrize("text", NO_JSON.values(), ids=NO_JSON)
def test_what_is_no_json_is_repaired(text: str) -> None:
    client = Client(say(text), say(GOOD))
    report = run(Score, client)
    assert row() == {"score": 0.5}
    assert len(client.bodies) == 2
    assert report.usage is not None
    assert report.usage.kept["input_tokens"] == 20
    # No server takes an assistant that says nothing.
    assert all(each["content"] for each in client.bodies[1]["messages"])


NO_ANSWERS = {
    "an error": {"error": {"message": "overloaded"}},
    "no choices": {"choices": [], "usage": {"prompt_tokens": 10}},
    "a page": "<html>gateway</html>",
    "nothing": None,
    "a stream": SimpleNamespace(response="200 OK"),
    "a piece": SimpleNamespace(choices=[SimpleNamespace(delta=SimpleNamespace(content=GOOD))]),
}


@pytest.mark.parametrize("answer", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_what_no_model_said_is_asked_again_and_not_repaired(answer: Any) -> None:
    client = Client(answer, say(GOOD))
    run(Score, client, retries=1, repairs=0)
    assert row() == {"score": 0.5}
    assert client.bodies[0] == client.bodies[1]


@pytest.mark.parametrize(
    ("answer", "told"),
    [(say(None, finish_reason="tool_calls"), "ended with tool_calls"), (say(7), "has no text")],
)
def test_an_answer_without_text_is_repaired(answer: Any, told: str) -> None:
    client = Client(answer, say(GOOD))
    run(Score, client)
    assert row() == {"score": 0.5}
    assert told in client.bodies[1]["messages"][-1]["content"]


def test_what_was_held_back_is_not_asked_again() -> None:
    client = Client(say(None, finish_reason="content_filter"))
    assert run(Score, client, retries=3, repairs=3).quarantined == 1
    assert len(client.bodies) == 1


def test_a_text_in_pieces_is_put_together() -> None:
    run(Score, Client(say([{"type": "text", "text": GOOD[:5]}, {"text": GOOD[5:]}])))
    assert row() == {"score": 0.5}


def test_a_coroutine_is_no_answer() -> None:
    async def ask(body: dict[str, Any]) -> Any:
        return say(GOOD)

    assert run(Score, lambda body: ask(body)).quarantined == 1
    [failed] = show("out").quarantined
    assert "write it as async def" in failed.error


def test_the_whole_answer_is_kept_where_a_validator_fails() -> None:
    assert run(Odd, Client(say('{"count": 2, "why": "two"}'))).quarantined == 1
    [failed] = show("out").quarantined
    assert failed.error.startswith("KeyError: 2")
    assert '"why": "two"' in failed.traceback


def test_the_row_is_kept_that_is_in_no_column() -> None:
    assert run(Count, Client(say(f'{{"count": {10**30}}}'))).quarantined == 1
    [failed] = show("out").quarantined
    assert "does not fit" in failed.error
    assert f"'count': {10**30}" in failed.traceback


def test_a_huge_answer_is_cut_where_it_is_kept_and_sent_back() -> None:
    client = Client(say("x" * 3_000_000))
    assert run(Score, client).quarantined == 1
    assert len(json.dumps(client.bodies[1])) < 200_000
    [failed] = show("out").quarantined
    assert len(failed.traceback) < 30_000


@pytest.mark.parametrize("model", [Node, Pet])
def test_each_schema_has_an_end_and_is_strict(model: type[Any]) -> None:
    wanted = Structure(model=model, repairs=0).ask(request(1))["response_format"]
    schema = json.dumps(wanted["json_schema"]["schema"])
    assert "oneOf" not in schema
    assert "discriminator" not in schema
    assert schema.count("additionalProperties") >= 1


def test_what_a_client_does_to_a_body_changes_no_other() -> None:
    structure = Structure(model=Score, repairs=0)
    structure.ask(request(1))["response_format"]["json_schema"]["schema"].clear()
    wanted = structure.ask(request(1))["response_format"]["json_schema"]
    assert wanted["schema"]["required"] == ["score"]


def test_a_model_that_can_not_be_sent_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(batten.UsageError, match="Callback can't be sent"):
        batten.structured(Callback, request, Client(say("{}")))


@pytest.mark.parametrize("model", [Numbers, Nothing])
def test_a_model_that_is_no_row_is_refused_before_anything_is_asked(model: type[Any]) -> None:
    client = Client(say("[1]"))
    with pytest.raises(batten.UsageError, match="can't be a row"):
        run(model, client)
    assert not client.bodies
    assert not Path("out.batten").exists()


def test_rows_may_be_made_of_it_afterwards() -> None:
    step = batten.structured(Numbers, request, Client(say("[1, 2]")))
    job = batten.from_range(1).map(step).map(lambda made: {"sum": sum(made.root)})
    job.write_parquet("out").run(progress=False, executor="serial", jobs=1)
    assert row() == {"sum": 3}


@pytest.mark.parametrize(
    "usage", [None, "10", [], {"prompt_tokens": "10", "completion_tokens": -1}]
)
def test_an_answer_that_does_not_say_what_it_used_is_a_row(usage: Any) -> None:
    report = run(Score, Client({**say(GOOD), "usage": usage}))
    assert row() == {"score": 0.5}
    assert report.usage is not None
    assert report.usage.calls_untold == 1


def test_its_error_goes_from_process_to_process() -> None:
    error = AnswerError("no", "x" * 1000, is_final=True)
    again = pickle.loads(pickle.dumps(error))
    assert (again.told, again.raw, again.is_final) == (error.told, error.raw, True)
    assert str(again) == str(error)


def test_by_a_batch_interface(vendor: VendorServer) -> None:
    """The first answers are nonsense: one is repaired, and one was said by no model."""
    said: dict[str, int] = {}

    def answer(body: Any) -> Any:
        number = body["messages"][0]["content"]
        said[number] = said.get(number, 0) + 1
        if said[number] > 1 or number == "0":
            return say(GOOD)
        return say('{"score": NaN}') if number == "1" else {"usage": {"prompt_tokens": 10}}

    vendor.answer = answer
    job = batten.from_range(3).map_batch_api(
        batten.structured(Score, request), base_url=vendor.base_url, poll_seconds=0.01
    )
    report = job.write_parquet("out").run(progress=False)
    assert batten.open("out").to_arrow().column("score").to_pylist() == [0.5] * 3
    assert report.usage is not None
    assert report.usage.kept["input_tokens"] == 40
    assert report.usage.failed_tries["input_tokens"] == 10
    assert max(vendor.handed_in.values()) == 1

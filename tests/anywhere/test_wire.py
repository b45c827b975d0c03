"""Tasks and what became of them, as JSON and back; and what is no such thing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batten.anywhere.wire import UnclearError, decode_event, decode_task, encode_event, encode_task
from batten.errors import FailedRunError, StorageError
from batten.executors.base import Died, Finished, Raised, TimedOut, Told
from batten.model.disk.records import PartDescription
from batten.model.disk.staged_names import StagedChunk
from batten.work.calling.calls import Failure
from batten.work.tasks import Begun, Portion, Prepare, Prepared, Sealed

FAILURE = Failure(item=3, error="ValueError: é\udc80", trace="…", attempts=2)
CHUNK = StagedChunk(batch=1, start=0, stop=3, digest="0" * 32, some=5)
SEALED = Sealed(
    described=PartDescription(
        batch=1, items=4, rows=3, outcomes="3c1q", keys="ordinals:4-8", fingerprint="f"
    ),
    size=10,
    digest="d" * 64,
    quarantine_digest="",
    schema=b"\x00\xff",
    first_misfit=FAILURE,
    ended=((3, ""), (1, "ValueError")),
)
PREPARED = Prepared(
    batch=1,
    start=0,
    stop=4,
    chunks=(CHUNK,),
    sealed=SEALED,
    executed=4,
    failures=1,
    first_failure=FAILURE,
    ended=((4, ""),),
    seconds=0.5,
)
PORTION = Portion(batch=1, chunks=(CHUNK,), executed=2, failures=0, first_failure=None)
EVENTS = [
    Finished(task_id=7, value=PREPARED),
    Told(task_id=7, value=PORTION),
    Told(task_id=7, value=Begun()),
    Died(task_id=7, item=None, cause="was killed"),
    TimedOut(task_id=7, item=3, limit_seconds=2.5),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_comes_back_as_it_was(event: Any) -> None:
    assert decode_event(7, encode_event(event)) == event


def test_a_task_comes_back_with_the_schema_of_the_board() -> None:
    task = Prepare(batch=1, start=2, stop=9, schema=b"schema", may_pin=False, failures_max=3)
    text = encode_task(task)
    assert "schema" not in json.loads(text)["task"] or json.loads(text)["task"]["schema"] is None
    assert decode_task(text, b"schema") == task
    with pytest.raises(UnclearError):
        decode_task(text, None)


@pytest.mark.parametrize("kind", [StorageError, FailedRunError])
def test_an_error_comes_back_with_its_three_sentences(kind: type[Any]) -> None:
    raised = Raised(task_id=7, error=kind("what", safe="safe", next="next"), trace="where")
    found = decode_event(7, encode_event(raised))
    assert isinstance(found, Raised)
    assert (type(found.error), str(found.error)) == (kind, "what\nsafe\nnext")


def test_an_error_of_others_is_told_as_one_that_ends_the_run() -> None:
    found = decode_event(7, encode_event(Raised(task_id=7, error=KeyError("x"), trace="where")))
    assert isinstance(found, Raised)
    assert isinstance(found.error, FailedRunError)
    assert "KeyError" in str(found.error)


def change(told: Any, path: list[Any], value: Any) -> str:
    place = told
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return json.dumps(told)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["event"], "Exploded"),
        (["kind"], "Reopened"),
        (["value"], None),
        (["value", "batch"], "1"),
        (["value", "batch"], True),
        (["value", "chunks"], [None]),
        (["value", "chunks"], "chunk"),
        (["value", "ended"], [[1]]),
        (["value", "sealed", "schema"], "no base64"),
        (["value", "first_failure"], {"item": 1}),
    ],
)
def test_what_is_no_event_is_refused(path: list[Any], value: Any) -> None:
    told = json.loads(encode_event(EVENTS[0]))
    with pytest.raises(UnclearError):
        decode_event(7, change(told, path, value))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"task": 1}', "null"])
def test_what_is_no_task_is_refused(text: str) -> None:
    with pytest.raises(UnclearError):
        decode_task(text, None)

"""Chat calls whose answers are rows: sent with a schema, validated, repaired a few times."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from batten.errors import usage_error
from batten.jobs.step import check_count
from batten.jobs.structure import AnswerError, Structure, make_structure
from batten.work.usage import tell_answer
from batten.work.usage import usage as tell_usage

Request = Callable[[Any], Mapping[str, Any]]


def structured(
    model: type[Any],
    request_fn: Request,
    call: Callable[[dict[str, Any]], Any] | None = None,
    *,
    repairs: int = 2,
    usage: Callable[[Any], Mapping[str, Any]] | None = None,
) -> Callable[..., Any]:
    """Make a chat call's answer a row: a pydantic model is sent along as the schema.

    The answer is validated. One that is not valid goes back to the model with what was wrong, a few
    times. What is not repaired fails the item, which is quarantined with the raw answer. What each
    call used is told to the accounts.

    Args:
        model: The pydantic model of the answer, the class itself. Its fields are the row's columns.
        request_fn: Called with each item. It returns the body of the request, with `messages`.
        call: Your client: called with the body. It returns an answer of OpenAI's chat completions,
            as an object or a dict. It may be `async def`. By default there is none: then the
            result is for `.map_batch_api`.
        repairs: How often an answer is sent back at most; 2 by default.
        usage: Called with each answer. It returns what that used, as `batten.usage` takes it. By
            default the usage of an OpenAI-style answer is read; with a batch interface, what
            `.map_batch_api` says.

    Returns:
        A function for `.map`, or for `.map_batch_api` in the place of its `request_fn`.

    Raises:
        UsageError: `model` is no pydantic model, or a function can't be called. Nothing was read or
            written.
    """
    check_count("repairs", repairs, at_least=0)
    given: tuple[Any, ...] = (request_fn, *([] if call is None else [call]))
    if not all(map(callable, given)):
        raise usage_error(
            "batten.structured() takes functions for request_fn and call.",
            "Give the functions themselves, without calling them.",
        )
    structure = make_structure(model, repairs)
    made: Any
    if call is None:
        made = functools.partial(_ask, model, repairs, request_fn)
        made.structure = structure
    else:
        awaits = inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(
            getattr(call, "__call__", None)  # noqa: B004
        )
        asking = _ask_and_await if awaits else _ask_and_wait
        made = functools.partial(asking, model, repairs, request_fn, call, usage)
    made.row_class = model
    function: Callable[..., Any] = made
    return function


def _ask(model: Any, repairs: int, request_fn: Request, row: Any) -> dict[str, Any]:
    """The body of a request that goes into a batch."""
    return Structure(model=model, repairs=repairs).ask(request_fn(row))


def _ask_and_wait(
    model: Any, repairs: int, request_fn: Request, call: Any, usage: Any, row: Any
) -> Any:
    structure = Structure(model=model, repairs=repairs)
    body = structure.ask(request_fn(row))
    for left in range(repairs, -1, -1):
        answer = call(body)
        if inspect.isawaitable(answer):
            if inspect.iscoroutine(answer):
                answer.close()
            raise TypeError("call gave something to be awaited: write it as async def")
        made = _take(structure, answer, usage, left)
        if not isinstance(made, AnswerError):
            return made
        body = structure.repair(body, made)
    raise RuntimeError("no answer was asked for")


async def _ask_and_await(
    model: Any, repairs: int, request_fn: Request, call: Any, usage: Any, row: Any
) -> Any:
    structure = Structure(model=model, repairs=repairs)
    body = structure.ask(request_fn(row))
    for left in range(repairs, -1, -1):
        made = _take(structure, await call(body), usage, left)
        if not isinstance(made, AnswerError):
            return made
        body = structure.repair(body, made)
    raise RuntimeError("no answer was asked for")


def _take(structure: Structure, answer: Any, usage: Any, left: int) -> Any:
    """The row, or what was wrong with the answer while it may be repaired."""
    _tell(answer, usage)
    try:
        return structure.read(answer)
    except AnswerError as error:
        if not left or error.is_final:
            raise
        return error


def _tell(answer: Any, usage: Any) -> None:
    if usage is not None:
        tell_usage(**usage(answer))
        return
    tell_answer(answer)

"""Runs at one store in memory: killed or unanswered at a change, overtaken before a request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from batten.errors import BusyError
from batten.storage.twin.fates import Fate
from batten.storage.twin.objects import ChangeRequest, ObjectServer, ObjectStorage

Act = Callable[[ObjectStorage], Any]


def choose(count: int, random: Random, most: int | None) -> Sequence[int]:
    """So many of the numbers below `count`, or all."""
    return range(count) if most is None else sorted(random.sample(range(count), min(most, count)))


def once(at: int, fate: Fate) -> Callable[[ChangeRequest], Fate]:
    """What meets the change of that number, from 0; all others are done."""
    left = iter([*[Fate.DONE] * at, fate])
    return lambda change: next(left, Fate.DONE)


def count_changes(server: ObjectServer, act: Act) -> int:
    """How many changes it asks for if nobody disturbs it."""
    before = server.changes
    act(ObjectStorage(server))
    return server.changes - before


def count_requests(server: ObjectServer, act: Act) -> int:
    """How many requests it makes if nobody disturbs it."""
    asked: list[str] = []
    act(ObjectStorage(server, before=asked.append))
    return len(asked)


def overtake(
    server: ObjectServer,
    at: int,
    act: Act,
    other: Act,
    *,
    ends: tuple[type[Exception], ...] = (BusyError,),
) -> tuple[list[Any], list[str]]:
    """`act`, and all of `other` before its request of that number, from 0. Returns how both ended,
    the other first, and what `act` had asked for until then. Either may end with one of `ends`."""
    asked: list[str] = []
    ended: list[Any] = []

    def do(each: Act, storage: ObjectStorage) -> None:
        try:
            ended.append(each(storage))
        except ends as error:
            ended.append(error)

    def before(what: str) -> None:
        asked.append(what)
        if len(asked) == at + 1:
            thread = threading.Thread(target=do, args=(other, ObjectStorage(server)), name="other")
            thread.start()
            thread.join()

    do(act, ObjectStorage(server, before=before))
    return ended, asked[: at + 1]

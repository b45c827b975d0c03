"""Carries out one step of the tables in `model.rules.guards`, on a store that has no lock."""

from __future__ import annotations

from functools import partial

from batten.errors import BusyError
from batten.model.rules.guards import Guard, GuardedStep, IfOther
from batten.storage.base import Piece, Put, PutAnswer, Store
from batten.storage.changing.publishing import settle


def carry_out(
    storage: Store, step: GuardedStep, name: str, data: Piece, *, seen: str = ""
) -> PutAnswer:
    """Ask for the change until it is known what became of it. `seen` is the version in whose place
    it goes. Raises `BusyError` if something else is there, and the step says to stop."""
    change = (
        partial(storage.put_new, name, data)
        if step.guard is Guard.NEW
        else partial(storage.put_if, name, data, seen)
    )
    answer = settle(storage, change)
    if answer.put is Put.OTHER and step.if_other is IfOther.STOP:
        raise taken_over(storage, name)
    return answer


def taken_over(storage: Store, name: str) -> BusyError:
    """What a run says that another one has overtaken."""
    return BusyError(
        f"Another run took over: {storage.place}/{name} is not what this one saw.",
        safe="Nothing of the other was touched, and what is finished is kept.",
        next="When the other has ended, run the same command again; it resumes.",
    )

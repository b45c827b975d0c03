"""A function tells what a call used, and the accounts have it before the call returns.

What is told is written down at once, with the item that the function has in hand: money is spent
whether or not the answer is kept (decision 0118).
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from batten.model.disk.runs.usage_lines import (
    UNITS_MAX,
    UNTOLD,
    Amount,
    Amounts,
    FailedTryLine,
    LostLine,
    UseLine,
    check_unit,
    parse_number,
    read_amount,
)
from batten.model.value_class import value_class

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batten.ledger.history.usage_journal import UsageJournal

_current: ContextVar[Teller | None] = ContextVar("batten_teller", default=None)
_working: set[Teller] = set()


def usage(answer: object = None, /, **used: int | float | Decimal) -> None:
    """Tell what a call used, from within a function that batten calls.

    It is added to the accounts of the item that the function has in hand, and is on disk when this
    returns. Tell it as soon as the answer is there: what fails after that is counted as well. It
    may be called any number of times for an item. Outside of a run it does nothing.

    What can't be read raises, and the call counts as one of which it is not known what it used.

    Args:
        answer: An answer of an OpenAI-style API, as an object or a dict. Of its usage these are
            taken: `input_tokens` or `prompt_tokens`, `output_tokens` or `completion_tokens`, and
            `cost` if it is there. A number may be a text: `"12"`. By default only what is named
            counts.
        **used: How much was used, by any names: `input_tokens=812, cost=Decimal("0.0031")`.
            Numbers from 0 on. Sums are exact: a float counts as the decimal number that it is
            shown as.

    Raises:
        ValueError: A number is negative or not finite, or the answer has no usage or a strange one.
        TypeError: A value is no number.
        RuntimeError: It was called in a thread that the function began itself, and several items
            are in hand.
        StorageError: It could not be written. The run ends.
    """
    found = AnswerUse() if answer is None else read_used(answer)
    teller, amounts = _find_teller(), dict(found.amounts)
    try:
        for unit, value in used.items():
            try:
                amounts[check_unit(unit)] = read_amount(value)
            except (TypeError, ValueError) as error:
                raise type(error)(f"batten.usage({unit}=…): {error}") from None
        if len(amounts) > UNITS_MAX:
            raise ValueError(f"batten.usage() takes {UNITS_MAX} units at most")
        if found.obstacle:
            raise ValueError(f"batten.usage(answer): {found.obstacle}")
    except (TypeError, ValueError):
        known = dict(itertools.islice(amounts.items(), UNITS_MAX))
        tell_used(teller, AnswerUse(amounts=known, obstacle="the rest can't be read"))
        raise
    tell_used(teller, AnswerUse(amounts=amounts))


@value_class
class AnswerUse:
    """What a call used, as far as it is known. An `obstacle` says why that may not be all."""

    amounts: Amounts = field(default_factory=dict)
    obstacle: str = ""


def tell_used(teller: Teller | None, used: AnswerUse) -> None:
    """To the accounts, also that something is not known."""
    if teller is None:
        return
    if used.amounts:
        teller.tell(dict(used.amounts))
    if used.obstacle:
        teller.tell_unknown()


def tell_answer(answer: object) -> None:
    """What an OpenAI-style answer used goes to the accounts, and never fails the item."""
    tell_used(_find_teller(), read_used(answer))


_NAMES = (
    ("input_tokens", ("input_tokens", "prompt_tokens")),
    ("output_tokens", ("output_tokens", "completion_tokens")),
    ("cost", ("cost",)),
)


def read_used(answer: object) -> AnswerUse:
    """What an OpenAI-style answer says that it used: one strange number takes no other with it."""
    told = _get(answer, "usage")
    found: dict[str, Amount] = {}
    strange: list[str] = []
    for unit, names in _NAMES:
        values = (_get(told, name) for name in names)
        value = next((value for value in values if value is not None), None)
        if value is None:
            continue
        try:
            found[unit] = read_amount(parse_number(value) if isinstance(value, str) else value)
        except (TypeError, ValueError) as error:
            strange.append(f"{unit}: {error}")
    obstacle = "; ".join(strange)
    if not found and not strange:
        obstacle = "the answer has no usage. Does a stream have to be asked for it?"
    return AnswerUse(amounts=found, obstacle=obstacle)


def _get(value: object, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _find_teller() -> Teller | None:
    teller = _current.get()
    if teller is not None or not _working:
        return teller
    if len(_working) > 1:
        raise RuntimeError(
            "batten.usage() was called in a thread that the function began itself, while several "
            "items are in hand. Call it in the function, or begin the thread with "
            "contextvars.copy_context().run"
        )
    return next(iter(_working), None)


def current_teller() -> Teller | None:
    """Who tells what the item in hand uses, in this thread or task."""
    return _current.get()


class Teller:
    """Tells what the item in hand uses, in one thread or task. `item` is its number in the plan,
    which the worker sets before each item; nothing else is done for an item that tells nothing."""

    __slots__ = ("_attempt", "_journal", "_lock", "_told_of", "_uses", "item")

    def __init__(self, journal: UsageJournal) -> None:
        self.item = -1
        self._journal = journal
        self._told_of = -1
        self._attempt = ""
        self._uses = 0
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Other items begin: one that was told of before is in another attempt now."""
        self._attempt = ""
        self._told_of = -1

    def tell(self, used: dict[str, Amount], answer: str = "") -> None:
        with self._lock:
            if self._told_of != self.item:
                self._told_of, self._uses = self.item, 0
            self._journal.write(
                UseLine(item=self.item, attempt=self.name_attempt(), used=used, answer=answer)
            )
            self._uses += 1

    def tell_unknown(self) -> None:
        """A call was answered, and it is not known what it used."""
        with self._lock:
            end = f"{self._journal.name_attempt()}{UNTOLD}"
            self._journal.write(LostLine(end=end, calls=1))

    def name_attempt(self) -> str:
        """Under which what these items use is kept, in this process and in those that it asks."""
        self._attempt = self._attempt or self._journal.name_attempt()
        return self._attempt

    def take_up(self, item: int, attempt: str) -> None:
        """Another process has the item in hand, in that attempt, and asks for one call."""
        self.item, self._attempt, self._told_of = item, attempt, -1

    def settle(self) -> None:
        """A step ended well: what it used does not belong to a later step's tries."""
        if self._told_of == self.item:
            self._uses = 0

    def fail_try(self) -> None:
        """What was told since the last try failed, or the last step ended, was for nothing."""
        with self._lock:
            if self._told_of != self.item or not self._uses:
                return
            line = FailedTryLine(item=self.item, attempt=self._attempt, uses=self._uses)
            self._journal.write(line)
            self._uses = 0

    @contextmanager
    def working(self) -> Iterator[None]:
        """For the time in which functions are called in this thread or task."""
        token = _current.set(self)
        _working.add(self)
        try:
            yield
        finally:
            _working.discard(self)
            _current.reset(token)

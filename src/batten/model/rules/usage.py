"""What calls used, summed by what became of their items: the same however often runs were killed.

Each item has attempts, of which the last one counts: an item is only begun anew if its answer was
lost, or is to be replaced. What an attempt used is in one of four sums, by what is known of the
item and of its tries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any

from batten.model.disk.runs.usage_lines import (
    NO_ITEM,
    PLACES_MAX,
    UNTOLD,
    Amount,
    Amounts,
    BeforeLine,
    FailedTryLine,
    LostLine,
    UsageLine,
    UseLine,
    multiply,
    parse_amount,
    round_exactly,
    show_amount,
    total,
)
from batten.model.telling.counts import count_of
from batten.model.value_class import value_class


class Standing(Enum):
    """What is known of an item. What it is while it waits to be done is `OPEN`."""

    DONE = "done"
    QUARANTINED = "quarantined"
    OPEN = "open"


_PLACES_SHOWN = 6

_COUNTS = ("calls_lost", "damaged_lines", "calls_untold")

KINDS = ("kept", "failed_tries", "quarantined", "repeated", "before")


@value_class
class Usage:
    """What the calls of a dataset used, over all runs, by the units that its functions tell.

    Amounts are whole numbers where all that was told was whole; otherwise `Decimal`, summed
    exactly.

    Attributes:
        kept: What the answers that were kept used.
        failed_tries: What tries used that failed, of items that are not quarantined.
        quarantined: What quarantined items used, in their last attempt.
        repeated: What calls used whose answers are not kept: they were lost when a run ended, or
            their item has changed.
        before: What datasets used of which this one took the place, by `fresh` or `add_columns`.
        calls_lost: How many calls were in hand when runs were killed or stopped, or a worker died,
            whether or not they had told something. Whether they were paid is not known. Calls that
            were answered, and of which it is not known what they used, count as well.
        calls_untold: How many of these were answered: no usage was told, or a strange one.
        largest: The most that one item used.
        damaged_lines: How many lines of the accounts can't be read.
    """

    kept: Amounts
    failed_tries: Amounts
    quarantined: Amounts
    repeated: Amounts
    before: Amounts
    calls_lost: int
    largest: Amounts
    damaged_lines: int = 0
    calls_untold: int = 0

    @property
    def total(self) -> dict[str, Amount]:
        """All that this dataset is known to have used; not what those `before` it did."""
        return total((self.kept, self.failed_tries, self.quarantined, self.repeated))

    @property
    def lost_at_most(self) -> dict[str, Amount]:
        """The bound of what the lost calls used: as much as the largest of all, each."""
        return _bound(self.largest, self.calls_lost)

    def to_json(self) -> dict[str, Any]:
        """Make the object that `--json` prints of it.

        Returns:
            A dict of what JSON can hold.
        """
        kinds = {kind: as_numbers(getattr(self, kind)) for kind in KINDS}
        return {
            "total": as_numbers(self.total),
            **kinds,
            "lost": {
                "calls": self.calls_lost,
                "untold": self.calls_untold,
                "at_most": as_numbers(self.lost_at_most),
            },
            "largest": as_numbers(self.largest),
            "damaged_lines": self.damaged_lines,
        }


def _bound(largest: Amounts, calls: int) -> dict[str, Amount]:
    """What so many calls used at most, if none was dearer than all before."""
    return {unit: multiply(most, calls) for unit, most in largest.items()}


def show_usage(amounts: Amounts) -> str:
    """For people: `cost 12.5, input_tokens 1,234,567`."""
    return ", ".join(f"{unit} {_show(amount)}" for unit, amount in amounts.items())


def _show(amount: Amount) -> str:
    if isinstance(amount, int):
        return f"{amount:,}"
    return f"{round_exactly(amount, _PLACES_SHOWN) or round_exactly(amount, PLACES_MAX):,f}"


def tell_usage(usage: Usage) -> Iterator[tuple[str, str]]:
    """What people are told, each with a word for it."""
    if used := usage.total:
        yield "usage", show_usage(used)
    for name, amounts in (
        ("failed tries", usage.failed_tries),
        ("quarantined items", usage.quarantined),
        ("answers not kept", usage.repeated),
    ):
        if amounts:
            yield "of it", f"{name}: {show_usage(amounts)}"
    untold = usage.calls_untold
    for count, text in (
        (usage.calls_lost - untold, "in hand when runs ended"),
        (untold, "answered, without a usage that can be read"),
    ):
        if count:
            most = show_usage(_bound(usage.largest, count))
            bound = f"at most {most}, if none was dearer than all before" if most else "unknown"
            yield "and", f"{count_of(count, 'call')} {text}: {bound}"
    if usage.before:
        yield "before", f"datasets that this one took the place of: {show_usage(usage.before)}"
    if usage.damaged_lines:
        yield "damaged", f"{count_of(usage.damaged_lines, 'line')} of the accounts can't be read"


def as_numbers(amounts: Amounts) -> dict[str, int | float]:
    """As JSON has them."""
    return {unit: n if isinstance(n, int) else float(n) for unit, n in amounts.items()}


class _Attempt:
    """At one item. `open` is what was told of tries that did not fail, each with the name of its
    answer. Of `earlier` answers, which no try of this attempt has taken yet, it is known what
    they are if none does."""

    __slots__ = ("earlier", "failed", "name", "open")

    def __init__(self, name: str) -> None:
        self.name = name
        self.open: list[_Told] = []
        self.failed: list[_Told] = []
        self.earlier: dict[str, tuple[str, Amounts]] = {}

    def has(self, answer: str) -> bool:
        return any(each == answer for each, _ in (*self.open, *self.failed))

    @property
    def total(self) -> dict[str, Amount]:
        return total(used for _, used in (*self.open, *self.failed))


_Told = tuple[str, Amounts]


class UsageTally:
    """Takes the lines of all runs in their order. It `is_empty` until a call told something, or was
    answered: what was in hand when runs ended does not say that calls cost anything."""

    def __init__(self) -> None:
        self._attempts: dict[int, _Attempt] = {}
        self._lost: dict[str, int] = {}
        self._sums: dict[str, dict[str, Amount]] = {kind: {} for kind in KINDS}
        self.largest: dict[str, Amount] = {}
        self.told: dict[str, Amount] = {}
        self.damaged_lines = 0
        self.is_empty = True

    @property
    def calls_lost(self) -> int:
        return sum(self._lost.values())

    @property
    def calls_untold(self) -> int:
        return sum(calls for end, calls in self._lost.items() if end.endswith(UNTOLD))

    def take(self, line: UsageLine | None) -> None:
        if not isinstance(line, LostLine) or line.end.endswith(UNTOLD):
            self.is_empty = False
        match line:
            case None:
                self.damaged_lines += 1
            case UseLine():
                self._use(line)
            case FailedTryLine():
                attempt = self._attempt(line.item, line.attempt)
                cut = max(0, len(attempt.open) - line.uses)
                attempt.failed += attempt.open[cut:]
                del attempt.open[cut:]
            case LostLine():
                self.lose(line.end, line.calls)
            case BeforeLine():
                self._sums["before"] = dict(line.used)

    def lose(self, end: str, calls: int) -> None:
        """So many calls were in hand at an end; each end counts once."""
        self._lost[end] = max(calls, self._lost.get(end, 0))

    def list_ends(self) -> Iterator[tuple[str, int]]:
        """Each end at which calls were in hand, and how many."""
        yield from self._lost.items()

    def has_end(self, end: str) -> bool:
        return end in self._lost

    def _use(self, line: UseLine) -> None:
        answer = line.answer
        if not line.attempt:
            attempt = self._attempts.setdefault(line.item, _Attempt(""))
            if answer in attempt.earlier or attempt.has(answer):
                return
            attempt.earlier[answer] = ("repeated", line.used)
            if line.item != NO_ITEM:
                self._note_largest(line.used)
        else:
            attempt = self._attempt(line.item, line.attempt)
            if answer and attempt.has(answer):
                return
            is_known = attempt.earlier.pop(answer, None) is not None
            attempt.open.append((answer, line.used))
            self._note_largest(attempt.total)
            if is_known:
                return
        self.told = total((self.told, line.used))

    def _note_largest(self, used: Amounts) -> None:
        for unit, amount in used.items():
            self.largest[unit] = max(self.largest.get(unit, 0), amount)

    def _attempt(self, item: int, name: str) -> _Attempt:
        known = self._attempts.get(item)
        if known is not None and known.name == name:
            return known
        self._attempts[item] = attempt = _Attempt(name)
        if known is not None:
            attempt.earlier = known.earlier
            for kind, each in (("repeated", known.open), ("failed_tries", known.failed)):
                for answer, used in each:
                    if answer:
                        attempt.earlier[answer] = (kind, used)
                    else:
                        self._add(kind, used)
        return attempt

    def _add(self, kind: str, *used: Amounts) -> None:
        self._sums[kind] = total((self._sums[kind], *used))

    def close(self, find_standing: Callable[[int], Standing]) -> Usage:
        """The sums, by what became of each item, which is named by its number in the plan."""
        for item, attempt in sorted(self._attempts.items()):
            for kind, used in attempt.earlier.values():
                self._add(kind, used)
            opened = [used for _, used in attempt.open]
            failed = [used for _, used in attempt.failed]
            standing = find_standing(item)
            if standing is Standing.QUARANTINED:
                self._add("quarantined", *opened, *failed)
                continue
            self._add("kept" if standing is Standing.DONE else "repeated", *opened)
            self._add("failed_tries", *failed)
        self._attempts.clear()
        sums = self._sums
        return Usage(
            kept=sums["kept"],
            failed_tries=sums["failed_tries"],
            quarantined=sums["quarantined"],
            repeated=sums["repeated"],
            before=sums["before"],
            calls_lost=self.calls_lost,
            calls_untold=self.calls_untold,
            largest=dict(self.largest),
            damaged_lines=self.damaged_lines,
        )


def record_usage(usage: Usage | None) -> dict[str, str]:
    """As it is kept in the record that a dataset is complete: flat, all texts."""
    if usage is None:
        return {}
    amounts = {
        f"{kind} {unit}": show_amount(amount)
        for kind in (*KINDS, "largest")
        for unit, amount in getattr(usage, kind).items()
    }
    counts = {name: getattr(usage, name) for name in _COUNTS}
    return amounts | {name: str(count) for name, count in counts.items()}


def read_recorded(told: Mapping[str, str]) -> Usage | None:
    """What `record_usage` kept; None if nothing, or nothing that can be understood."""
    if not told:
        return None
    sums: dict[str, dict[str, Amount]] = {kind: {} for kind in (*KINDS, "largest")}
    counts = dict.fromkeys(_COUNTS, 0)
    try:
        for name, text in told.items():
            kind, _, unit = name.partition(" ")
            if unit:
                sums[kind][unit] = parse_amount(text)
            else:
                counts[kind] += int(parse_amount(text))
    except (ValueError, KeyError):
        return None
    return Usage(
        kept=sums["kept"],
        failed_tries=sums["failed_tries"],
        quarantined=sums["quarantined"],
        repeated=sums["repeated"],
        before=sums["before"],
        largest=sums["largest"],
        **counts,
    )

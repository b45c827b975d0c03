"""How much a dataset may use: no call is begun with which it could be passed."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from batten.errors import UsageError, usage_error
from batten.model.disk.runs.usage_lines import (
    Amount,
    Amounts,
    add,
    check_unit,
    multiply,
    read_amount,
    show_amount,
)

_WHOLE_MAX = 10**30

COST = "cost"
"""The unit of a budget that is a plain number."""


def find_obstacle(
    limits: Amounts, spent: Amounts, largest: Amounts, in_hand: int, *, is_known: bool
) -> str:
    """Why no call may be begun beside those `in_hand`; empty if one may. Each call is taken to use
    as much as the `largest`. Until one has ended, so that this is known, calls are begun one by
    one."""
    for unit, limit in limits.items():
        used, most = spent.get(unit, 0), largest.get(unit, 0)
        if used >= limit:
            return f"{show_amount(used)} of {show_amount(limit)} {unit} is used"
        if not is_known and in_hand:
            return f"nothing is known yet of the {unit} of a call"
        if add(used, multiply(most, in_hand + 1)) > limit:
            return (
                f"{show_amount(used)} of {show_amount(limit)} {unit} is used, and a call may use "
                f"{show_amount(most)}"
            )
    return ""


def enlarge(limits: Amounts, spent: Amounts, largest: Amounts) -> dict[str, Amount]:
    """A budget to go on with: twice this one or what was spent, and room for a call."""
    larger: dict[str, Amount] = {}
    for unit, limit in limits.items():
        used = spent.get(unit, 0)
        a_call_more = add(used, largest.get(unit, 0))
        larger[unit] = max(multiply(limit, 2), multiply(used, 2), a_call_more) or 1
    return larger


def read_budget(given: Mapping[str, object] | object) -> dict[str, Amount]:
    """The budget that `run` was given: a plain number is of `cost`, a text as on the command line.
    Raises `UsageError`."""
    if isinstance(given, str):
        return _parse(given)
    limits = given if isinstance(given, Mapping) else {COST: given}
    if not limits:
        raise _refuse("it names no unit")
    budget = {}
    for unit, value in limits.items():
        try:
            budget[check_unit(str(unit))] = read_amount(value)
        except (TypeError, ValueError) as error:
            raise _refuse(str(error)) from error
    return budget


def _parse(text: str) -> dict[str, Amount]:
    """`20`, `input_tokens=1e6`, or several with commas."""
    budget: dict[str, Amount] = {}
    for each in text.split(","):
        name, equals, value = each.strip().rpartition("=")
        unit = name if equals else COST
        if unit in budget:
            raise _refuse(f"{unit!r} is given twice")
        try:
            number = Decimal(value)
        except ArithmeticError:
            raise _refuse(f"{value[:40]!r} is not a number") from None
        is_whole = number.is_finite() and number == number.to_integral_value()
        is_short = is_whole and number < _WHOLE_MAX
        budget |= read_budget({unit: int(number) if is_short else number})
    return budget


def show_budget(budget: Amounts) -> str:
    """As it is given on the command line."""
    return ",".join(
        show_amount(limit) if unit == COST and len(budget) == 1 else f"{unit}={show_amount(limit)}"
        for unit, limit in budget.items()
    )


def _refuse(why: str) -> UsageError:
    return usage_error(
        f"The budget can't be: {why}.",
        "Give a number for the cost, --budget 20, or a unit and a number, "
        "--budget input_tokens=1e6.",
    )

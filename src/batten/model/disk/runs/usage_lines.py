"""What calls used, as lines of `runs/<run>.usage`: written when it is told, before anything else.

Each line is JSON with a checksum, and begins with a line end of its own. So a line that was torn by
a kill or a power cut spoils no other, and is worth nothing (decision 0118).
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Iterable, Mapping
from decimal import Context, Decimal
from typing import Any

from batten.model.disk.bounds import ITEMS_MAX
from batten.model.json_text import parse_json
from batten.model.patterns import pattern
from batten.model.value_class import value_class

Amount = int | Decimal
"""How much of a unit was used. What is no whole number is decimal, so that sums are exact."""
Amounts = Mapping[str, Amount]
"""By the name of the unit."""

UNITS_MAX = 32
"""So many units may one call tell."""

NO_ITEM = ITEMS_MAX
"""In the place of an item's number: what was used belongs to none of this plan."""

UNTOLD = " untold"
"""So ends the name of an end that is none: a call was answered, and did not say what it used."""

_EXACT = Context(prec=200, Emin=-999_999, Emax=999_999)
_LARGEST = Decimal(10) ** 60
_SUM_MAX = Decimal(10) ** 90
"""No sum of what calls tell is larger, and each can be written and read again."""
PLACES_MAX = 60
_WHOLE = pattern(r"\d{1,90}")
_NUMBER = pattern(r"\s*(\d{1,60})(\.\d{1,60})?(?:[eE][+-]?\d{1,2})?\s*", re.ASCII)
_TEXT_MAX = 90 + PLACES_MAX + 1
_UNIT = pattern(r"[^\W\d]\w{0,63}")


@value_class
class UseLine:
    """What a call of the item of that number used. Lines of one `attempt` at an item belong
    together: it is begun anew where its answer was lost. An `answer` that has a name is paid once,
    however often it is told: a vendor keeps it, and it is taken again after a kill (decision 0134).
    Without an attempt nothing has taken it yet."""

    item: int
    attempt: str
    used: Amounts
    answer: str = ""


@value_class
class FailedTryLine:
    """The last `uses` of that attempt at an item were those of a try that failed."""

    item: int
    attempt: str
    uses: int


@value_class
class LostLine:
    """So many calls were in hand when the run ended, or one of its workers. `end` names which end
    it was, so that it counts once however often it is written. With `UNTOLD` at its end they were
    answered, and did not say what they used."""

    end: str
    calls: int


@value_class
class BeforeLine:
    """What the dataset had used that this one takes the place of. The last such line counts."""

    used: Amounts


UsageLine = UseLine | FailedTryLine | LostLine | BeforeLine


def read_amount(value: object) -> Amount:
    """The amount that a caller gave. Raises `TypeError` or `ValueError` for what is none."""
    if isinstance(value, bool):
        raise TypeError("it is a bool, not a number")
    if hasattr(value, "__index__"):
        amount: Amount = int(value.__index__())
    elif isinstance(value, Decimal):
        amount = value
    elif hasattr(value, "__float__"):
        real = float(value)
        amount = Decimal(repr(real)) if math.isfinite(real) else Decimal("NaN")
    else:
        raise TypeError(f"it is of type {type(value).__name__}, not a number")
    if not _is_fit(amount, _LARGEST):
        raise ValueError(f"{str(value)[:40]} is not a number from 0 on")
    return amount


def parse_number(text: str) -> Amount:
    """The number that a server gave as a text. Raises `ValueError` for what is none."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:40]!r} is not a number from 0 on")
    return int(text) if found[0].strip() == found[1] else Decimal(text.strip())


def check_unit(name: str) -> str:
    """The name of a unit. Raises `ValueError` for what can't be one."""
    if _UNIT.fullmatch(name) is None:
        raise ValueError(f"{name[:70]!r} can't be the name of a unit")
    return name


def add(first: Amount, second: Amount) -> Amount:
    """The exact sum."""
    if isinstance(first, int) and isinstance(second, int):
        return first + second
    return _EXACT.add(Decimal(first), Decimal(second))


def multiply(amount: Amount, count: int) -> Amount:
    """So many times the amount, exactly."""
    return amount * count if isinstance(amount, int) else _EXACT.multiply(amount, Decimal(count))


def round_exactly(amount: Decimal, places: int) -> Decimal:
    """Rounded to so many places, without zeros at the end. `round` refuses large ones."""
    least = Decimal(1).scaleb(-places)
    return _EXACT.normalize(_EXACT.quantize(amount, least))


def total(each: Iterable[Amounts]) -> dict[str, Amount]:
    """The exact sums by unit, in the order in which the units come."""
    sums: dict[str, Amount] = {}
    for amounts in each:
        for unit, amount in amounts.items():
            sums[unit] = add(sums.get(unit, 0), amount)
    return sums


def show_amount(amount: Amount) -> str:
    """As it is written and read again. A decimal number is never written as a whole one."""
    if isinstance(amount, int):
        return str(amount)
    text = format(amount, "f")
    return text if "." in text else f"{text}.0"


def parse_amount(text: object) -> Amount:
    """Raises `ValueError` for what `show_amount` did not write."""
    if not isinstance(text, str) or len(text) > _TEXT_MAX:
        raise ValueError("an amount that is none")
    if _WHOLE.fullmatch(text):
        return int(text)
    try:
        amount = Decimal(text)
    except ArithmeticError as error:
        raise ValueError("an amount that is none") from error
    if not _is_fit(amount, _SUM_MAX):
        raise ValueError("an amount that is none")
    return amount


def _is_fit(amount: Amount, most: Decimal) -> bool:
    if isinstance(amount, int):
        return 0 <= amount < most
    if not amount.is_finite() or amount < 0 or amount >= most:
        return False
    exponent = amount.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -PLACES_MAX


def show_amounts(used: Amounts) -> dict[str, str]:
    return {unit: show_amount(amount) for unit, amount in used.items()}


def parse_amounts(told: object) -> dict[str, Amount]:
    """Raises `ValueError` for what `show_amounts` did not make."""
    if not isinstance(told, dict) or len(told) > 100 * UNITS_MAX:
        raise ValueError("amounts that are none")
    return {check_unit(str(unit)): parse_amount(text) for unit, text in told.items()}


def encode_usage_line(line: UsageLine) -> bytes:
    """The bytes to be appended."""
    told: dict[str, Any]
    match line:
        case UseLine():
            used = show_amounts(line.used)
            told = {"item": line.item, "attempt": line.attempt, "used": used}
            if line.answer:
                told["answer"] = line.answer
        case FailedTryLine():
            told = {"item": line.item, "attempt": line.attempt, "failed": line.uses}
        case LostLine():
            told = {"end": line.end, "lost": line.calls}
        case BeforeLine():
            told = {"before": show_amounts(line.used)}
    text = json.dumps(told).encode()
    return b"\n%s %08x\n" % (text, zlib.crc32(text))


def decode_usage_line(data: bytes) -> UsageLine | None:
    """None for what is torn, changed, or no such line."""
    text, _, checksum = data.strip().rpartition(b" ")
    if checksum != b"%08x" % zlib.crc32(text):
        return None
    try:
        told = parse_json(text)
        if "used" in told:
            used = parse_amounts(told["used"])
            return UseLine(
                item=_count(told["item"]),
                attempt=_name(told["attempt"]),
                used=used,
                answer=_name(told.get("answer", "")),
            )
        if "failed" in told:
            return FailedTryLine(
                item=_count(told["item"]),
                attempt=_name(told["attempt"]),
                uses=_count(told["failed"]),
            )
        if "lost" in told:
            return LostLine(end=_name(told["end"]), calls=_count(told["lost"]))
        return BeforeLine(used=parse_amounts(told["before"]))
    except (ValueError, TypeError, KeyError):
        return None


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value <= ITEMS_MAX:
        raise ValueError("a number that is none")
    return value


def _name(value: object) -> str:
    if not isinstance(value, str) or len(value) > 200:
        raise ValueError("a name that is none")
    return value

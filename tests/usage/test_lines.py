"""Lines of the accounts of calls, and their sums."""

from __future__ import annotations

import math
import random
from decimal import Decimal
from typing import Any

import pytest

from batten.errors import UsageError
from batten.ledger.history.usage_journal import UsageJournal
from batten.model.disk.names import Layout
from batten.model.disk.runs.usage_lines import (
    BeforeLine,
    FailedTryLine,
    LostLine,
    UsageLine,
    UseLine,
    decode_usage_line,
    encode_usage_line,
    read_amount,
    total,
)
from batten.model.rules.usage import (
    Standing,
    UsageTally,
    read_recorded,
    record_usage,
    show_usage,
)
from batten.model.rules.usage_budget import enlarge, find_obstacle, read_budget, show_budget
from batten.storage.twin.memory import MemoryStorage

LINES: list[UsageLine] = [
    UseLine(item=7, attempt="12-0", used={"input_tokens": 10**40, "cost": Decimal("0.00000001")}),
    UseLine(item=0, attempt="", used={"größe": 0}),
    FailedTryLine(item=7, attempt="12-0", uses=2),
    LostLine(end="20261121T080000Z-3f9a worker 1", calls=3),
    BeforeLine(used={"cost": Decimal("2.50")}),
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: type(line).__name__)
def test_a_line_is_read_as_it_was_written_or_not_at_all(line: UsageLine) -> None:
    data = encode_usage_line(line)
    assert data[:1] == data[-1:] == b"\n"
    whole = data.strip()
    assert b"\n" not in whole
    assert decode_usage_line(whole) == line
    for end in range(len(whole)):
        assert decode_usage_line(whole[:end]) is None
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1
        assert decode_usage_line(bytes(changed)) is None


def test_floats_add_up_exactly_in_any_order(seeded: random.Random) -> None:
    amounts = [{"cost": read_amount(n / 10)} for n in range(1, 100)]
    seeded.shuffle(amounts)
    assert total(amounts) == {"cost": Decimal(495)}
    assert total([{"n": 1}, {"n": Decimal("0.5")}]) == {"n": Decimal("1.5")}
    tiny, huge = Decimal("1E-60"), 10**59
    assert total([{"n": huge}, {"n": tiny}]) == total([{"n": tiny}, {"n": huge}])
    assert str(total([{"n": huge}, {"n": tiny}])["n"]).endswith("1")


@pytest.mark.parametrize(
    "value",
    [-1, -0.1, math.nan, math.inf, Decimal("NaN"), Decimal("Infinity"), Decimal(-1), 10**60, 1e300],
)
def test_what_is_no_amount_is_a_value_error(value: object) -> None:
    with pytest.raises(ValueError, match="number from 0 on"):
        read_amount(value)


@pytest.mark.parametrize("value", [True, None, "7", [1], {}])
def test_what_is_no_number_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError):
        read_amount(value)


@pytest.mark.parametrize("told", [10**60 - 1, Decimal(f"{10**59}.{'0' * 59}1"), 9.9e59])
def test_sums_of_the_largest_amounts_are_kept_like_others(told: Any) -> None:
    tally = UsageTally()
    for item in range(1000):
        tally.take(UseLine(item=item, attempt="a", used={"n": read_amount(told)}))
    usage = tally.close(lambda item: Standing.DONE)
    assert read_recorded(record_usage(usage)) == usage
    line = BeforeLine(used=usage.total)
    assert decode_usage_line(encode_usage_line(line).strip()) == line


def use(item: int, attempt: str, n: int) -> UseLine:
    return UseLine(item=item, attempt=attempt, used={"n": n})


def test_attempts_of_two_runs_are_two_though_processes_have_the_same_number() -> None:
    first, second = (UsageJournal(MemoryStorage(), Layout("out"), run) for run in ("a", "b"))
    names = [journal.name_attempt() for journal in (first, first, second)]
    assert len(set(names)) == 3
    assert [name.partition("-")[0] for name in names] == ["a", "a", "b"]


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (3.2e23, "320,000,000,000,000,000,000,000"),
        (Decimal("9" * 39 + ".5"), "999" + ",999" * 12 + ".5"),
        (Decimal("0.00000000004"), "0.00000000004"),
        (Decimal("1.2300000"), "1.23"),
        (Decimal("0.0"), "0"),
        (10**30, "1" + ",000" * 10),
    ],
)
def test_each_amount_that_is_taken_can_be_shown(amount: Any, shown: str) -> None:
    assert show_usage({"n": read_amount(amount)}) == f"n {shown}"


@pytest.mark.parametrize(
    ("limit", "spent", "largest", "larger"),
    [(20, 19, 2, 40), (20, 50, 50, 100), (5, 12, 1, 24), (0, 0, 0, 1), (0, 0, 7, 7)],
)
def test_the_budget_to_go_on_with_lets_a_call_begin(
    limit: int, spent: int, largest: int, larger: int
) -> None:
    said = enlarge({"n": limit}, {"n": spent}, {"n": largest})
    assert said == {"n": larger}
    assert not find_obstacle(said, {"n": spent}, {"n": largest}, 0, is_known=True)


def test_each_use_is_in_one_sum() -> None:
    tally = UsageTally()
    lines = [
        use(0, "a", 1),  # its answer was lost
        use(1, "a", 10),  # a try that failed,
        FailedTryLine(item=1, attempt="a", uses=1),
        use(1, "a", 100),  # and one that did not
        use(0, "b", 1000),
        use(2, "b", 10_000),  # quarantined
        use(3, "b", 100_000),  # lost, and not done again yet
        LostLine(end="first", calls=2),
        LostLine(end="first", calls=2),
        LostLine(end="second", calls=1),
        BeforeLine(used={"n": 5}),
        BeforeLine(used={"n": 7}),
        None,
    ]
    for line in lines:
        tally.take(line)
    standings = {2: Standing.QUARANTINED, 3: Standing.OPEN}
    usage = tally.close(lambda item: standings.get(item, Standing.DONE))
    assert usage.kept == {"n": 1100}
    assert usage.failed_tries == {"n": 10}
    assert usage.quarantined == {"n": 10_000}
    assert usage.repeated == {"n": 100_001}
    assert usage.before == {"n": 7}
    assert usage.total == {"n": 111_111}
    assert usage.calls_lost == 3
    assert usage.lost_at_most == {"n": 300_000}
    assert usage.damaged_lines == 1
    assert read_recorded(record_usage(usage)) == usage


@pytest.mark.parametrize("told", [{"odd n": "1"}, {"kept n": "-1"}, {"kept n": "x"}, {"more": "1"}])
def test_a_recorded_sum_that_is_none_is_as_if_it_were_not_there(told: dict[str, str]) -> None:
    assert read_recorded(told) is None


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        (20, {"cost": 20}),
        (0.5, {"cost": Decimal("0.5")}),
        ("20", {"cost": 20}),
        ("input_tokens=1e6", {"input_tokens": 10**6}),
        ("cost=0.25, calls=3", {"cost": Decimal("0.25"), "calls": 3}),
        ({"cost": Decimal("1.5")}, {"cost": Decimal("1.5")}),
    ],
)
def test_budgets(given: object, limits: dict[str, object]) -> None:
    budget = read_budget(given)
    assert budget == limits
    assert read_budget(show_budget(budget)) == limits


@pytest.mark.parametrize(
    "given", ["", "much", "cost=", "=3", "cost=1,cost=2", "a b=1", -1, "nan", "inf", "-1", {}, None]
)
def test_what_is_no_budget(given: object) -> None:
    with pytest.raises(UsageError, match="budget can't be"):
        read_budget(given)


def test_no_call_is_begun_with_which_the_budget_could_be_passed() -> None:
    def may(spent: int, largest: int, in_hand: int, *, is_known: bool = True) -> bool:
        return not find_obstacle(
            {"n": 100}, {"n": spent}, {"n": largest}, in_hand, is_known=is_known
        )

    assert may(90, 10, 0)
    assert not may(91, 10, 0)
    assert may(70, 10, 2)
    assert not may(71, 10, 2)
    assert not may(100, 0, 0)
    assert may(0, 0, 0, is_known=False)
    assert not may(0, 0, 1, is_known=False)
    assert may(0, 0, 99)

"""A run stops before its budget is passed, and the next one goes on within a larger one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import batten
from batten.errors import InterruptedRunError, UsageError

if TYPE_CHECKING:
    from conftest import JobFolder

ITEMS = 40


pytestmark = pytest.mark.usefixtures("in_folder")


def ask(number: int) -> dict[str, int]:
    batten.usage(cost=Decimal("0.1"), calls=1)
    return {"number": number}


async def await_answer(number: int) -> dict[str, int]:
    await asyncio.sleep(0.001)
    return ask(number)


WAYS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "processes": (ask, {"jobs": 3}),
    "threads": (ask, {"jobs": 3, "executor": "threads"}),
    "serial": (ask, {"jobs": 1, "executor": "serial"}),
    "awaited": (await_answer, {}),
}


@pytest.mark.parametrize("way", WAYS)
def test_it_is_kept_over_all_runs(way: str) -> None:
    function, options = WAYS[way]
    job = batten.from_range(ITEMS).map(function).options(batch_size=7).write_parquet("out")
    for budget in (1, 2, 2, 3.5):
        with pytest.raises(InterruptedRunError) as caught:
            job.run(progress=False, budget=budget, **options)
        usage = caught.value.report.usage if caught.value.report is not None else None
        assert usage is not None
        assert usage.total["cost"] == Decimal(str(budget)), "all of it, and no more"
        assert usage.repeated == {}
        items = batten.diagnose("out").items
        assert items.committed + items.staged == usage.total["calls"]
    report = job.run(progress=False, budget={"cost": 4, "calls": 1000}, **options)
    assert report.status == "complete"
    assert report.usage is not None
    assert report.usage.total == {"cost": Decimal("4.0"), "calls": ITEMS}


def one_is_long(number: int) -> dict[str, int]:
    batten.usage(cost=50 if number == 3 else 1)
    return {"number": number}


def test_only_one_long_answer_can_pass_it() -> None:
    job = batten.from_range(ITEMS).map(one_is_long).write_parquet("out")
    with pytest.raises(InterruptedRunError) as caught:
        job.run(progress=False, budget=20, jobs=1)
    assert caught.value.report is not None
    assert caught.value.report.usage is not None
    # Another may have been handed out with it.
    assert 53 <= caught.value.report.usage.total["cost"] <= 54


def test_each_unit_has_its_limit() -> None:
    job = batten.from_range(ITEMS).map(ask).write_parquet("out")
    with pytest.raises(InterruptedRunError, match=r"3 of 3 calls is used"):
        job.run(progress=False, budget="cost=100,calls=3", jobs=2)


def test_what_never_tells_the_unit_is_not_held_up() -> None:
    job = batten.from_range(ITEMS).map(ask).write_parquet("out")
    assert job.run(progress=False, budget={"pages": 1}, jobs=2).status == "complete"


def test_whole_batches_are_published_when_it_is_used_up() -> None:
    job = batten.from_range(ITEMS).map(ask).options(batch_size=10).write_parquet("out")
    with pytest.raises(InterruptedRunError):
        job.run(progress=False, budget={"calls": 25}, jobs=2)
    items = batten.diagnose("out").items
    assert (items.committed, items.staged) == (20, 5)


def test_the_command(job: JobFolder) -> None:
    job.write("""
        def ask(n):
            batten.usage(cost=0.5)
            return {"n": n}

        pipeline = batten.from_range(8).map(ask).write_parquet("out")
    """)
    stopped = job.run("--budget", "2", "--jobs", "1", "--json")
    assert stopped.code == 75
    told = stopped.json
    assert told["usage"]["total"] == {"cost": 2.0}
    assert told["error"]["what"] == "Stopped by the budget: 2.0 of 2 cost is used."
    assert told["error"]["next"].endswith("batten run job.py --jobs 1 --budget 4")
    diagnosed = job.batten("diagnose", "out", "--json").json
    assert diagnosed["next"] == "batten run job.py --jobs 1 --budget 2"
    done = job.run("--budget", "4", "--quiet")
    assert done.code == 0
    assert "usage: cost 4" in done.err
    assert "usage    cost 4" in job.batten("show", "out").out


@pytest.mark.parametrize("budget", ["much", -1, {}])
def test_what_is_no_budget_is_refused(budget: Any) -> None:
    job = batten.from_range(ITEMS).map(ask).write_parquet("out")
    with pytest.raises(UsageError, match="budget can't be"):
        job.run(progress=False, budget=budget)
    assert not Path("out.batten").exists()


@pytest.mark.parametrize(("items", "told"), [(3, {}), (30, {"calls": 1}), (3, {"cost": 1})])
def test_a_budget_of_what_nobody_tells_is_said_to_be_none(
    items: int, told: dict[str, int], job: JobFolder
) -> None:
    """Once, whether the run is short or long."""
    done = job.write(
        f"""
        def ask(number):
            batten.usage(**{told})
            return {{"number": number}}

        pipeline = batten.from_range({items}).map(ask).write_parquet("out")
        """
    ).run("--budget", "100", "--jobs", "1")
    assert done.code == 0, done.err
    assert done.err.count("no call has told its cost yet") == ("cost" not in told)


def test_of_two_units_the_one_that_is_used_up_first_stops_it() -> None:
    def ask_much(number: int) -> dict[str, int]:
        batten.usage(cost=1, tokens=10 * number)
        return {"number": number}

    job = batten.from_range(ITEMS).map(ask_much).options(batch_size=4).write_parquet("out")
    for budget, most in (
        ({"cost": 5, "tokens": 1000}, (5, 100)),
        ({"cost": 100, "tokens": 150}, (100, 150)),
    ):
        with pytest.raises(InterruptedRunError) as caught:
            job.run(progress=False, budget=budget, executor="serial", jobs=1)
        assert caught.value.report is not None
        assert caught.value.report.usage is not None
        total = caught.value.report.usage.total
        assert (total["cost"], total["tokens"]) <= most
        assert total["tokens"] <= budget["tokens"]
        assert "cost=" in caught.value.next
        assert "tokens=" in caught.value.next


def test_what_is_finished_is_published_though_the_budget_is_used_up() -> None:
    """Nothing has to be called for that."""
    is_fine = Path("is-fine")

    def allow(table: Any) -> bool:
        return is_fine.exists()

    job = batten.from_range(4).map(ask).check_batches(allow).write_parquet("out")
    with pytest.raises(batten.FailedRunError, match="allow"):
        job.run(progress=False, budget={"calls": 4}, executor="serial", jobs=1)
    is_fine.touch()
    report = job.run(progress=False, budget={"calls": 4}, executor="serial", jobs=1)
    assert report.status == "complete"
    assert report.usage is not None
    assert report.usage.total["calls"] == 4


def test_a_run_begins_nothing_if_the_budget_is_used_up() -> None:
    job = batten.from_range(ITEMS).map(ask).write_parquet("out")
    for _ in range(3):
        with pytest.raises(InterruptedRunError, match="4 of 4 calls is used"):
            job.run(progress=False, budget={"calls": 4}, jobs=2)
    usage = batten.diagnose("out").contents.usage
    assert usage is not None
    assert usage.total["calls"] == 4


@pytest.mark.parametrize("told", [{"cost": -1}, {"cost": float("nan")}, {"cost": "1"}])
def test_what_is_no_usage_does_not_pass_the_budget(told: dict[str, Any]) -> None:
    """The item fails. What it told before counts, and the call as one that may have cost as much
    as the dearest."""

    def ask_strangely(number: int) -> dict[str, int]:
        batten.usage(cost=1)
        if number == 1:
            batten.usage(**told)
        return {"number": number}

    job = batten.from_range(ITEMS).map(ask_strangely).write_parquet("out")
    with pytest.raises(InterruptedRunError) as caught:
        job.run(progress=False, budget=6, executor="serial", jobs=1)
    assert caught.value.report is not None
    usage = caught.value.report.usage
    assert usage is not None
    assert (usage.total["cost"], usage.calls_untold, usage.lost_at_most["cost"]) == (5, 1, 1)


def test_what_a_thread_of_the_function_tells_counts() -> None:
    def ask_aside(number: int) -> dict[str, int]:
        thread = threading.Thread(target=batten.usage, kwargs={"cost": 1})
        thread.start()
        thread.join()
        return {"number": number}

    job = batten.from_range(ITEMS).map(ask_aside).write_parquet("out")
    with pytest.raises(InterruptedRunError, match="5 of 5 cost is used"):
        job.run(progress=False, budget=5, executor="serial", jobs=1)


def test_an_amount_beyond_all_measure_is_told_and_can_be_gone_on_from() -> None:
    def ask_dearly(number: int) -> dict[str, int]:
        batten.usage(cost=10**59 if number == 1 else 1)
        return {"number": number}

    job = batten.from_range(4).map(ask_dearly).write_parquet("out")
    with pytest.raises(InterruptedRunError):
        job.run(progress=False, budget=20, executor="serial", jobs=1)
    report = job.run(progress=False, budget=10**60 - 1, executor="serial", jobs=1)
    assert report.usage is not None
    assert report.usage.total["cost"] == 10**59 + 3

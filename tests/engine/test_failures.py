"""When failures end a run, and what is said then. No run, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import batten
from batten.drive.stopping.failure_budget import DEATHS_BETWEEN_MAX, Failures
from batten.errors import FailedRunError
from batten.executors.base import Died
from batten.model.disk.names import Layout
from batten.model.disk.outcomes import encode_outcomes
from batten.model.disk.records import PartDescription
from batten.model.words import Outcome
from batten.run.context import Context
from batten.run.progress import Status
from batten.run.run_options import RunOptions
from batten.storage.twin.memory import MemoryStorage
from batten.work.calling.calls import Failure
from batten.work.tasks import Sealed

if TYPE_CHECKING:
    from conftest import MakePlan


class Notes:
    def __init__(self) -> None:
        self.told: list[str] = []

    def show(self, status: Status) -> None:
        """Not looked at."""

    def note(self, text: str) -> None:
        self.told.append(text)

    def close(self) -> None:
        """Nothing to close."""


class Watched:
    """The failures of a run of twelve items in batches of four."""

    def __init__(
        self, storage: MemoryStorage, layout: Layout, make_plan: MakePlan, already: int = 0
    ) -> None:
        self.notes = Notes()
        self._plan = make_plan(12, 4)
        self._made = storage, layout
        self._already = already
        self.say()

    def say(self, **settings: Any) -> Watched:
        storage, layout = self._made
        pipeline = batten.from_range(12).map(str).options(**settings)
        context = Context(
            pipeline=pipeline,
            options=RunOptions(jobs=1),
            storage=storage,
            layout=layout,
            path="out",
            run="run",
            progress=self.notes,
        )
        self.failures = Failures(context, self._plan, self._already)
        return self


@pytest.fixture
def watched(storage: MemoryStorage, layout: Layout, make_plan: MakePlan) -> Watched:
    return Watched(storage, layout, make_plan)


def fail(item: int, error: str = "ValueError: no") -> Failure:
    return Failure(item=item, error=error, trace="its trace", attempts=1)


def sealed(batch: int, failed: int, misfit: Failure | None = None) -> Sealed:
    outcomes = [Outcome.QUARANTINED] * failed + [Outcome.COMMITTED] * (4 - failed)
    return Sealed(
        described=PartDescription(
            batch=batch,
            items=4,
            rows=4 - failed,
            outcomes=encode_outcomes(outcomes),
            keys="",
            fingerprint="",
        ),
        size=1,
        digest="",
        quarantine_digest="",
        schema=None,
        first_misfit=misfit,
    )


def died(item: int | None) -> Died:
    return Died(task_id=1, item=item, cause="was killed by signal SIGSEGV")


def test_the_first_failure_is_told_and_no_other(watched: Watched) -> None:
    watched.failures.tell(1, 2, fail(3))
    watched.failures.tell(2, 1, fail(0))
    assert watched.notes.told == ["First item that failed: '7': ValueError: no"]
    assert watched.failures.quarantined == 3


@pytest.mark.parametrize(("most", "ends_at"), [(0, 1), (2, 3)])
def test_more_than_may_fail_end_the_run(watched: Watched, most: int, ends_at: int) -> None:
    failures = watched.say(quarantine_max=most).failures
    for _ in range(ends_at - 1):
        failures.tell(0, 1, fail(0))
    with pytest.raises(FailedRunError) as caught:
        failures.tell(0, 1, fail(2))
    assert f"quarantine_max is {most}" in caught.value.what
    assert caught.value.what.startswith(f"{ends_at} item")
    assert caught.value.trace == "its trace"
    assert caught.value.safe
    assert "retry_quarantined" in caught.value.next


def test_those_of_earlier_runs_count(
    storage: MemoryStorage, layout: Layout, make_plan: MakePlan
) -> None:
    watched = Watched(storage, layout, make_plan, already=2).say(quarantine_max=2)
    with pytest.raises(FailedRunError, match="3 items failed"):
        watched.failures.tell(0, 1, fail(0))


def test_the_first_failure_ends_the_run_where_the_job_says_so(watched: Watched) -> None:
    failures = watched.say(on_error="raise").failures
    with pytest.raises(FailedRunError, match="The item '9' failed: ValueError: no"):
        failures.tell(2, 1, fail(1))


def test_what_was_told_is_not_counted_again_when_its_batch_is_sealed(watched: Watched) -> None:
    watched.failures.tell(0, 2, fail(0))
    watched.failures.settle(sealed(0, failed=2))
    assert watched.failures.quarantined == 2
    # Three of another batch were staged by an earlier run, or found not to fit only now.
    watched.failures.settle(sealed(1, failed=3, misfit=fail(0)))
    assert watched.failures.quarantined == 5


def test_what_is_found_when_a_batch_is_sealed_may_end_the_run(watched: Watched) -> None:
    failures = watched.say(quarantine_max=1).failures
    with pytest.raises(FailedRunError, match="2 items failed"):
        failures.settle(sealed(1, failed=2, misfit=fail(0)))


def test_what_is_tried_again_is_taken_back(watched: Watched) -> None:
    watched.failures.tell(0, 3, fail(0))
    watched.failures.take_back(2)
    assert watched.failures.quarantined == 1


def test_a_death_with_an_item_in_hand_is_told_by_its_key(watched: Watched) -> None:
    for _ in range(3 * DEATHS_BETWEEN_MAX):
        watched.failures.tell_death(died(9))
    told = "A worker was killed by signal SIGSEGV with the item '9' in hand."
    assert set(watched.notes.told) == {told}
    with pytest.raises(FailedRunError, match="with the item '9' in hand"):
        watched.say(on_error="raise").failures.tell_death(died(9))


def test_workers_that_end_between_items_end_the_run(watched: Watched) -> None:
    for _ in range(DEATHS_BETWEEN_MAX - 1):
        watched.failures.tell_death(died(None))
    with pytest.raises(FailedRunError, match="5 workers in a row ended with no item in hand"):
        watched.failures.tell_death(died(None))


def test_they_are_in_a_row_only_if_nothing_is_done_between(watched: Watched) -> None:
    for _ in range(4 * DEATHS_BETWEEN_MAX):
        watched.failures.tell_death(died(None))
        watched.failures.tell_progress()

"""How many items have failed for good, and whether that ends the run."""

from __future__ import annotations

from collections import Counter

from batten.errors import FINISHED_KEPT, BattenError, FailedRunError, StorageError
from batten.executors.base import Died, Event, Finished, Lost, Raised, TimedOut, Told
from batten.ledger.guarded import taken_over
from batten.model.rules.accounting import tally_outcomes
from batten.model.telling.counts import count_of
from batten.plan.plan import Plan
from batten.run.context import Context
from batten.sinks.rows.rejecting import UnstorableError
from batten.work.calling.calls import Failure, describe_error
from batten.work.calling.most_fail import StreakVerdict
from batten.work.tasks import Sealed, Unsealable

DEATHS_BETWEEN_MAX = 5
"""So many workers in a row that end with no item in hand, and the run ends: it is no item's
fault."""

DAMAGES_MAX = 2
"""So often may what is staged of a batch turn out unreadable, and the run ends: to do it again and
again would cost calls without an end."""

UNFIT = "the row does not fit"
"""How the error of an item begins that has another row than the dataset's schema allows."""

THOSE = "those items again"

NEW_COLUMN = f"{UNFIT}: a new column"
"""How the error of an item begins that has a column which the dataset has not."""


class Failures:
    """Counts the quarantined items of the whole dataset: as they are told, and again when their
    batch is sealed, since some were staged by an earlier run and others fail only then. Raises
    `FailedRunError` if the pipeline's options say so."""

    def __init__(self, context: Context, plan: Plan, quarantined: int) -> None:
        self._context = context
        self._plan = plan
        self._told: Counter[int] = Counter()
        self._deaths_between = 0
        self._damaged: Counter[int] = Counter()
        self._has_told_of_columns = False
        self.quarantined = quarantined

    def tell(self, batch: int, count: int, first: Failure | None) -> None:
        """Items of a batch failed, `first` before the others."""
        self._told[batch] += count
        self._add(batch, count, first)

    def settle(self, sealed: Sealed) -> None:
        """A batch is sealed, so the outcome of each item is known."""
        failed = tally_outcomes(sealed.described.outcomes).quarantined
        self._add(sealed.batch, failed - self._told.pop(sealed.batch, 0), sealed.first_misfit)

    def take_back(self, count: int) -> None:
        """So many quarantined items are tried again."""
        self.quarantined -= count

    def tell_death(self, died: Died) -> None:
        """A worker ended by itself, or was killed by others than batten."""
        options = self._context.pipeline.settings
        if died.item is not None:
            what = f"A worker {died.cause} with the item {self._name(died.item)!r} in hand."
            if options.on_error == "raise":
                raise self._fail(
                    what, f"Mend the cause, then {self._context.to_run(self._context.again)}"
                )
            self._context.progress.note(what)
            return
        self._deaths_between += 1
        if self._deaths_between >= DEATHS_BETWEEN_MAX:
            raise self._fail(
                f"{DEATHS_BETWEEN_MAX} workers in a row ended with no item in hand; "
                f"the last {died.cause}.",
                "See whether memory is short, or what ends them where a class is constructed; "
                f"then {self._context.to_run(self._context.again)}",
            )

    def tell_progress(self) -> None:
        """A worker did what it was asked."""
        self._deaths_between = 0

    def tell_unsealable(self, answer: Unsealable) -> None:
        """An item turned out to have failed, or staged chunks can't be read. If that goes on,
        raises `BusyError` where another run cleared them away, `StorageError` otherwise."""
        batch = answer.batch
        if answer.misfit is not None:
            self.tell(batch, 1, answer.misfit)
        elif answer.damaged:
            self._damaged[batch] += 1
        if self._damaged[batch] >= DAMAGES_MAX:
            self._refuse_overtaken(answer)
            raise StorageError(
                f"What is staged of batch {batch} could not be read, and what was made in its "
                "place neither: the disk damages it, or there is no memory for it.",
                safe=FINISHED_KEPT,
                next="Give it more memory, or check the disk and the kernel's log (dmesg); then "
                f"{self._context.to_run(self._context.again)}",
            )

    def _refuse_overtaken(self, answer: Unsealable) -> None:
        """Where no lock keeps others away, another run that publishes a batch clears away what is
        staged of it."""
        storage, layout = self._context.storage, self._context.layout
        for chunk in answer.damaged if layout.is_shared else ():
            if storage.find(layout.staged_chunk(chunk)) is None:
                raise taken_over(storage, layout.staged_chunk(chunk))

    def explain(self, verdict: StreakVerdict) -> FailedRunError:
        """The error of a run that is stopped because the job fails."""
        failure = verdict.failure
        key = self._plan.key_texts(self._plan.batch(verdict.batch))[failure.item]
        which = "first" if verdict.is_first else "last"
        failed = "all" if verdict.is_first else f"{verdict.failed}"
        again, ways = self._context.again, ""
        if failure.error.startswith(UNFIT):
            ways = (
                "Where it is the first rows that are odd, all can be computed anew: "
                f"{self._context.again_fresh}. "
            )
        tried = f"of these failures none is quarantined: the next run tries {THOSE}"
        if verdict.decided:
            again = self._context.again_retrying
            tried = f"what a destination did not take is quarantined, and {again} tries {THOSE}"
        return FailedRunError(
            f"Of the {which} {verdict.count} items that ended {failed} failed, so the run stopped. "
            f"{verdict.commonest} of them failed alike, {key!r} for instance: {failure.error}",
            safe=f"{FINISHED_KEPT[:-1]}; {tried}.",
            next=f"Mend the cause, then {self._context.to_run(again)} (with "
            f"{self._context.wish('accept_change')} where the job's code was changed). {ways}"
            "Where so many may fail: .options(stop_when=None)",
            trace=failure.trace,
        )

    def _add(self, batch: int, count: int, first: Failure | None) -> None:
        if not count:
            return
        is_first = self.quarantined == 0
        self.quarantined += count
        options = self._context.pipeline.settings
        if first is not None:
            key = self._plan.key_texts(self._plan.batch(batch))[first.item]
            if options.on_error == "raise":
                raise self._fail(
                    f"The item {key!r} failed: {first.error}",
                    f"Mend the cause, then {self._context.to_run(self._context.again)}",
                    first.trace,
                )
            if is_first:
                self._context.progress.note(f"First item that failed: {key!r}: {first.error}")
            if NEW_COLUMN in first.error and not self._has_told_of_columns:
                self._has_told_of_columns = True
                items = count_of(self._plan.items, "item")
                self._context.progress.note(
                    "The columns of a dataset don't change by themselves: leave the new one out; "
                    "or add it and try what failed again, rows there are get nulls and none is "
                    f"computed again: {self._context.again_adding_retried}; or compute all {items} "
                    f"anew: {self._context.again_fresh}"
                )
        most = options.quarantine_max
        if most is not None and self.quarantined > most:
            last = f" The last: {first.error}" if first is not None else ""
            raise self._fail(
                f"{count_of(self.quarantined, 'item')} failed, and quarantine_max is {most}.{last}",
                f"Mend the cause, then try them again: {self._context.again_retrying}; "
                f"or allow more, and: {self._context.again}",
                first.trace if first is not None else "",
            )

    def _fail(self, what: str, next: str, trace: str = "") -> FailedRunError:
        return FailedRunError(what, safe=FINISHED_KEPT, next=next, trace=trace)

    def _name(self, item: int) -> str:
        number = self._plan.batch_of_item(item)
        if number is None:
            return str(item)
        batch = self._plan.batch(number)
        return self._plan.key_texts(batch)[item - batch.first_item]


def as_failure(why: Died | TimedOut | Lost | Exception, item: int, attempts: int) -> Failure:
    """What is kept, by its number in the batch, of an item that failed outside of the functions:
    its worker died, it took too long, or a destination rejects it."""
    trace = ""
    match why:
        case Died():
            text = f"the worker {why.cause}"
        case Lost():
            text = "the machines that did the item were gone, each time"
        case TimedOut():
            text = f"TimeoutError: the item took longer than {why.limit_seconds:g} seconds"
        case UnstorableError():
            text = str(why)
        case _:
            text, trace = describe_error(why)
    return Failure(item=item, error=text, trace=trace, attempts=attempts)


def answer_of(event: Event) -> object:
    """What a worker answered or told. Raises what the look raised: that is no item's failure."""
    if isinstance(event, Raised):
        if not isinstance(event.error, BattenError):
            event.error.add_note(f"In a worker:\n{event.trace}")
        raise event.error
    return event.value if isinstance(event, Finished | Told) else None

"""What the calls of one run use, as the driver sees it: kept durable, and within the budget."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from batten.drive.together.run_end import describe_failure
from batten.errors import BattenError, InterruptedRunError
from batten.executors.base import Died, Event, Lost, TimedOut
from batten.ledger.facts.observation import Observation
from batten.ledger.history.usage import Standings, record_lost_calls, tally_usage
from batten.ledger.history.usage_journal import UsageJournal, UsageTail, sync_journals
from batten.model.disk.runs.usage_lines import LostLine, UsageLine, UseLine, multiply, total
from batten.run.context import Context

SILENT_ENDS = 10
"""After so many answers of which none told a unit, people hear that its budget can't be kept."""


class Spending:
    """Of one run. Where a budget is set, it knows what all runs used, and reads on in what this one
    tells (decision 0119), and the machines that work for it (decision 0146)."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._storage, self._layout = context.storage, context.layout
        self._journal = UsageJournal(context.storage, context.layout, context.run)
        self._lost = 0
        self._obstacle = ""
        self._has_ended = False
        self._has_news = True
        self._ends, self._has_noted = 0, False
        self._at_vendors: set[int] = set()
        self._begun_there = 0

    def begin(self, observation: Observation) -> None:
        """Before any call, and before anything that was published is reopened."""
        context = self._context
        if any(step.batch_api is not None for step in context.pipeline.steps):
            from batten.ledger.history.submissions import forget_settled

            is_open = Standings(observation, published=True)
            forget_settled(self._storage, self._layout, is_open)
        record_lost_calls(self._storage, self._layout, context.run)
        sync_journals(self._storage, self._layout)
        if context.options.budget is not None:
            from batten.ledger.history.submissions import list_pending

            self._tally = tally_usage(
                self._storage, self._layout, is_running=False, but=context.run
            )
            self._has_ended = not self._tally.is_empty
            for record in list_pending(self._storage, self._layout):
                self._at_vendors |= record.list_items()
            self._tail = UsageTail(
                self._storage, self._layout, context.run, is_alone=not context.may_be_joined
            )

    def sync(self) -> None:
        """What was told up to now outlives a power cut."""
        self._journal.sync()

    def hear(self, events: Sequence[Event]) -> None:
        """Before anything else becomes of them: one of them may end the run."""
        for event in events:
            match event:
                case Died() if event.item is not None:
                    self._lose(1)
                case TimedOut():
                    self._lose(1)
                case Lost() if event.was_begun:
                    self._lose(event.calls_max)

    def _lose(self, calls: int) -> None:
        """A worker died with so many calls in hand."""
        self._lost += 1
        self._has_news = True
        line = LostLine(end=f"{self._context.run} worker {self._lost}", calls=calls)
        self._journal.write(line)

    def end(self) -> bool:
        """Before workers are stopped: what they have in hand is lost. Whether that is written down;
        where it is not, the marks of what was in hand tell it."""
        with suppress(BattenError):
            if self._context.options.budget is not None and self._ends:
                self._read_on()
                self._note_silence()
        run = self._context.run
        try:
            record_lost_calls(self._storage, self._layout, run, end=run)
        except BattenError as error:
            self._context.progress.note(
                f"How many calls were in hand could not be written down: {error.what} The next run "
                "counts them."
            )
            return False
        return True

    def take_answer(self, executed: int) -> None:
        """A task has an answer. If an item was done, it is known whether calls tell something."""
        self._has_news = True
        if executed:
            self._has_ended = True
            self._ends += 1

    def may_begin(self, in_hand: int, item: int) -> bool:
        """Whether a further item may be begun beside those in hand, each perhaps as dear as the
        dearest so far. What a vendor has of an earlier run is in hand, too, and may be taken."""
        limits = self._context.options.budget
        if limits is None:
            return True
        # To look is a request in a store. What an item told is there when it has ended.
        if self._has_news or self._storage.folder is not None:
            self._read_on()
        if self._ends >= SILENT_ENDS:
            self._note_silence()
        if item in self._at_vendors:
            self._begun_there += 1
            return True
        in_hand += len(self._at_vendors) - self._begun_there
        tally = self._tally
        lost = {unit: multiply(n, tally.calls_lost) for unit, n in tally.largest.items()}
        self._spent = total((tally.told, lost))
        from batten.model.rules.usage_budget import find_obstacle

        self._obstacle = find_obstacle(
            limits,
            self._spent,
            tally.largest,
            in_hand,
            is_known=self._has_ended,
        )
        return not self._obstacle

    def _read_on(self) -> None:
        self._has_news = False
        for line in self._tail.read_on():
            self._tally.take(line)
            self._note_told(line)

    def _note_silence(self) -> None:
        """Once, if nothing was told of what the budget is of."""
        limits = self._context.options.budget or {}
        silent = [unit for unit in limits if unit not in self._tally.largest]
        if silent and not self._has_noted:
            self._has_noted = True
            units = " and ".join(silent)
            self._context.progress.note(
                f"no call has told its {units} yet, so the budget can't be kept: batten.usage()"
            )

    def _note_told(self, line: UsageLine | None) -> None:
        if isinstance(line, UseLine) and line.item in self._at_vendors:
            self._at_vendors.discard(line.item)
            self._begun_there = max(0, self._begun_there - 1)

    def refuse_more(self) -> None:
        """Raises `InterruptedRunError`: with the next call the budget could be passed."""
        context = self._context
        from batten.model.rules.usage_budget import enlarge, show_budget

        limits = context.options.budget or {}
        larger = show_budget(enlarge(limits, self._spent, self._tally.largest))
        error = InterruptedRunError(
            f"Stopped by the budget: {self._obstacle}.",
            safe="Everything that was finished is kept; it is safe to run again.",
            next=f"Run it again with a larger budget; it resumes: {context.again_within(larger)}",
        )
        # It is the end for machines that work for this run, too, unlike after a signal.
        context.tell_end(describe_failure(error))
        raise error

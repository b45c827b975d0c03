"""Work for a run of another process, on this machine or another: until it ends, or is gone.

The run plans, decides and publishes. Here items are computed, and what they became is staged where
the run finds it. Whatever happens here, the dataset stays right: what is staged bears its content
in its name, and a run that has given this worker up passes over what it tells (decision 0130).
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace

from batten.anywhere.assigning import Doing
from batten.anywhere.meeting import Meeting
from batten.anywhere.team import BEATS
from batten.anywhere.wire import UnclearError, decode_schema, decode_task, encode_event
from batten.drive.stopping.failure_budget import Failures, answer_of
from batten.drive.together.run_end import RunEnd, read_end
from batten.drive.together.team_of_run import batten_version, count_calls, count_tasks
from batten.errors import BattenError, RefusedError, StorageError
from batten.executors.base import Died, Event, Finished, Lost, Raised, TimedOut, Told
from batten.ledger.history.usage import name_leaving
from batten.ledger.history.usage_journal import UsageJournal
from batten.model.disk.records import Segment, Unreadable, decode_record
from batten.model.disk.runs.usage_lines import LostLine
from batten.model.disk.runs.workers import BegunTask, Board, Register
from batten.model.telling.counts import count_of
from batten.plan.plan import Plan
from batten.run.clock import new_run, utc_now
from batten.run.context import Context
from batten.run.identity import identify_pipeline
from batten.storage.changing.publishing import HOST
from batten.work.tasks import Prepare, Prepared
from batten.work.workforce import Workforce

HEARD_SECONDS = 5.0
"""A worker that leaves waits so long for what it tells to be heard."""


class Joined:
    """One worker of one run. `work` returns how the run ended, or None where it is gone, or has
    given this worker up: then another run may begin, or be joined."""

    def __init__(self, context: Context, meeting: Meeting, board: Board) -> None:
        self._context, self._meeting = context, meeting
        self._board = board
        self._tasks: dict[int, Prepare] = {}
        self._version = ""
        self._beat = 0
        self._written_at = -float("inf")
        self._changed_at = time.monotonic()
        self._leaves_at: float | None = None
        self._is_left_to_run = False
        self._failure: BattenError | None = None
        self._since = utc_now()

    def work(self) -> RunEnd | None:
        """Raises `RefusedError` if the job is another one here, `InterruptedRunError` after a
        signal, and whatever the run ended with."""
        context = self._context
        self._workforce = self._begin()
        slots = count_tasks(context.pipeline, self._workforce.executor.slots)
        random = os.urandom(6).hex()
        host = re.sub(r"[^0-9A-Za-z_-]", "-", HOST)[:64]
        self._name = f"{host}-{os.getpid()}-{random}"
        self._doing = Doing(self._name, slots=slots)
        context.progress.note(
            f"Working for the run of process {self._board.pid} on {self._board.host}, "
            f"{count_of(slots, 'task')} at a time."
        )
        try:
            end = self._work()
        finally:
            is_noted = self._note_lost()
            self._workforce.stop()
            if is_noted:
                self._meeting.delete_register(self._name, self._version)
        if end is None:
            # Also where the run has let go of one that leaves, or is gone meanwhile.
            self._raise_end()
        return end

    def _begin(self) -> Workforce:
        context, board = self._context, self._board
        identity = context.identity = identify_pipeline(
            context.pipeline, context.options.parameters
        )
        identity.check_secrets()
        if (board.fingerprint, board.version) != (identity.fingerprint.digest, batten_version()):
            raise self._refuse(identity.fingerprint.digest == board.fingerprint)
        context.layout = replace(context.layout, output=board.output, home=board.home)
        plan = Plan(context.storage, context.layout, self._load_segments())
        # What calls here use is told in a file of its own: no other process adds to it.
        context.run = f"{new_run()}{os.urandom(4).hex()}"
        self._failures = Failures(context, plan, 0)
        workforce = Workforce(context, plan, fingerprint=identity.fingerprint, work=identity.work)
        workforce.start()
        return workforce

    def _refuse(self, is_same_job: bool) -> RefusedError:
        board = self._board
        if is_same_job:
            what = f"The run is one of batten {board.version}, and this is {batten_version()}."
            way = f"Install batten {board.version} here, and start the worker again."
        else:
            what = "The job is another one here than that of the run: code or settings differ."
            way = "Bring the same code and options to this machine, and start the worker again."
        return RefusedError(
            f"{what} The run is that of process {board.pid} on {board.host}.",
            safe="Nothing was done here, and the run goes on without this worker.",
            next=way,
        )

    def _load_segments(self) -> list[Segment]:
        storage, layout = self._context.storage, self._context.layout
        try:
            return [
                decode_record(Segment, storage.read(layout.segment(number)))
                for number in range(self._board.segments)
            ]
        except (Unreadable, FileNotFoundError) as error:
            raise StorageError(
                f"The plan of the run can't be read from here: {error}.",
                safe="Nothing was done here, and the run goes on without this worker.",
                next="See whether this machine sees the same folder, and start the worker again.",
            ) from error

    def _work(self) -> RunEnd | None:
        if not self._write():
            return None
        while True:
            board = self._look()
            if board is None:
                return None
            if board.ended:
                return read_end(board.ended)
            self._doing.see(board.hands, board.beat)
            is_asked = self._context.signals.received is not None or self._failure is not None
            if self._leaves_at is None and (is_asked or board.is_draining):
                self._drain()
            if self._leaves_at is not None:
                # Some of it may have been given before the run knew that this one leaves.
                self._give_back_waiting()
            begun = self._doing.begin(utc_now())
            for number, text in begun:
                self._tasks[number] = self._read_task(text)
            if (begun or self._is_due) and not self._write():
                return None
            for number, _ in begun:
                self._workforce.submit(number, self._tasks[number])
            if self._leaves_at is not None and self._has_left():
                return None
            self._take()

    def _look(self) -> Board | None:
        """None where the run is gone. While nothing is heard of it, its lock tells."""
        board, now = self._meeting.read_board(), time.monotonic()
        if board is None or board.run != self._board.run:
            return None
        if board.beat != self._board.beat:
            self._changed_at = now
        elif now - self._changed_at > board.gone_seconds:
            if self._context.storage.observe_lock(self._context.layout.lock) is None:
                return None
            self._changed_at = now
        self._board = board
        self._context.sharing.machines = board.machines
        return board

    def _read_task(self, text: str) -> Prepare:
        try:
            return decode_task(text, decode_schema(self._board.schema))
        except UnclearError as error:
            raise StorageError(
                f"What the run asks for can't be understood: {error}.",
                safe="The run goes on without this worker.",
                next="See whether the same batten is installed on both machines.",
            ) from error

    def _take(self) -> None:
        poll = self._meeting.poll_seconds
        if not self._doing.in_hand:
            time.sleep(poll)
            return
        for event in self._workforce.wait(poll):
            if isinstance(event, Lost):
                continue  # Told by a team alone.
            if isinstance(event, Raised) and isinstance(event.error, StorageError):
                # The fault of this machine: others may do it.
                self._failure = event.error
                self._note_cut_off(event.task_id)
                self._give_back(event.task_id)
                continue
            self._tell(event, is_end=not isinstance(event, Told))
        for event in self._workforce.look():
            self._watch(event)

    def _watch(self, event: Event) -> None:
        """A step's own worker has no item to tell of. Where they all end so, this machine is of no
        use: others do what it has in hand."""
        if not isinstance(event, Died):
            answer_of(event)
            return
        try:
            self._failures.tell_death(event)
        except BattenError as error:
            self._failure = error

    def _tell(self, event: Finished | Raised | Died | TimedOut | Told, *, is_end: bool) -> None:
        if isinstance(event, Finished):
            self._failures.tell_progress()
        self._doing.tell(event.task_id, encode_event(event), is_end=is_end)
        self._written_at = -float("inf")

    def _note_cut_off(self, number: int) -> None:
        """Awaited calls of the task were cut off. Any other has one item in hand, which ended."""
        context = self._context
        if not context.pipeline.is_async:
            return
        journal = UsageJournal(context.storage, context.layout, context.run)
        calls = self._count_calls(number)
        try:
            journal.write(LostLine(end=f"{self._name} task {number}", calls=calls))
        except BattenError as error:
            context.progress.note(
                f"{count_of(calls, 'call')} that were cut off here could not be written down: "
                f"{error.what}"
            )

    def _give_back(self, number: int) -> None:
        task = self._tasks[number]
        nothing = Prepared(batch=task.batch, start=task.start, stop=task.start)
        self._tell(Finished(task_id=number, value=nothing), is_end=True)

    def _drain(self) -> None:
        self._workforce.executor.drain()
        seconds = self._context.options.drain_seconds
        self._leaves_at = time.monotonic() + seconds
        self._doing.is_leaving = True
        received = self._context.signals.received
        if received is not None:
            self._context.progress.note(self._context.signals.tell_draining(seconds))
        self._written_at = -float("inf")

    def _give_back_waiting(self) -> None:
        for number, text in self._doing.give_back():
            self._tasks[number] = self._read_task(text)
            self._give_back(number)

    def _has_left(self) -> bool:
        """Whether what was in hand has ended, and was heard; or there was no more time for it."""
        doing, leaves_at = self._doing, self._leaves_at or 0.0
        now = time.monotonic()
        if doing.in_hand and now > leaves_at:
            if not self._note_lost():
                return True
            self._workforce.executor.stop()
            for number in list(doing.begins):
                self._give_back(number)
        return not doing.in_hand and (doing.is_idle or now > leaves_at + HEARD_SECONDS)

    def _note_lost(self) -> bool:
        """What is in hand is cut off: whether it was paid is not known. Where that can't be written
        down, the register stays, by which the run, or the next one, counts it. Whether it was."""
        context, calls = self._context, sum(map(self._count_calls, self._doing.begins))
        if not calls or self._is_left_to_run:
            return not self._is_left_to_run
        try:
            journal = UsageJournal(context.storage, context.layout, context.run)
            journal.write(LostLine(end=name_leaving(self._name), calls=calls))
        except BattenError as error:
            context.progress.note(
                f"{count_of(calls, 'call')} in hand when this worker left could not be written "
                f"down: {error.what} The run counts them when it has missed this worker."
            )
            self._is_left_to_run = True
        return not self._is_left_to_run

    def _count_calls(self, number: int) -> int:
        task = self._tasks.get(number)  # What can't be understood is not there.
        return count_calls(self._context.pipeline, task.stop - task.start) if task else 1

    def _raise_end(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._context.refuse_stopped()

    @property
    def _is_due(self) -> bool:
        return time.monotonic() - self._written_at > self._board.gone_seconds / BEATS

    def _write(self) -> bool:
        """False where the run has given this worker up."""
        doing = self._doing
        self._beat += 1
        register = Register(
            worker=self._name,
            run=self._board.run,
            host=HOST,
            pid=os.getpid(),
            since=self._since,
            slots=doing.slots,
            beat=self._beat,
            is_leaving=doing.is_leaving,
            begins=[
                BegunTask(task=task, since=since, calls=self._count_calls(task))
                for task, since in doing.begins.items()
            ],
            events=doing.events,
        )
        version = self._meeting.write_register(register, self._version)
        if version is None:
            return False
        self._version, self._written_at = version, time.monotonic()
        return True

"""`batten work`: do the run, or work for the one that is under way; whichever is to be had.

Who gets the lock does the run, and lets others join. Who does not get it joins. If the run is gone,
one of its workers gets the lock and goes on. So all are started alike, and none is special.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from batten.anywhere.meeting import Meeting
from batten.drive.preparing.beginning import machine_used, make_context
from batten.drive.preparing.job_checks import check_job
from batten.drive.run import run_on
from batten.drive.together.joining import Joined
from batten.drive.together.run_end import RunEnd, read_end
from batten.drive.together.team_of_run import refuse_beyond_workers
from batten.errors import UNTOUCHED, BusyError, RefusedError
from batten.jobs.definition import Definition
from batten.jobs.loading.job_folder import show_path
from batten.model.disk.runs.workers import Board
from batten.model.rules.usage_budget import read_budget
from batten.run.checks import list_checks, refuse_unfit
from batten.run.context import Context
from batten.run.found.place_of_ledger import choose_ledger
from batten.run.progress import Progress
from batten.run.report import Report
from batten.run.run_options import RunOptions
from batten.run.telling.watching import RunWatcher
from batten.storage.base import Store
from batten.storage.local.folder import LocalStorage

PATIENCE = 2
"""One who holds the lock, and has no work for others for so many times `gone_seconds`, is no run
that others may join."""


def work_anywhere(
    pipeline: Definition,
    options: RunOptions,
    progress: Progress,
    watchers: Sequence[RunWatcher] = (),
) -> Report | RunEnd:
    """The report of the run, where this process did it to its end; else how it ended. Raises what
    the run raises, or ended with, and `BusyError` where another one is at work that nobody may
    join."""
    pipeline = choose_ledger(pipeline)
    refuse_beyond_workers(pipeline)
    output = check_job(pipeline, options)
    local = LocalStorage(output.parent)
    storage = pipeline.store.open(is_shared=True) if pipeline.store is not None else local
    while True:
        if options.only_joins:
            busy = _busy_without_work(output)
            ended = _join(storage, pipeline, options, progress, busy)
            if isinstance(ended, RunEnd):
                return ended
            continue
        try:
            return run_on(storage, pipeline, options, progress, watchers=watchers)
        except BusyError as busy:
            for watcher in watchers:
                # Workers that it starts join the run of another as well.
                watcher.hold()
            ended = _join(storage, pipeline, options, progress, busy)
        if isinstance(ended, RunEnd):
            return ended
        options = ended


@machine_used()
def _join(
    storage: Store,
    pipeline: Definition,
    options: RunOptions,
    progress: Progress,
    busy: BusyError,
) -> RunEnd | RunOptions:
    """Work for the run that is under way. If there is none any more, the options to go on with."""
    context = make_context(storage, pipeline, options, progress, is_worker=True)
    refuse_unfit(context, list_checks(context))
    meeting = Meeting(storage, context.layout.workers)
    until = time.monotonic() + PATIENCE * (options.gone_seconds or 0.0)
    with context.signals:
        while True:
            context.refuse_stopped()
            board = meeting.read_board()
            if options.only_joins and storage.observe_lock(context.layout.lock) is None:
                if board is not None and board.ended:
                    return read_end(board.ended)
                raise _no_run(context)
            if board is not None and not board.ended:
                ended = Joined(context, meeting, board).work()
                return ended if ended is not None else _keep_budget(options, board)
            if storage.observe_lock(context.layout.lock) is None:
                return options
            if time.monotonic() > until:
                raise busy
            time.sleep(meeting.poll_seconds)


def _keep_budget(options: RunOptions, board: Board) -> RunOptions:
    """Who goes on for a run with a budget keeps that, if it was given none itself."""
    if options.budget is not None or not board.budget:
        return options
    call = options.call
    call = replace(call, options={**call.options, "budget": board.budget})
    return replace(options, budget=read_budget(board.budget), call=call)


def _no_run(context: Context) -> RefusedError:
    return RefusedError(
        f"No run of {context.path} is under way, as far as is seen from here.",
        safe=UNTOUCHED,
        next="Start the run first. If it runs, see whether this machine sees the same output.",
    )


def _busy_without_work(output: Path) -> BusyError:
    return BusyError(
        f"Who is at work on {show_path(output)} has no work for others.",
        safe=UNTOUCHED,
        next="Wait for it to end; or stop it, and start it as one that others may join.",
    )

"""`batten work`: do the run, or work for the one that is under way; whichever is to be had.

Who gets the lock does the run, and lets others join. Who does not get it joins. If the run is gone,
one of its workers gets the lock and goes on. So all are started alike, and none is special.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from batten.anywhere.meeting import Meeting
from batten.drive.preparing.beginning import machine_used, make_context
from batten.drive.preparing.job_checks import check_job
from batten.drive.run import run_on
from batten.drive.together.joining import Joined
from batten.drive.together.run_end import RunEnd, read_end
from batten.drive.together.team_of_run import refuse_beyond_workers
from batten.errors import BusyError, RefusedError
from batten.jobs.definition import Definition
from batten.jobs.loading.job_folder import show_path
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
            if ended is not None:
                return ended
            continue
        try:
            return run_on(storage, pipeline, options, progress, watchers=watchers)
        except BusyError as busy:
            for watcher in watchers:
                # Workers that it starts join the run of another as well.
                watcher.hold()
            ended = _join(storage, pipeline, options, progress, busy)
        if ended is not None:
            return ended


@machine_used()
def _join(
    storage: Store,
    pipeline: Definition,
    options: RunOptions,
    progress: Progress,
    busy: BusyError,
) -> RunEnd | None:
    """Work for the run that is under way. None if there is none any more."""
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
                return Joined(context, meeting, board).work()
            if storage.observe_lock(context.layout.lock) is None:
                return None
            if time.monotonic() > until:
                raise busy
            time.sleep(meeting.poll_seconds)


def _no_run(context: Context) -> RefusedError:
    return RefusedError(
        f"No run of {context.path} is under way, as far as is seen from here.",
        safe="Nothing was read or written.",
        next="Start the run first. If it runs, see whether this machine sees the same output.",
    )


def _busy_without_work(output: Path) -> BusyError:
    return BusyError(
        f"Who is at work on {show_path(output)} has no work for others.",
        safe="Nothing was read or written.",
        next="Wait for it to end; or stop it, and start it as one that others may join.",
    )

"""What a run and a worker of another's run begin with, alike."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from batten.drive.preparing.job_checks import check_job, refuse_beyond_store
from batten.jobs.definition import Definition
from batten.jobs.loading.job_folder import show_path
from batten.listening import Log, complain
from batten.model.disk.names import Layout
from batten.model.disk.runs.job_calls import BATTEN
from batten.run.clock import new_run
from batten.run.context import Context
from batten.run.progress import Progress
from batten.run.run_options import RunOptions
from batten.run.telling.watching import LOGGER, RunWatcher, Watchers
from batten.sources.finished import FinishedRows
from batten.storage.base import Store
from batten.storage.blame import machine_blamed


def make_context(
    storage: Store,
    pipeline: Definition,
    options: RunOptions,
    progress: Progress,
    *,
    finished: FinishedRows | None = None,
    watchers: Sequence[RunWatcher] = (),
    is_worker: bool = False,
) -> Context:
    """Raises `UsageError` for a job that can't be run there as it is asked for."""
    output = check_job(pipeline, options)
    if pipeline.whole is not None:
        # Its items are descriptions; the function has a process of its own.
        options = replace(options, executor="serial", jobs=1)
    context = Context(
        pipeline=pipeline,
        options=options,
        storage=storage,
        layout=Layout(
            output.name,
            is_inside=pipeline.is_ledger_inside,
            is_shared=storage.folder is None,
        ),
        path=show_path(output) if pipeline.store is None else pipeline.store.shown,
        run=new_run(),
        progress=progress,
        finished=finished,
        watchers=Watchers(watchers, note=progress.note),
        log=Log(LOGGER, progress.note if options.call.kind == BATTEN else complain),
        is_worker=is_worker,
    )
    if storage.folder is None:
        refuse_beyond_store(storage, pipeline, options)
    return context


@contextmanager
def machine_used() -> Iterator[None]:
    """While entered, this process may use what the machine has. What the machine lacks is told as
    its failure."""
    with open_files_raised(), machine_blamed():
        yield


OPEN_FILES_MAX = 1 << 20
"""Some programs look through all numbers up to the limit, and there are limits of billions."""


@contextmanager
def open_files_raised() -> Iterator[None]:
    """While entered, the soft limit is the hard one. Workers that are started meanwhile inherit
    it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES_MAX)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        yield
        return
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

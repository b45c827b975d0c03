"""Who does the work of a run: processes, threads, this process itself, or one event loop."""

from __future__ import annotations

import os
import pickle
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from batten.errors import FINISHED_KEPT, UsageError
from batten.executors.base import Event, Executor, Work
from batten.executors.marks import MakeFile
from batten.executors.processes.foreign_threads import find_foreign_threads
from batten.jobs.definition import Definition
from batten.jobs.devices import needs_cuda
from batten.jobs.loading.in_fresh_workers import CannotLoadError
from batten.model.disk.items.item_files import FILE_COLUMNS
from batten.model.disk.records import Fingerprint
from batten.model.disk.runs.job_calls import BATTEN
from batten.model.disk.staged_names import SOME_ITEMS_MAX
from batten.plan.plan import Plan
from batten.printable import warn
from batten.rows.declared import Declared, find_declared
from batten.run.context import Context
from batten.run.found.changed_job import list_works
from batten.run.run_options import JOBS_MAX
from batten.work.bench import Bench
from batten.work.own_workers.crews import Crews
from batten.work.tasks import WorkerJob
from batten.work.work_sizes import TASKS_A_SLOT_MAX, Allotment

if TYPE_CHECKING:
    import pyarrow as pa

    from batten.work.fresh import Recipe

NAMES_SHOWN = 3

FAR_SECONDS = 2.0
"""What a task takes where it is given to other machines: to ask for one takes a while."""

MODULES = (
    "batten.work.fresh",
    "batten.work.item_runner",
    "batten.jobs.loading.job_file",
    "pyarrow.parquet",
)
"""What workers need that is no job's, for the interpreter that they are forked from."""


class Workforce:
    """All who do the work of a run in one process: those who are given tasks, and the workers that
    steps have of their own. Raises `UsageError` and `StorageError` where they can't be had.

    `executor` is who is given tasks. Before the start, a team of several machines may take its
    place.
    """

    def __init__(
        self, context: Context, plan: Plan, *, fingerprint: Fingerprint, work: Fingerprint
    ) -> None:
        self._context = context
        self._recipe = find_recipe(context)
        self._crews = _make_crews(context)
        self.executor = make_executor(context, self._recipe, self._crews)
        self.job = _make_job(context, fingerprint, work, plan, self._crews)

    def start(self) -> None:
        """Steps' own workers begin before those that ask them."""
        crews, recipe = self._crews, self._recipe
        work = make_work(self.job, recipe, is_async=self._context.pipeline.is_async)
        if crews.workers:
            executor = _make_processes(self._context, recipe, crews.workers, handles=crews.handles)
            crews.start(executor, work)
        crews.start_servers(_make_keeper)
        self.executor.start(work)

    def submit(self, task_id: int, task: Any, *, in_new_process: bool = False) -> None:
        """Give them a task in which functions are called."""
        self._crews.begin()
        self.executor.submit(task_id, task, in_new_process=in_new_process)

    def wait(self, timeout_seconds: float) -> list[Event]:
        """What became of tasks. Where a step's own worker ended with the item, how it ended."""
        return [self._crews.explain(event) for event in self.executor.wait(timeout_seconds)]

    def look(self) -> list[Event]:
        """Replace steps' own workers that ended; what must be known of them."""
        return self._crews.look()

    def stop(self) -> None:
        """End all of them. It may be repeated."""
        self.executor.stop()
        self._crews.stop()


def find_recipe(context: Context) -> Recipe | None:
    """How workers in a fresh interpreter get the job, or None if they are forked. They are forked
    unless the job wants it otherwise, or this process has threads that do not survive a fork."""
    pipeline, options = context.pipeline, context.options
    wanted = options.workers or pipeline.settings.workers
    has_processes = options.executor == "processes" or pipeline.whole is not None
    if pipeline.is_async or not has_processes or wanted == "fork":
        return None
    threads = find_foreign_threads() if wanted is None else []
    has_gpus = any(needs_cuda(step.devices, os.environ) for step in pipeline.steps)
    if wanted is None and not threads and not has_gpus:
        return None
    shown = ", ".join(threads[:NAMES_SHOWN]) + (", …" if len(threads) > NAMES_SHOWN else "")
    try:
        recipe = _make_recipe(context)
    except CannotLoadError as obstacle:
        if wanted is not None:
            raise UsageError(
                f"Workers can't begin in a fresh interpreter: {obstacle.why}.",
                safe=FINISHED_KEPT,
                next=obstacle.advice,
            ) from obstacle
        reason = f"This process has threads that do not survive a fork ({shown})"
        if not threads:
            reason = "CUDA does not survive a fork, if it was used before"
        _warn(
            context,
            f"{reason}, and workers are forked all the same: in a fresh interpreter "
            f"{obstacle.why}. If the run hangs, stop it; nothing is lost. {obstacle.advice}",
        )
        return None
    if threads and shown not in _told:
        _told.add(shown)
        context.progress.note(
            f"Workers begin in a fresh interpreter: threads do not survive a fork ({shown})."
        )
    return recipe


_told: set[str] = set()
"""The threads that this process has told of. Those of a notebook are always there."""


def _make_recipe(context: Context) -> Recipe:
    try:
        pickle.dumps(context.storage)
    except Exception as error:
        raise CannotLoadError(
            f"{context.storage.place} can't be opened by another process ({error})",
            "Let workers be forked.",
        ) from error
    if not sys.executable:
        raise CannotLoadError("Python does not say where it is", "Let workers be forked.")
    from batten.work.fresh import make_recipe

    return make_recipe(context)


def _warn(context: Context, text: str) -> None:
    """The command's people see a line, programs get a warning (decision 0105)."""
    if context.options.call.kind == BATTEN:
        context.progress.note(text)
    else:
        warn(text, RuntimeWarning, stacklevel=2)


def _make_crews(context: Context) -> Crews:
    """The workers that steps have of their own; there are none where no function is called, or all
    are called in this process."""
    pipeline, options = context.pipeline, context.options
    has_processes = options.executor == "processes" or pipeline.is_async
    has_any = has_processes and not context.is_adopting
    return Crews(pipeline.steps if has_any else (), waiting_max=JOBS_MAX)


def make_executor(context: Context, recipe: Recipe | None, crews: Crews) -> Executor:
    """As the options say, or an event loop where the functions are awaited. Items in hand are
    marked in the control folder, if that is a folder on disk."""
    pipeline, options, local = context.pipeline, context.options, context.storage.local
    in_flight = None
    is_for_another = context.is_worker or context.is_adopting  # That calls no function of the job.
    if local is not None and not is_for_another:
        in_flight = partial(local.create_shared, context.layout.in_flight(context.run))
    if pipeline.is_async:
        from batten.executors.asynchronous import AsyncExecutor

        return AsyncExecutor(pipeline.calls_max, in_flight=in_flight)
    if options.executor == "serial":
        from batten.executors.serial import SerialExecutor

        return SerialExecutor(in_flight=in_flight)
    if options.executor == "threads":
        from batten.executors.threads import ThreadExecutor

        return ThreadExecutor(options.jobs, in_flight=in_flight)
    jobs = max(options.jobs, crews.in_hand_min)
    return _make_processes(context, recipe, jobs, in_flight=in_flight)


def _make_keeper() -> Executor:
    from batten.executors.processes.pool import ProcessExecutor
    from batten.executors.processes.terms import WorkerBirth

    return ProcessExecutor(1, birth=WorkerBirth(stdout_to_stderr=True))


def _make_processes(
    context: Context,
    recipe: Recipe | None,
    jobs: int,
    *,
    handles: tuple[int, ...] = (),
    in_flight: MakeFile | None = None,
) -> Executor:
    from batten.executors.processes.pool import ProcessExecutor
    from batten.executors.processes.terms import WorkerBirth, WorkerLimits

    return ProcessExecutor(
        jobs,
        limits=WorkerLimits(
            timeout_seconds=context.pipeline.timeout_seconds_min,
            memory_bytes_max=context.options.memory_bytes_max,
        ),
        birth=WorkerBirth(
            is_fresh=recipe is not None, modules=MODULES, handles=handles, stdout_to_stderr=True
        ),
        in_flight=in_flight,
        prefetch=TASKS_A_SLOT_MAX,
    )


def _make_job(
    context: Context,
    fingerprint: Fingerprint,
    work: Fingerprint,
    plan: Plan,
    crews: Crews,
) -> WorkerJob:
    """What they are told once."""
    pipeline, settings = context.pipeline, context.pipeline.settings
    return WorkerJob(
        storage=context.storage,
        layout=context.layout,
        plan=plan,
        source=pipeline.source,
        steps=pipeline.steps,
        declared=find_columns(pipeline, context.earlier and context.earlier.schema),
        key_column=settings.key_column,
        fingerprint=fingerprint.digest,
        work=work.digest,
        works=list_works(context, work),
        has_time_limit=pipeline.timeout_seconds_min is not None,
        keeps_failures=settings.on_error == "quarantine",
        seed=settings.seed,
        worker_items_max=settings.worker_items_max,
        is_watched=settings.stop_when is not None,
        is_adopting=context.is_adopting,
        batch_rules=settings.batch_rules,
        file_names=pipeline.file_names,
        run=context.run,
        lanes=crews.lanes,
        servers=crews.servers,
        chunk_seconds=FAR_SECONDS if context.options.gone_seconds is not None else None,
        sharing=context.sharing,
    )


def find_columns(pipeline: Definition, there: pa.Schema | None) -> Declared:
    """What the job says of its columns, beside those that are `there` already."""
    settings = pipeline.settings
    if pipeline.file_names is not None:
        return find_declared((), FILE_COLUMNS, settings.key_column)
    declared = find_declared(pipeline.steps, settings.schema, settings.key_column)
    return declared if there is None else declared.add_to(there)


def make_work(job: WorkerJob, recipe: Recipe | None, *, is_async: bool) -> Work:
    """What those do who are given tasks."""
    if recipe is not None:
        from batten.work.fresh import FreshWork

        return FreshWork(recipe, job)
    if is_async:
        from batten.work.async_bench import AsyncBench

        return AsyncBench(job).work
    return Bench(job).work


def allot(context: Context, plan: Plan, slots: int) -> Allotment:
    """How much of the plan is handed out at a time, to so many workers."""
    pipeline, options = context.pipeline, context.options
    is_far = options.gone_seconds is not None
    range_items = SOME_ITEMS_MAX if pipeline.is_async else None
    return Allotment(
        slots=slots,
        tasks_a_slot_min=2 if pipeline.sinks or is_far else 1,
        task_seconds=FAR_SECONDS if is_far else None,
        unit_items=pipeline.find_unit_items(plan.batch_size),
        # With a budget the driver decides on each item whether it may be begun.
        range_items=1 if options.budget is not None else range_items,
        limit=options.limit,
    )

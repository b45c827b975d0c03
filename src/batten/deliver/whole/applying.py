"""Runs the function of a whole-table job in a process of its own, and publishes its file.

The process writes the file. The run puts the file in its place (decision 0024).

The process may die or be killed with nothing lost: its file is a throwaway until the driver, who
holds the lock, takes it over.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol

import pyarrow as pa

from batten.errors import BattenError, FailedRunError
from batten.executors.base import Died, Event, Finished, Mark, Raised
from batten.executors.processes.pool import ProcessExecutor
from batten.executors.processes.terms import WorkerBirth, WorkerLimits
from batten.executors.randomness import Seeding, seed_afresh, seed_held
from batten.jobs.definition import Definition
from batten.jobs.step import Step
from batten.model.telling.commands import command
from batten.run.context import Context
from batten.sinks.base import Destination, Staged
from batten.sinks.files.file import FileDestination, MadeFile
from batten.sources.whole_tables import TableSource
from batten.storage.blame import find_machine_failure
from batten.work.fresh import Recipe
from batten.work.workforce import MODULES, find_recipe

POLL_SECONDS = 0.2
_SAFE = "Nothing was published; what readers see is as before."


def publish_applied(context: Context, destination: Destination, staged: Staged) -> None:
    """Publish what the function makes of the tables that `staged` describes, as one file."""
    if not isinstance(destination, FileDestination):
        raise TypeError(f"{context.pipeline} does not make a file of whole tables")
    make_file(context, destination, staged)


class FileMaker(Protocol):
    """Makes a file of rows in another process, and puts it in its place in this one."""

    def make(self, staged: Staged) -> MadeFile: ...

    def place(self, made: MadeFile, staged: Staged) -> None: ...


def make_file(context: Context, maker: FileMaker, staged: Staged) -> None:
    """Run the function on the tables that `staged` describes, and put what it makes in place."""
    pipeline = context.pipeline
    if pipeline.whole is None:
        raise TypeError(f"{pipeline} takes no whole tables")
    recipe = find_recipe(context)
    executor = ProcessExecutor(
        1,
        limits=WorkerLimits(memory_bytes_max=context.options.memory_bytes_max),
        birth=WorkerBirth(is_fresh=recipe is not None, modules=MODULES, stdout_to_stderr=True),
    )
    try:
        executor.start(_FileMaking(None if recipe else pipeline, recipe, maker, staged))
        executor.submit(0, None)
        made = _await(context, executor, pipeline.whole)
    finally:
        executor.stop()
    context.refuse_stopped()
    maker.place(made, staged)


class _FileMaking:
    """What the process does. Pickles without the pipeline, which a fresh interpreter then loads."""

    def __init__(
        self,
        pipeline: Definition | None,
        recipe: Recipe | None,
        maker: FileMaker,
        staged: Staged,
    ) -> None:
        self._pipeline = pipeline
        self._recipe = recipe
        self._maker = maker
        self._staged = replace(staged, read=_read_nothing, load=bytes, load_item=object)

    def __call__(self, _: Any, mark: Mark) -> MadeFile:
        pipeline = self._recipe.load() if self._recipe is not None else self._pipeline
        if pipeline is None or pipeline.whole is None:
            raise TypeError(f"{pipeline} takes no whole tables")
        tables = pipeline.source
        if not isinstance(tables, TableSource):
            raise TypeError(f"{pipeline} takes no whole tables")
        mark.begin(0)
        if self._recipe is not None:
            seed_afresh()
        function, seed = pipeline.whole.function, pipeline.settings.seed
        if seed is None:
            seed_held([function])
        else:
            seeding = Seeding(seed).of_step(0)
            seeding.take_up(function)
            seeding.begin_try()
        made = _as_table(pipeline.whole, tables.load())
        return self._maker.make(
            replace(self._staged, schema=made.schema, rows=made.num_rows, read=lambda: _cut(made))
        )


def _read_nothing() -> Iterator[pa.RecordBatch]:
    return iter(())


def _await(context: Context, executor: ProcessExecutor, step: Step) -> MadeFile:
    """Until the process has answered, or a signal has left it no more time."""
    until: float | None = None
    while True:
        for event in executor.wait(POLL_SECONDS):
            return _take(context, event, step)
        if until is None and context.signals.received is not None:
            seconds = context.options.drain_seconds
            context.progress.note(context.signals.tell_draining(seconds))
            until = time.monotonic() + seconds
        if until is not None and time.monotonic() >= until:
            context.refuse_stopped()


def _take(context: Context, event: Event, step: Step) -> MadeFile:
    name = getattr(step.function, "__name__", str(step.function))
    if isinstance(event, Finished) and isinstance(event.value, MadeFile):
        return event.value
    if isinstance(event, Raised):
        if isinstance(event.error, BattenError):
            raise event.error
        if (failure := find_machine_failure(event.error)) is not None:
            raise failure from event.error
        raise FailedRunError(
            f"{name}() raised {type(event.error).__name__}: {event.error}",
            safe=_SAFE,
            next=f"Mend the cause, then {context.to_run(context.again)}",
            trace=event.trace,
        )
    cause = event.cause if isinstance(event, Died) else str(event)
    raise FailedRunError(
        f"The process that ran {name}() {cause}.",
        safe=_SAFE,
        next=f"See what ended it: {command('diagnose', context.path)}; "
        f"then {context.to_run(context.again)}",
    )


def _as_table(step: Step, tables: dict[str, pa.Table]) -> pa.Table:
    made = step.function(**tables)
    if isinstance(made, pa.Table):
        return made
    if isinstance(made, pa.RecordBatch) or hasattr(made, "__arrow_c_stream__"):
        return pa.table(made)
    raise TypeError(f"it returned a {type(made).__name__}, not a table")


_BATCH_ROWS = 1 << 16


def _cut(table: pa.Table) -> Any:
    return iter(table.to_batches(max_chunksize=_BATCH_ROWS))

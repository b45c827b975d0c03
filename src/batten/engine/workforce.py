"""Who does the work of a run: processes, threads, this process itself, or one event loop."""

from __future__ import annotations

from pathlib import Path

from batten.engine.bench import Bench, Job
from batten.engine.context import Context
from batten.engine.pace import TASKS_A_SLOT_MAX
from batten.executors.base import Executor, Work
from batten.storage.local import LocalStorage


def make_executor(context: Context) -> Executor:
    """As the options say, or an event loop where the functions are awaited. What items are in hand
    is written down in the control folder, where that is one of files."""
    pipeline, options, storage = context.pipeline, context.options, context.storage
    in_flight = None
    if isinstance(storage, LocalStorage):
        in_flight = Path(storage.place) / context.layout.in_flight(context.run)
    if pipeline.is_async:
        from batten.executors.asynchronous import AsyncExecutor

        return AsyncExecutor(pipeline.calls_max, in_flight=in_flight)
    if options.executor == "serial":
        from batten.executors.serial import SerialExecutor

        return SerialExecutor(in_flight=in_flight)
    if options.executor == "threads":
        from batten.executors.threads import ThreadExecutor

        return ThreadExecutor(options.jobs, in_flight=in_flight)
    from batten.executors.processes import ProcessExecutor

    return ProcessExecutor(
        options.jobs,
        timeout_seconds=pipeline.timeout_seconds_min,
        memory_bytes_max=options.memory_bytes_max,
        in_flight=in_flight,
        stdout_to_stderr=True,
        prefetch=TASKS_A_SLOT_MAX,
    )


def make_work(job: Job, *, is_async: bool) -> Work:
    """What those do who are given tasks."""
    if is_async:
        from batten.engine.async_bench import AsyncBench

        return AsyncBench(job).work
    return Bench(job).work

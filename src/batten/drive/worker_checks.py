"""What a job wants of workers, and whether it can be kept where its functions run."""

from __future__ import annotations

from batten.errors import UsageError
from batten.jobs.definition import Definition
from batten.run.run_options import RunOptions


def check_workers(pipeline: Definition, options: RunOptions) -> None:
    """Raises `UsageError` for what can't be kept where the functions run."""
    is_timed = any(s.timeout_seconds is not None and not s.is_async for s in pipeline.steps)
    if is_timed and options.executor != "processes":
        raise UsageError(
            f"timeout_seconds= can't be kept with executor={options.executor!r}.",
            safe="Nothing was read or written.",
            next="Use processes, the default, or leave the time limit out.",
        )
    settings = pipeline.settings
    where = "functions that are awaited" if pipeline.is_async else f"executor={options.executor!r}"
    has_processes = options.executor == "processes" and not pipeline.is_async
    if settings.worker_items_max is not None and not has_processes:
        raise UsageError(
            f"worker_items_max= can't be kept with {where}.",
            safe="Nothing was read or written.",
            next="Use processes, or leave it out.",
        )
    if settings.seed is None:
        return
    if pipeline.is_async or options.executor == "threads":
        raise UsageError(
            f"seed= can't be kept with {where}: items draw from one generator by turns.",
            safe="Nothing was read or written.",
            next="Make a generator of each item's own: random.Random(f'{SEED} {item}')",
        )
    if any(step.cache is not None for step in pipeline.steps):
        raise UsageError(
            "seed= can't be kept beside cache=: what was kept may be of another seed.",
            safe="Nothing was read or written.",
            next="Leave one of them out.",
        )

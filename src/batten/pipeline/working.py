"""A worker that is shown while it goes on, whichever part of the work it has."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from batten.display.choosing import choose_display
from batten.drive.together.on_ray.workers import RayWorkers
from batten.drive.together.team_of_run import refuse_beyond_workers
from batten.drive.together.work_anywhere import work_anywhere
from batten.executors.printing.output import output_may_be_lost
from batten.pipeline.running import refuse_other_system

if TYPE_CHECKING:
    from batten.display.choosing import WantedProgress
    from batten.drive.together.on_ray.workers import RayPlan
    from batten.drive.together.run_end import RunEnd
    from batten.jobs.definition import Definition
    from batten.run.report import Report
    from batten.run.run_options import RunOptions


def work_shown(
    pipeline: Definition,
    options: RunOptions,
    progress: WantedProgress,
    ray: RayPlan | None = None,
) -> Report | RunEnd:
    """See `work_anywhere`. If it does the run, its workers start on Ray, too."""
    refuse_other_system()
    options.check(is_async=pipeline.is_async)
    with output_may_be_lost():
        display = choose_display(progress)
        filled = pipeline.fill(options.parameters)
        with ExitStack() as stack:
            stack.callback(display.close)
            watchers: list[RayWorkers] = []
            if ray is not None:
                refuse_beyond_workers(filled)
                watchers.append(stack.enter_context(RayWorkers(ray, display)))
            return work_anywhere(filled, options, display, watchers)

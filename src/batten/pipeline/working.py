"""A worker that is shown while it goes on, whichever part of the work it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batten.display.choosing import choose_display
from batten.drive.together.work_anywhere import work_anywhere
from batten.executors.printing.output import output_may_be_lost
from batten.pipeline.running import refuse_other_system

if TYPE_CHECKING:
    from batten.display.choosing import WantedProgress
    from batten.drive.together.run_end import RunEnd
    from batten.jobs.definition import Definition
    from batten.run.report import Report
    from batten.run.run_options import RunOptions


def work_shown(
    pipeline: Definition, options: RunOptions, progress: WantedProgress
) -> Report | RunEnd:
    """See `work_anywhere`."""
    refuse_other_system()
    options.check(is_async=pipeline.is_async)
    with output_may_be_lost():
        display = choose_display(progress)
        try:
            return work_anywhere(pipeline.fill(options.parameters), options, display)
        finally:
            display.close()

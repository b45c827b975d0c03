"""A run that workers of other machines may join: what it tells them, and what it refuses."""

from __future__ import annotations

import os
import sys

from batten.anywhere.assigning import TASKS_A_SLOT
from batten.anywhere.meeting import Meeting
from batten.anywhere.team import Team
from batten.errors import usage_error
from batten.executors.base import Executor
from batten.jobs.definition import Definition
from batten.model.disk.runs.workers import Board
from batten.model.disk.staged_names import SOME_ITEMS_MAX
from batten.model.rules.usage_budget import show_budget
from batten.plan.plan import Plan
from batten.run.context import Context
from batten.run.found.found_dataset import FoundDataset
from batten.storage.changing.publishing import HOST


def batten_version() -> str:
    """Other versions may do the same job in another way."""
    return str(getattr(sys.modules["batten"], "__version__", ""))


def refuse_beyond_workers(pipeline: Definition) -> None:
    """Raises `UsageError` for a job that only one machine can do."""
    reason = ""
    if pipeline.whole is not None:
        reason = "its function takes a whole table"
    elif pipeline.file_names is not None:
        reason = "its functions make files"
    elif any(step.batch_api is not None for step in pipeline.steps):
        reason = "what a vendor has of it is known to one machine"
    if reason:
        raise usage_error(
            f"Workers on other machines can't help with this job: {reason}.",
            "Run it on one machine, without workers elsewhere.",
        )


def count_tasks(pipeline: Definition, slots: int) -> int:
    """How many tasks a machine does at a time that has so many items in hand."""
    return -(-slots // SOME_ITEMS_MAX) + 1 if pipeline.is_async else slots


def count_calls(pipeline: Definition, items: int) -> int:
    """How many calls a task of so many items may have in hand, at most."""
    return min(SOME_ITEMS_MAX, items) if pipeline.is_async else 1


def form_team(context: Context, local: Executor, dataset: FoundDataset, plan: Plan) -> Team:
    """The workers of this machine, and all that come."""
    board = Board(
        run=context.run,
        host=HOST,
        pid=os.getpid(),
        version=batten_version(),
        fingerprint=dataset.fingerprint.digest,
        output=context.layout.output,
        home=context.layout.home,
        segments=len(plan.segments),
        gone_seconds=context.options.gone_seconds or 0.0,
        budget=show_budget(context.options.budget or {}),
    )
    here = count_tasks(context.pipeline, local.slots)
    # Of calls that are awaited, one more range than can be in hand is counted in already.
    here_max = here if context.pipeline.is_async else TASKS_A_SLOT * here
    meeting = Meeting(context.storage, context.layout.workers)
    calls_max = count_calls(context.pipeline, SOME_ITEMS_MAX)
    team = Team(local, meeting, board, here=here, here_max=here_max, calls_max=calls_max)
    context.tell_end = team.tell_end
    return team

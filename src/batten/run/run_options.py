"""How one run goes, checked before anything is read; nothing here changes results."""

from __future__ import annotations

from dataclasses import field, replace
from typing import Literal, get_args

from batten.errors import usage_error
from batten.jobs.bounds import check_choice, check_seconds
from batten.jobs.definition import WorkersName
from batten.jobs.loading.in_fresh_workers import JobFile
from batten.jobs.step import check_count
from batten.model.disk.runs.job_calls import BATTEN, UNKNOWN_CALL, JobCall, compose
from batten.model.disk.runs.usage_lines import Amount
from batten.model.value_class import value_class

Resume = Literal["if_possible", "always", "never"]
ExecutorName = Literal["processes", "threads", "serial"]

JOBS_MAX = 1000
"""More processes than that are a slip of the finger, and would take all memory."""


@value_class
class RunOptions:
    """`call`: how the job was started; `memory_bytes_max` is of each worker; `job_file`: what a
    command loaded the pipeline from; `budget`: how much the dataset may use, by unit. With
    `gone_seconds` workers may come from other machines; those without a sign for so long are gone.
    One that `only_joins` works for the run that is under way, and never does it. One that is not
    `is_told` is told to nobody: for `logging` and those who watch there is no run.
    """

    jobs: int
    resume: Resume = "if_possible"
    should_retry_quarantined: bool = False
    limit: int | None = None
    is_dry_run: bool = False
    is_fresh: bool = False
    accepts_change: bool = False
    adds_columns: bool = False
    executor: ExecutorName = "processes"
    workers: WorkersName | None = None
    memory_bytes_max: int | None = None
    drain_seconds: float = 10.0
    budget: dict[str, Amount] | None = None
    skips_checks: bool = False
    gone_seconds: float | None = None
    only_joins: bool = False
    is_told: bool = True
    parameters: dict[str, str] = field(default_factory=dict, repr=False)
    job_file: JobFile | None = None
    call: JobCall = UNKNOWN_CALL

    @property
    def next_command(self) -> str:
        """What runs the job again from the folder of now; empty if it was not `batten run`."""
        call = self.call
        return compose(call, here=call.folder) if call.kind == BATTEN else ""

    @property
    def run_command(self) -> str:
        """The same, of the job alone where rows are adopted for it."""
        return replace(self, call=replace(self.call, rows=[])).next_command

    def check(self, *, is_async: bool) -> None:
        """Raises `UsageError` if one of them, or two together, can't be; `is_async` where the
        functions are awaited."""
        check_count("jobs", self.jobs, at_least=1, at_most=JOBS_MAX)
        if self.limit is not None:
            check_count("limit", self.limit, at_least=0)
        check_choice("resume", self.resume, get_args(Resume))
        check_choice("executor", self.executor, get_args(ExecutorName))
        if self.workers is not None:
            check_choice("workers", self.workers, get_args(WorkersName))
        if self.adds_columns and not self.accepts_change:
            raise usage_error(
                "add_columns= adds what a changed job makes, and the change is not accepted.",
                "Ask for both: --accept-change --add-columns "
                "(accept_change=True, add_columns=True).",
            )
        check_seconds("drain_seconds", self.drain_seconds)
        if self.gone_seconds is not None:
            check_seconds("gone_after", self.gone_seconds)
        if self.memory_bytes_max is not None and (is_async or self.executor != "processes"):
            raise usage_error(
                "memory_max= can be kept for worker processes only.",
                "Use processes, the default, or leave it out.",
            )

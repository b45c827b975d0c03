"""What all stages of one run share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import NoReturn

from batten.errors import InterruptedRunError, UsageError
from batten.executors.call_rates import Sharing
from batten.jobs.definition import Definition
from batten.jobs.loading.job_folder import show_path
from batten.listening import Log
from batten.model.disk.names import Layout
from batten.model.disk.runs.job_calls import BATTEN, JobCall
from batten.run.found.earlier import Earlier
from batten.run.identity import Identity
from batten.run.progress import Progress, Status
from batten.run.run_options import RunOptions
from batten.run.signals import StopSignals
from batten.run.telling.watching import LOGGER, Watchers
from batten.sources.finished import FinishedRows
from batten.storage.base import Folder, Store


@dataclass(kw_only=True)
class Context:
    """One run: what it runs, where, and how far it is. `is_beside`: what it makes is to take the
    place of another dataset, and lies beside it until then. `earlier`: the one whose rows are taken
    over into it. `is_adopting`: it takes over rows that a hand-made job had made, and calls no
    function of the job. These are the `finished` ones, of a run that adopts before it plans the
    rest. `is_worker`: it works for the run of another process. `tell_end` tells such workers how a
    run ended."""

    pipeline: Definition
    options: RunOptions
    storage: Store
    layout: Layout
    path: str
    run: str
    progress: Progress
    identity: Identity | None = None
    signals: StopSignals = field(default_factory=StopSignals)
    seconds: dict[str, float] = field(default_factory=dict)
    executed_items: int = 0
    adopted_items: int = 0
    is_beside: bool = False
    earlier: Earlier | None = None
    is_adopting: bool = False
    is_worker: bool = False
    tell_end: Callable[[str], None] = field(default=lambda told: None)
    finished: FinishedRows | None = None
    watchers: Watchers = field(default_factory=Watchers)
    log: Log = field(default_factory=lambda: Log(LOGGER))
    sharing: Sharing = field(default_factory=Sharing)

    @property
    def may_be_joined(self) -> bool:
        """Whether workers of other machines may work for it: it was asked for, and what is made
        takes no other's place."""
        is_plain = self.earlier is None and not self.is_beside and not self.is_adopting
        return self.options.gone_seconds is not None and is_plain

    @property
    def folder(self) -> Folder:
        """The place, for what can be done in a folder only. Raises `UsageError` elsewhere."""
        if self.storage.folder is None:
            raise UsageError(
                f"{self.storage.place} is no folder of a file system, and this needs one.",
                safe="Nothing was changed.",
                next="Write to a folder of this machine.",
            )
        return self.storage.folder

    @property
    def place(self) -> str:
        """The path of the output, right from anywhere; or its address."""
        if self.storage.folder is None:
            return self.path
        return f"{os.path.realpath(self.storage.place)}/{os.path.basename(self.path)}"

    @property
    def call(self) -> JobCall:
        """How the job was started, for the record of the dataset."""
        # A dataset that is made anew lies elsewhere until it is complete, but belongs here.
        output = self.place if self.storage.folder is not None else ""
        is_first = self.pipeline.output is not None and self.path == show_path(self.pipeline.output)
        is_relative = (
            is_first
            and self.options.call.kind == BATTEN
            and not os.path.isabs(self.pipeline.written_output)
        )
        return replace(self.options.call, output=output, is_relative=is_relative)

    @property
    def again(self) -> str:
        """What to run to go on. A dataset that is made beside another one needs its option again.
        Without it the job could be refused, as before."""
        if self.is_beside and self.options.adds_columns:
            return self.again_adding
        is_fresh = self.is_beside and self.options.is_fresh
        return self.again_fresh if is_fresh else self._again_with()

    @property
    def again_adding(self) -> str:
        """What to run to go on, with columns added."""
        link = " " if self.options.next_command else ", "
        return self._again_with(self.wish_to_add(link))

    @property
    def again_adding_retried(self) -> str:
        """The same, with those that failed for good tried again."""
        link = " " if self.options.next_command else ", "
        return self._again_with(self.wish_to_add(link) + link + self.wish("retry_quarantined"))

    def wish_to_add(self, link: str = "") -> str:
        """How to ask for columns to be added, which needs two options."""
        link = link or (" " if self.options.next_command else ", ")
        return f"{self.wish('accept_change')}{link}{self.wish('add_columns')}"

    def again_within(self, budget: str) -> str:
        """What to run to go on with that budget."""
        if not self.options.next_command:
            return f"run the pipeline again with budget={budget!r}"
        options = {**self.options.call.options, "budget": budget}
        return replace(self.options, call=replace(self.options.call, options=options)).next_command

    @property
    def again_fresh(self) -> str:
        """What to run to compute all anew."""
        return self._again_with(self.wish("fresh"))

    def to_run(self, again: str) -> str:
        """Such a command within a sentence; from Python it is a sentence's end already."""
        return f"run: {again}" if self.options.next_command else again

    @property
    def again_run(self) -> str:
        """What to run to do the job itself, where this adopts rows for it."""
        return self.options.run_command or "run the pipeline"

    @property
    def again_retrying(self) -> str:
        """What to run to go on, with those that failed for good tried again."""
        return self._again_with(self.wish("retry_quarantined"))

    def _again_with(self, wish: str = "") -> str:
        command = self.options.run_command if wish else self.options.next_command
        link = " " if command else " with "
        return (command or "run the pipeline again") + (link + wish if wish else "")

    def wish(self, name: str, value: str = "") -> str:
        """How to ask for an option of a run, in the words of who started this one."""
        if not self.options.next_command:
            return f"{name}={value!r}" if value else f"{name}=True"
        return f"--{name.replace('_', '-')} {value}".rstrip()

    def show(self, status: Status) -> None:
        """Tell all who are told how far the run is."""
        self.progress.show(status)
        self.watchers.tell(lambda watcher: watcher.show(status))

    def refuse_stopped(self) -> None:
        """Raise where a signal has asked to stop. For when nothing is in hand."""
        if self.signals.received is not None:
            raise InterruptedRunError(
                f"Stopped by {self.signals.received}.",
                safe="Everything that was finished is kept; it is safe to run again.",
                next=f"Run the same command again; it resumes: {self.again}",
            )

    def refuse_to_wait(self, text: str) -> NoReturn:
        """Raise `InterruptedRunError`: nothing is left but to wait, and a later run does that. For
        when nothing is in hand."""
        raise InterruptedRunError(
            f"Not finished: {text}.",
            safe="What was handed in is recorded, and is not handed in again.",
            next=f"Run the same command again later; it collects the answers: {self.again}",
        )

    def rounded_seconds(self) -> dict[str, float]:
        """The time of each stage so far, to the millisecond."""
        return {stage: round(seconds, 3) for stage, seconds in self.seconds.items()}

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Count the time of a stage, in seconds."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - began

"""What the user writes: a source, steps, a sink.

Building a pipeline reads nothing, and imports nothing heavy.

    pipeline = (
        batten.from_files("clips/**/*.mp4")
        .map(measure, retries=2)
        .write_parquet("features/")
    )

Every method gives a new pipeline. Relative paths are relative to the job file, or to the current
folder where there is none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from batten.errors import usage_error
from batten.jobs.bounds import check_choice, read_memory_max, read_metrics_path
from batten.jobs.loading.in_fresh_workers import JobFile, refuse_while_loading
from batten.jobs.step import check_count
from batten.pipeline.steps import Steps
from batten.storage.machine import count_processors

if TYPE_CHECKING:
    from decimal import Decimal

    from batten.display.choosing import WantedProgress
    from batten.jobs.definition import WorkersName
    from batten.model.disk.runs.job_calls import JobCall
    from batten.pipeline.preview import Preview
    from batten.run.report import Report
    from batten.run.run_options import ExecutorName, Resume


@dataclass(frozen=True, kw_only=True)
class Pipeline(Steps):
    """A source, the steps that its items go through, and where the rows are written.

    Begin one with `batten.from_files` or another of the sources, not by this class. A pipeline
    never changes: each method gives a new one. Building one reads and writes nothing.
    """

    def __repr__(self) -> str:
        from batten.pipeline.stages import show_stages

        return show_stages(self)

    def _repr_html_(self) -> str:
        from batten.model.telling.html import show_as_html
        from batten.pipeline.stages import list_stages

        return show_as_html(type(self).__name__, list_stages(self))

    def finalize(
        self,
        function: Callable[[Any], Any],
        *,
        into: str | os.PathLike[str],
        version: str | None = None,
    ) -> Pipeline:
        """Make a second dataset of all rows, at `into`, when the first one is complete.

        The second dataset takes its place in one step. While neither the first dataset nor the
        function changes, a run has nothing to do. Several may follow each other; each is given the
        first dataset.

        Args:
            function: Takes and returns a `pyarrow.Table`. If its argument is annotated as a Polars
                `LazyFrame` or a DuckDB `DuckDBPyRelation`, it gets that, which need not fit into
                memory.
            into: The folder of the second dataset; or an address, `s3://bucket/prefix/counts`.
            version: Stands for values of the function that can't be compared, as for `map`.

        Returns:
            A new pipeline that makes the second dataset, too.

        Raises:
            UsageError: It stands before the sink, the function is not a plain one, or `into` lies
                in another output. Nothing was read or written.
        """
        if self.output is None:
            raise usage_error(
                ".finalize() stands before the sink.", "Put it after .write_parquet()."
            )
        first = self.output if self.store is None else self.store.shown
        others = [first, *(each.place for each in self.finalizers)]
        from batten.jobs.finalizer import make_finalizer

        made = make_finalizer(function, into, self.folder, version=version, others=others)
        return replace(self, finalizers=(*self.finalizers, made))

    def options(
        self,
        *,
        batch_size: int | None = None,
        on_error: Literal["quarantine", "raise"] | None = None,
        quarantine_max: int | None = None,
        stop_when: Literal["most_fail", "as_before"] | None = "as_before",
        schema: Any = None,
        key_column: str | None = None,
        workers: WorkersName | None = None,
        worker_items_max: int | None = None,
        seed: int | None = None,
    ) -> Pipeline:
        """Change settings of the whole pipeline; what is left out stays as it was.

        Args:
            batch_size: Items in a batch, and so in a part. By default 1,000; for a source that is
                known to have over 25,000 items more, up to 10,000.
            on_error: "quarantine", the default, sets an item aside that failed for good, and goes
                on. "raise" ends the run.
            quarantine_max: More quarantined items than this end the run; by default there is no
                limit.
            stop_when: "most_fail", the default, ends the run when its first 20 items all failed, or
                more than half of the last 100. The next run tries them again. None never does.
            schema: The columns without the key: a pyarrow schema, a class of rows (dataclass,
                pydantic model, TypedDict, named tuple), or a dict of names to types of pyarrow or
                Python or to texts ("int64", "list<item: string>"). By default the first batch with
                rows decides, and what the function is annotated to return.
            key_column: The name of the output's first column; "key" by default.
            workers: "fork" has workers begin as copies of this process. "spawn" has each load the
                job in a fresh interpreter. The default is "fork", but "spawn" if this process has
                threads that do not survive a fork.
            worker_items_max: After so many items a worker ends and a new one takes its place, for
                functions that leak; with `map_batches` after the call. By default workers stay.
            seed: A whole number that fixes the random numbers of each item: those of `random`,
                NumPy and torch, and of generators that functions and modules of the job hold. By
                default no two workers draw the same numbers.

        Returns:
            A new pipeline with these settings.

        Raises:
            UsageError: A value can't be. Nothing was read or written.
        """
        settings = self.settings
        if workers is not None:
            check_choice("workers", workers, ("fork", "spawn"))
            settings = replace(settings, workers=workers)
        if worker_items_max is not None:
            check_count("worker_items_max", worker_items_max, at_least=1)
            settings = replace(settings, worker_items_max=worker_items_max)
        if seed is not None:
            check_count("seed", seed, at_least=0)
            settings = replace(settings, seed=seed)
        if batch_size is not None:
            check_count("batch_size", batch_size, at_least=1)
            settings = replace(settings, batch_size=batch_size)
        if on_error is not None:
            check_choice("on_error", on_error, ("quarantine", "raise"))
            settings = replace(settings, on_error=on_error)
        if quarantine_max is not None:
            check_count("quarantine_max", quarantine_max, at_least=0)
            settings = replace(settings, quarantine_max=quarantine_max)
        if stop_when != "as_before":
            check_choice("stop_when", stop_when, ("most_fail", None))
            settings = replace(settings, stop_when=stop_when)
        if schema is not None:
            settings = replace(settings, schema=schema)
        if key_column is not None:
            if not key_column:
                raise usage_error(
                    f"key_column is {key_column!r}.",
                    'Give the name of a column: key_column="clip".',
                )
            settings = replace(settings, key_column=key_column)
        return replace(self, settings=settings)

    def preview(self, *, limit: int = 5, parameters: Mapping[str, str] | None = None) -> Preview:
        """Make the rows of the first items in memory. Nothing is written, and nothing delivered.

        The functions run in this process, without caches. A failure is shown, and ends nothing.

        Args:
            limit: How many items of the source to do; 5 by default.
            parameters: Values for the names in paths; by default there are none.

        Returns:
            The rows, and the items that would be quarantined.

        Raises:
            UsageError: An argument or the pipeline can't be. Nothing was written.
            StorageError: An input can't be read. Nothing was written.
            InterruptedRunError: A signal stopped it. Nothing was written.
            FailedRunError: A class that is a step can't be constructed. Nothing was written.
        """
        from batten.pipeline.preview import make_preview
        from batten.run.run_options import RunOptions

        options = RunOptions(jobs=1, limit=limit, parameters=dict(parameters or {}))
        options.check(is_async=self.is_async)
        return make_preview(self.fill(options.parameters), options)

    def run(
        self,
        *,
        jobs: int | None = None,
        resume: Resume = "if_possible",
        retry_quarantined: bool = False,
        limit: int | None = None,
        dry_run: bool = False,
        fresh: bool = False,
        accept_change: bool = False,
        add_columns: bool = False,
        executor: ExecutorName | None = None,
        workers: WorkersName | None = None,
        memory_max: int | str | None = None,
        drain_seconds: float = 10.0,
        budget: float | Decimal | str | Mapping[str, float | Decimal] | None = None,
        skip_checks: bool = False,
        progress: WantedProgress = None,
        check: bool = False,
        metrics: str | os.PathLike[str] | None = None,
        parameters: Mapping[str, str] | None = None,
        call: JobCall | None = None,
        job_file: JobFile | None = None,
    ) -> Report:
        """Do what is left to do, and close the accounts.

        It returns only when the accounts are closed, or at the `limit`, or after a `dry_run`.
        However it ends, what was finished stays, and the same call goes on from there. Each error
        says what is safe, and carries the report of what was reached as `report`.

        Args:
            jobs: How many items run at a time; by default one for each processor. It does not apply
                to `async def` functions.
            resume: "if_possible", the default, and "always" go on with a dataset that is there.
                "never" refuses one.
            retry_quarantined: Whether to try quarantined items again; False by default.
            limit: How many items of the source to do at most; by default all.
            dry_run: Whether only to say what would be done. Then nothing is written. False by
                default.
            fresh: Whether to compute all anew beside the old dataset, which stays until the new one
                is complete and replaces it in one step. False by default.
            accept_change: Whether to keep the rows there are although code or parameters changed,
                and to compute the rest with the current ones. False by default.
            add_columns: With `accept_change`: whether columns that only the current job makes are
                added to the dataset, with nulls in the rows there are. Then a dataset with these
                columns is made beside the old one, of its rows, and replaces it in one step.
                False by default.
            executor: "processes", the default, survive a function that crashes. "threads" and
                "serial" don't, and can't enforce time limits. It does not apply to `async def`
                functions.
            workers: How worker processes begin, "fork" or "spawn"; by default as `options` says.
            memory_max: The most memory that one worker may use, with what it starts: bytes, or a
                text such as "2GB". A worker that uses more is killed, and its item counts as one
                that kills its worker. By default there is no limit.
            drain_seconds: How long items in hand may take to end after a signal, in seconds; 10 by
                default.
            budget: How much the dataset may use, over all its runs, by what its functions tell with
                `batten.usage`: a number for the cost, or numbers by unit. No call is begun with
                which it could be passed, each taken to be as dear as the dearest item so far. Only
                a call that is dearer than all before it can pass it. Then the run ends as if a
                signal had come. By default there is none.
            skip_checks: Whether to begin although a check of inputs, output, memory or disk forbids
                it. False by default.
            progress: Shows how the run goes: a bar on a terminal and in a notebook, elsewhere a
                line now and then, and at the end what came of it. False shows nothing. A function
                is called with a `Status` a few times a second. The run waits for it, so one that
                never returns holds the run up. One that raises is not called again, and the run
                goes on. By default it is chosen by where standard error leads.
            check: Whether to raise `QuarantinedError` if items are quarantined when all is done. By
                default that is a `QuarantinedWarning`.
            metrics: A file that gets the metrics of the run in the text format of Prometheus: every
                few seconds, and at the end. That it can't be written is a warning. By default there
                is none.
            parameters: Values for the names in the paths of sinks and tables, such as `{run_date}`;
                by default there are none.
            call: How the job was started, for what is recorded and advised; by default it is
                observed.
            job_file: The file that the command loaded the pipeline from, for workers in fresh
                interpreters; by default there is none.

        Returns:
            The report of this run, with the accounts of the whole dataset.

        Raises:
            UsageError: An argument, the pipeline or a path can't be. Nothing was written.
            RefusedError: Going on could mix or replace results: code, settings or source changed,
                or the output is not batten's. The dataset is as before.
            InconsistentError: Records and files do not add up, or the accounts do not close.
                Nothing was deleted.
            CorruptError: Something can't be read, or its digest differs. Nothing was deleted.
            BusyError: Another process holds the lock. Nothing was changed.
            StorageError: The disk is full or failing, or a permission or an input is missing. What
                is committed stays.
            InterruptedRunError: A signal stopped the run, or the budget is used up. What was
                finished is kept.
            FailedRunError: The job's own code failed in a way that ends the run. What was finished
                is kept.
            QuarantinedError: All is done, `check` was asked for, and items are quarantined.
        """
        from batten.jobs.loading.how_started import observe_caller
        from batten.model.rules.usage_budget import read_budget

        refuse_while_loading()
        from batten.garbage import collector_paused

        with collector_paused():
            from batten.pipeline.running import refuse_other_system, run_shown, tell_quarantined
            from batten.run.run_options import RunOptions

        refuse_other_system()
        options = RunOptions(
            jobs=jobs if jobs is not None else count_processors(),
            resume=resume,
            should_retry_quarantined=retry_quarantined,
            limit=limit,
            is_dry_run=dry_run,
            is_fresh=fresh,
            accepts_change=accept_change,
            adds_columns=add_columns,
            executor=executor if executor is not None else "processes",
            memory_bytes_max=read_memory_max(memory_max),
            drain_seconds=drain_seconds,
            budget=read_budget(budget) if budget is not None else None,
            skips_checks=skip_checks,
            parameters=dict(parameters or {}),
            call=call if call is not None else observe_caller(),
            workers=workers,
            job_file=job_file,
        )
        options.check(is_async=self.is_async)
        has_workers_said = jobs is not None or executor is not None
        report = run_shown(
            self,
            options,
            progress,
            has_workers_said=has_workers_said,
            metrics=read_metrics_path(metrics),
        )
        tell_quarantined(report, options, check=check)
        return report

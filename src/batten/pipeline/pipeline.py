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
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from batten.errors import UsageError
from batten.jobs.bounds import check_choice, read_memory_max
from batten.jobs.finalizer import make_finalizer
from batten.jobs.in_fresh_workers import JobFile, refuse_while_loading
from batten.jobs.step import StepKind, check_count, make_step
from batten.pipeline.outputs import Outputs
from batten.sinks.files.tree import TreeSink, check_commit
from batten.storage.addresses import local_path
from batten.work.cached_steps import choose_cache

if TYPE_CHECKING:
    from batten.cache.cache import Cache
    from batten.executors.limits import Limits
    from batten.jobs.definition import WorkersName
    from batten.model.disk.job_calls import JobCall
    from batten.run.progress import Progress
    from batten.run.report import Report
    from batten.run.run_options import ExecutorName, Resume
    from batten.transactions.transaction import Transaction


@dataclass(frozen=True, kw_only=True)
class Pipeline(Outputs):
    """A source, the steps its items go through, and where the rows are written."""

    def map(
        self,
        function: Callable[..., Any],
        *,
        retries: int = 0,
        retry_on: Any = None,
        timeout_seconds: float | None = None,
        concurrency: int | None = None,
        limits: Limits | None = None,
        version: str | None = None,
        cache: Cache | str | os.PathLike[str] | bool | None = None,
    ) -> Pipeline:
        """Each item (or what the step before gave) becomes one row: a dict, a dataclass or a
        pydantic model.

        `function` may be a class: it is constructed once in each worker, then called. `retries`
        are further tries after a first that raised, with growing pauses; an item that failed them
        all is quarantined. A server's refusal (401, 404, 422 and the like) is not tried again. With
        `retry_on` exactly these are: classes of exceptions, statuses of answers, functions that
        take the exception; one, or several in a tuple. `timeout_seconds` is the longest a try may
        take; its worker is then killed. `version` declares the function's identity where its code
        cannot be compared.

        `function` may be `async def`: `concurrency` is how many calls are in flight at a time, by
        default 100, and `limits` says how fast it may call. It is never waited for the slowest of
        some calls before the next are begun, and finished ones are put aside every half second.

        `cache` keeps what the function gave for an item, also for other jobs: True keeps it in the
        user's cache folder, a path there, a `batten.Cache` as that says.
        """
        return self._with_step(
            "map",
            function,
            retries=retries,
            retry_on=retry_on,
            timeout_seconds=timeout_seconds,
            concurrency=concurrency,
            limits=limits,
            version=version,
            cache=cache,
        )

    def flat_map(
        self,
        function: Callable[..., Iterable[Any]],
        *,
        retries: int = 0,
        retry_on: Any = None,
        timeout_seconds: float | None = None,
        concurrency: int | None = None,
        limits: Limits | None = None,
        version: str | None = None,
        cache: Cache | str | os.PathLike[str] | bool | None = None,
    ) -> Pipeline:
        """Each item becomes any number of rows; all carry its key. Options as for `map`."""
        return self._with_step(
            "flat_map",
            function,
            retries=retries,
            retry_on=retry_on,
            timeout_seconds=timeout_seconds,
            concurrency=concurrency,
            limits=limits,
            version=version,
            cache=cache,
        )

    def filter(
        self,
        function: Callable[..., Any],
        *,
        retries: int = 0,
        retry_on: Any = None,
        timeout_seconds: float | None = None,
        concurrency: int | None = None,
        limits: Limits | None = None,
        version: str | None = None,
        cache: Cache | str | os.PathLike[str] | bool | None = None,
    ) -> Pipeline:
        """Keeps what `function` says yes to. Items without rows are counted as filtered."""
        return self._with_step(
            "filter",
            function,
            retries=retries,
            retry_on=retry_on,
            timeout_seconds=timeout_seconds,
            concurrency=concurrency,
            limits=limits,
            version=version,
            cache=cache,
        )

    def map_batches(
        self,
        function: Callable[..., Any],
        *,
        items: int | None = None,
        retries: int = 0,
        retry_on: Any = None,
        timeout_seconds: float | None = None,
        version: str | None = None,
    ) -> Pipeline:
        """An Arrow table in, an Arrow table out.

        The table holds the rows of `items` consecutive items of the plan, by default a whole
        batch, always the same ones however often the run was killed. It has the key column;
        the result must have it too, or as many rows as came in. When the call fails, its items
        are tried one by one.
        """
        return self._with_step(
            "map_batches",
            function,
            items=items,
            retries=retries,
            retry_on=retry_on,
            timeout_seconds=timeout_seconds,
            version=version,
        )

    def write_tree(
        self,
        root: str | os.PathLike[str],
        *,
        commit: Callable[[Transaction, Any, Any], object],
        dataset: str = "",
        ledger: str | os.PathLike[str] | None = None,
    ) -> Pipeline:
        """Put each item into the live tree `root`: `commit(transaction, item, prepared)`.

        The steps prepare items, any number at a time, and never touch the tree. `commit` is called
        under the tree's lock, in the order of the plan, in a transaction for each item, which
        carries a token: however often the run is killed, it is committed once. `item` is that of
        the source, read again; `prepared` what the last step gave, as a dict, or a list of them
        after `flat_map` and `map_batches`. Items that the steps filtered or that failed are not
        given to it. Where it raises, nothing of the item is in the tree, the item is quarantined
        and others go on; where it raises `batten.OutdatedError`, the item is prepared again.

        `dataset` names these items in tokens, by default the name of the output. `ledger`: where
        this is the first sink, the output that names the job's control folder, by default `root`.
        """
        check_commit(commit)
        said = self.settings.batch_size
        sink = TreeSink(
            path=self.folder / local_path(root),
            commit=commit,
            dataset=dataset,
            is_many=any(step.kind in ("flat_map", "map_batches") for step in self.steps),
        )
        written = os.fspath(ledger if ledger is not None else root)
        made = self._with_sink(sink, written)
        return replace(made, settings=replace(self.settings, batch_size=said or 1))

    def finalize(
        self,
        function: Callable[[Any], Any],
        *,
        into: str | os.PathLike[str],
        version: str | None = None,
    ) -> Pipeline:
        """When the dataset is complete, make a second one of all its rows, at `into`.

        `function` takes and returns an Arrow table; where its argument is annotated so, it takes a
        Polars LazyFrame or a DuckDB relation, which need not fit into memory. The result is put in
        place in one step; while neither the first dataset nor the function changes, a run has
        nothing to do. Several may follow each other; each is given the first dataset. `version`
        declares the function's identity where its code cannot be compared.
        """
        if self.output is None:
            raise UsageError(
                ".finalize() stands before the sink.",
                safe="Nothing was read or written.",
                next="Put it after .write_parquet().",
            )
        others = [self.output, *(each.output for each in self.finalizers)]
        made = make_finalizer(
            function, self.folder / local_path(into), version=version, others=others
        )
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
        """Settings of the whole pipeline; what is left out stays as it was.

        `batch_size`: items in a part; where it is not said, 1,000, and more where a source is
        known to have over 25,000 items, up to 10,000. `on_error`: "quarantine" sets an item
        that failed for good aside and goes on, "raise" ends the run. `quarantine_max`: more
        quarantined items than this end the run. `stop_when`: "most_fail", the default, ends the run
        where its first 20 items all failed, or more than half of its last 100, and has the next
        run try them again; None does not. `schema`: the columns, as a pyarrow schema, a class of
        rows (dataclass, pydantic model, TypedDict, named tuple), or a dict of names to types of
        pyarrow or Python or their texts ("int64", "list<item: string>"); else the first batch that
        has rows pins it, with what the function's return annotation says. `key_column`: the name of
        the first column of the output.

        `workers`: how worker processes begin. "fork" copies this process with all that it has
        loaded; "spawn" loads the job anew in a fresh interpreter. Left out, it is "fork", but
        "spawn" where this process has threads that do not survive a fork. `worker_items_max`: a
        worker that has done so many items ends, and a new one takes its place, for functions that
        leak; with `map_batches` when it has ended its unit.

        `seed`: a whole number; the random numbers of an item then are the same in every run, in
        whatever worker, and in each try: those of `random`, of NumPy and torch where they are
        imported, and of generators that functions and modules of the job hold. Without it no two
        workers draw the same.
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
                raise UsageError(
                    f"key_column is {key_column!r}.",
                    safe="Nothing was read or written.",
                    next='Give the name of a column: key_column="clip".',
                )
            settings = replace(settings, key_column=key_column)
        return replace(self, settings=settings)

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
        executor: ExecutorName | None = None,
        workers: WorkersName | None = None,
        memory_max: int | str | None = None,
        drain_seconds: float = 10.0,
        skip_checks: bool = False,
        progress: Progress | None = None,
        parameters: Mapping[str, str] | None = None,
        call: JobCall | None = None,
        job_file: JobFile | None = None,
    ) -> Report:
        """Do what is left to do, and give the accounts.

        `fresh` computes all anew beside what is there, and replaces it in one step when the new
        dataset is complete. `accept_change` keeps the rows there are, though code or parameters
        changed, and computes the rest with the new ones; what each part was made by stays known.

        Returns only when the accounts closed (or at the `limit`, or after a `dry_run`). Raises
        a `BattenError` that says what is safe otherwise; whatever was finished stays. `jobs`:
        how many items at a time, by default the processors. `executor`: "processes" survive a
        function that crashes, and are the default; "threads" and "serial" do not, and can't
        enforce time limits. Neither applies where a function is `async def`. `workers`: how
        processes begin, "fork" or "spawn"; in the place of what `options` says.

        `memory_max` (bytes, or a text such as "2GB") is how much memory a worker may use, with what
        it starts: one that uses more is killed, and its item is dealt with as any that kills its
        worker. `drain_seconds`: how long items in hand may take to end after a signal. Before the
        work begins inputs, output, memory and room on the disk are checked; `skip_checks` has it
        begin although one of them forbids it.
        """
        from batten.jobs.how_started import observe_caller

        refuse_while_loading()
        from batten.drive.run import run_pipeline
        from batten.run.run_options import RunOptions

        if self.is_async and progress is not None and (jobs is not None or executor is not None):
            progress.note("jobs and executor don't apply to async functions; concurrency= does.")
        options = RunOptions(
            jobs=jobs if jobs is not None else len(os.sched_getaffinity(0)),
            resume=resume,
            should_retry_quarantined=retry_quarantined,
            limit=limit,
            is_dry_run=dry_run,
            is_fresh=fresh,
            accepts_change=accept_change,
            executor=executor if executor is not None else "processes",
            memory_bytes_max=read_memory_max(memory_max),
            drain_seconds=drain_seconds,
            skips_checks=skip_checks,
            parameters=dict(parameters or {}),
            call=call if call is not None else observe_caller(),
            workers=workers,
            job_file=job_file,
        )
        options.check(is_async=self.is_async)
        return run_pipeline(self.fill(options.parameters), options, progress)

    def _with_step(self, kind: StepKind, function: Callable[..., Any], **options: Any) -> Pipeline:
        if self.output is not None:
            raise UsageError(
                f".{kind}() stands after the sink.",
                safe="Nothing was read or written.",
                next=f"Put .{kind}() before .write_parquet().",
            )
        options["cache"] = choose_cache(options.get("cache"), self.folder)
        return replace(self, steps=(*self.steps, make_step(kind, function, **options)))

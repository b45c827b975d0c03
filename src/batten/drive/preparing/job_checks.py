"""Whether a job can be run as it is asked for: where it writes, with which options and workers.

Nothing is read or written for it.
"""

from __future__ import annotations

from pathlib import Path

from batten.errors import usage_error
from batten.jobs.definition import Definition
from batten.jobs.loading.job_folder import refuse_file, refuse_folder, refuse_place, refuse_tree
from batten.jobs.step import check_steps
from batten.model.words import Takes
from batten.run.run_options import RunOptions
from batten.sinks.capabilities import capabilities_of
from batten.sources.base import Source
from batten.storage.base import Store


def check_workers(pipeline: Definition, options: RunOptions) -> None:
    """Raises `UsageError` for what can't be kept where the functions run."""
    is_timed = any(s.timeout_seconds is not None and not s.is_async for s in pipeline.steps)
    if is_timed and options.executor != "processes":
        raise usage_error(
            f"timeout_seconds= can't be kept with executor={options.executor!r}.",
            "Use processes, the default, or leave the time limit out.",
        )
    if options.executor == "threads" and any(step.has_own_workers for step in pipeline.steps):
        raise usage_error(
            "Steps can't have workers of their own with executor='threads'.",
            "Use processes, the default, or leave concurrency= and devices= out.",
        )
    settings = pipeline.settings
    where = "functions that are awaited" if pipeline.is_async else f"executor={options.executor!r}"
    has_processes = options.executor == "processes" and not pipeline.is_async
    if settings.worker_items_max is not None and not has_processes:
        raise usage_error(
            f"worker_items_max= can't be kept with {where}.", "Use processes, or leave it out."
        )
    if settings.seed is None:
        return
    if pipeline.is_async or options.executor == "threads":
        raise usage_error(
            f"seed= can't be kept with {where}: items draw from one generator by turns.",
            "Make a generator of each item's own: random.Random(f'{SEED} {item}')",
        )
    if any(step.cache is not None for step in pipeline.steps):
        raise usage_error(
            "seed= can't be kept beside cache=: what was kept may be of another seed.",
            "Leave one of them out.",
        )


def check_job(pipeline: Definition, options: RunOptions) -> Path:
    if pipeline.output is None:
        raise usage_error(
            "The pipeline has no sink, so its rows would go nowhere.",
            'End it with a sink: .write_parquet("features/").',
        )
    pipeline.refuse_double()
    finalized = [each.output for each in pipeline.finalizers if each.store is None]
    for finalizer in pipeline.finalizers:
        if finalizer.store is not None:
            _keep_apart(pipeline.source, finalizer.store.shown)
    trees = _find_trees(pipeline)
    own = [pipeline.output] if pipeline.store is None else []
    for output in (*own, *finalized):
        refuse_place(output)
        refuse_tree(output, trees)
    places = [path for sink in pipeline.sinks for path in capabilities_of(sink).places]
    for made in (*pipeline.list_made(), *trees, *places):
        refuse_place(made, pipeline.output)
    for output in finalized if pipeline.is_ledger_inside else (*own, *finalized):
        refuse_folder(output)
    _check_sinks(pipeline)
    if pipeline.settings.batch_size != 1 and any(
        sink.takes is Takes.ITEMS for sink in pipeline.sinks
    ):
        raise usage_error(
            f"batch_size is {pipeline.settings.batch_size}, and .write_tree() takes items one at "
            "a time.",
            "Leave batch_size= out.",
        )
    if options.adds_columns and pipeline.whole is not None:
        raise usage_error(
            "add_columns= is for datasets of items, and .apply() makes its file anew each time.",
            "Leave it out.",
        )
    check_steps(pipeline.steps)
    if pipeline.file_names is not None:
        from batten.work.staged.item_files import check_kept

        refuse_folder(output)
        check_files(pipeline)
        check_kept(pipeline.steps)
    check_workers(pipeline, options)
    if pipeline.settings.schema is not None:
        from batten.rows.schema import read_schema_option, refuse_unfit

        refuse_unfit(read_schema_option(pipeline.settings.schema, pipeline.settings.key_column))
    return Path(pipeline.output)


def _find_trees(pipeline: Definition) -> list[Path]:
    if not pipeline.sinks:
        return []
    from batten.sinks.files.tree import TreeSink

    return [sink.path for sink in pipeline.sinks if isinstance(sink, TreeSink)]


def _check_sinks(pipeline: Definition) -> None:
    if not pipeline.sinks:
        return
    from batten.sinks.files.file import FileSink
    from batten.sinks.files.hive import HiveSink

    for sink in pipeline.sinks:
        sink.check()
        if isinstance(sink, FileSink | HiveSink):
            is_of_table = pipeline.is_ledger_inside and pipeline.file_names is None
            refuse_file(sink.path, None if is_of_table else Path(pipeline.output or ""))


def refuse_beyond_store(storage: Store, pipeline: Definition, options: RunOptions) -> None:
    """Raises `UsageError` for what needs a folder of a file system."""
    reason, way = "", "Write to another place, or to a folder of this machine."
    if pipeline.sinks or pipeline.whole is not None:
        reason = "only a dataset of parts can lie there"
    elif any(step.batch_api is not None for step in pipeline.steps):
        reason = "no lock keeps two runs there from handing in the same requests"
        way = "Write to a folder of this machine, and copy the dataset there when it is complete."
    elif options.adds_columns:
        reason = "columns can't be added there"
        way = "Compute all anew with the columns, by fresh; or write to a folder of this machine."
    if pipeline.store is not None:
        _keep_apart(pipeline.source, pipeline.store.shown)
    if reason:
        raise usage_error(f"{storage.place} is no folder of a file system: {reason}.", way)


def _keep_apart(source: Source, address: str) -> None:
    """Raises `UsageError` where each run would find what the one before has made."""
    may_list = getattr(source, "may_list", None)
    if address in source.inputs or (may_list is not None and may_list(address)):
        raise usage_error(
            f"{address!r} lies among the objects that the pipeline reads.",
            "Write to a prefix of its own.",
        )


def check_files(pipeline: Definition) -> None:
    """Raises `UsageError` for a step or an option that is for rows."""
    for step in pipeline.steps:
        if step.kind == "map_batches" or step.keeps_input:
            what = ".map_batches()" if step.kind == "map_batches" else "keep_input="
            raise usage_error(
                f"{what} makes rows, and .write_files() takes files.", "Leave it out."
            )
    if not any(step.kind in ("map", "flat_map") for step in pipeline.steps):
        raise usage_error(
            "No function makes a file.", "Put one before .write_files(): .map(make_thumbnail)."
        )
    if pipeline.settings.schema is not None:
        raise usage_error("schema= is for rows, and .write_files() takes files.", "Leave it out.")

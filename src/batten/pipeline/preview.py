"""The first rows that a pipeline would make, made in memory: nothing is written.

A whole run is done on the storage in memory, so rows are those that a run would publish. There are
no destinations and no caches, and the functions run in this process.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batten.errors import InterruptedRunError, UsageError, usage_error
from batten.jobs.definition import Definition
from batten.ledger.files.quarantine_file import Quarantined, read_quarantine
from batten.model.disk.names import Layout
from batten.model.telling.html import show_table_as_html
from batten.model.value_class import value_class
from batten.printable import escape
from batten.sources.base import without_changes

if TYPE_CHECKING:
    import pyarrow as pa

    from batten.run.run_options import RunOptions
    from batten.sinks.base import Sink

NAME = ".batten-preview"
"""What the output is called in memory."""


@value_class
class Preview:
    """The first rows that a pipeline would make; `pipeline.preview()` gives one.

    Attributes:
        rows: The rows, in the order of the plan.
        failed: The items of these that would be quarantined, with their errors.
        columns: The types of the columns, by name.
        lines: Each row as a line of JSON.
    """

    rows: list[dict[str, Any]]
    failed: list[Quarantined]
    columns: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Make the object that `batten run --preview --json` prints.

        Returns:
            A dict of what JSON can hold.
        """
        return {
            "status": "preview",
            "rows": [json.loads(line) for line in self.lines],
            "columns": dict(self.columns),
            "failed": [
                {"key": each.key, "error": each.error, "traceback": each.traceback}
                for each in self.failed
            ],
        }

    def __repr__(self) -> str:
        rest = [f"{escape(each.key)}: {escape(each.error)}" for each in self.failed]
        return "\n".join([*map(escape, self.lines), *rest])

    def _repr_html_(self) -> str:
        rows = [list(map(str, row.values())) for row in self.rows]
        failed = [(each.key, each.error) for each in self.failed]
        return show_table_as_html("preview", list(self.columns), rows, failed)


def make_preview(pipeline: Definition, options: RunOptions) -> Preview:
    """The rows of the first items. Raises as a run does; nothing is written in any case."""
    from batten.drive.run import run_on
    from batten.storage.twin.memory import MemoryStorage

    if pipeline.whole is not None:
        raise usage_error(
            "A function of whole tables has no first rows: it takes all of them.",
            "See what a run would do: --dry-run, in Python run(dry_run=True)",
        )
    if any(step.batch_api is not None for step in pipeline.steps):
        raise UsageError(
            "A vendor's batch is paid for, and takes hours: it has no preview.",
            safe="Nothing was read, asked or written.",
            next="Try request_fn and parse by themselves, or a few items: --limit 3",
        )
    storage = MemoryStorage()
    layout = Layout(NAME, is_inside=pipeline.file_names is not None)
    try:
        run_on(storage, _without_places(pipeline), _in_memory(options))
    except InterruptedRunError as error:
        raise InterruptedRunError(error.what, safe="A preview writes nothing.") from error
    tables, failed = [], []
    for batch in range(_count_batches(storage, layout)):
        data = storage.read(layout.part(batch), bytes_max=None)
        tables.append(_read_table(data))
        name = layout.quarantined(batch)
        if storage.find(name) is not None:
            failed += read_quarantine(storage, name, batch)
    return _show(tables, failed)


def _without_places(pipeline: Definition) -> Definition:
    """The same without what is written, kept, or done elsewhere. Failed items are to be seen."""
    steps = [
        replace(step, cache=None, timeout_seconds=step.timeout_seconds if step.is_async else None)
        for step in pipeline.steps
    ]
    settings = replace(
        pipeline.settings,
        on_error="quarantine",
        quarantine_max=None,
        stop_when=None,
        worker_items_max=None,
        workers=None,
    )
    return replace(
        pipeline,
        source=without_changes(pipeline.source),
        output=Path(pipeline.folder, NAME),
        written_output=NAME,
        store=None,
        sinks=_keep_files(pipeline),
        is_ledger_inside=pipeline.file_names is not None,
        finalizers=(),
        steps=tuple(steps),
        settings=settings,
    )


def _keep_files(pipeline: Definition) -> tuple[Sink, ...]:
    """The sink of a job that makes files, in memory: it says how they are called."""
    if pipeline.file_names is None:
        return ()
    from batten.sinks.files.items import FilesSink

    return (FilesSink(path=Path(pipeline.folder, NAME), names=pipeline.file_names),)


def _in_memory(options: RunOptions) -> RunOptions:
    return replace(
        options,
        jobs=1,
        executor="serial",
        workers=None,
        memory_bytes_max=None,
        is_dry_run=False,
        is_fresh=False,
        accepts_change=False,
        should_retry_quarantined=False,
        skips_checks=True,
        resume="if_possible",
        is_told=False,
    )


def _count_batches(storage: Any, layout: Layout) -> int:
    return sum(entry.is_file for entry in storage.list(layout.data))


def _read_table(data: bytes) -> pa.Table:
    import pyarrow.parquet as pq

    return pq.ParquetFile(io.BytesIO(data)).read()


def _show(tables: list[pa.Table], failed: list[Quarantined]) -> Preview:
    from batten.model.telling.type_names import show_type
    from batten.sinks.files.formats import FORMATS
    from batten.sinks.rows.plain_values import list_rows

    if not tables:
        return Preview(rows=[], failed=failed)
    schema = tables[0].schema
    batches = [batch for table in tables for batch in table.to_batches()]
    told = b"".join(bytes(piece) for piece in FORMATS["jsonl"](schema)(iter(batches)))
    return Preview(
        rows=[row for batch in batches for row in list_rows(batch)],
        failed=failed,
        columns={each.name: show_type(each.type) for each in schema},
        lines=told.decode().splitlines(),
    )


def list_preview_lines(preview: Preview) -> Iterator[str]:
    """For people: the columns, the rows, and what would fail."""
    yield "  ".join(f"{name}: {kind}" for name, kind in preview.columns.items()) or "no rows"
    yield from preview.lines
    for each in preview.failed:
        yield f"would be quarantined: {each.key}: {each.error}"

"""Which control folder holds the ledger of a job whose first destination is a table of a database.

It is named by the file of the database, as that is what people name to `diagnose`. Where another
table of the file has that one, it is named by the table as well (decision 0051).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from batten.errors import StorageError
from batten.model.disk.destinations.delivery import Delivery
from batten.model.disk.names import Layout
from batten.model.disk.records import Config, Unreadable, decode_record
from batten.storage.local.folder import LocalStorage

if TYPE_CHECKING:
    from batten.jobs.definition import Definition
    from batten.sinks.databases.sqlite import SqliteSink


def describe_target(pipeline: Definition) -> str:
    """Where the first destination lies; empty for a folder of parts."""
    if not pipeline.is_ledger_inside or pipeline.output is None:
        return ""
    return pipeline.sinks[0].describe(pipeline.output.parent)


def choose_ledger(pipeline: Definition) -> Definition:
    """The same, with a ledger of its own where that of its database is of another table."""
    output = pipeline.output
    if output is None or not pipeline.is_ledger_inside:
        return pipeline
    from batten.sinks.databases.sqlite import SqliteSink

    sink = pipeline.sinks[0]
    if not isinstance(sink, SqliteSink) or output != sink.path:
        return pipeline
    name = f"{output.name}.{_as_name(sink.table)}"
    storage = LocalStorage(output.parent)
    try:
        has_own = storage.find(Layout(name).control) is not None
        if not has_own and not _is_of_other_table(storage, output, sink):
            return pipeline
    except StorageError:
        return pipeline
    # Tokens name the rows as they would without the other job.
    own = replace(sink, dataset=sink.dataset or output.name)
    return replace(
        pipeline,
        output=output.with_name(name),
        written_output=str(Path(pipeline.written_output).with_name(name)),
        sinks=(own, *pipeline.sinks[1:]),
    )


def _as_name(table: str) -> str:
    """SQLite folds the case of names; what no file name should hold is replaced."""
    plain = re.sub(r"[^\w-]", "_", table.lower())
    if plain == table.lower() and len(plain.encode()) <= 100:
        return plain
    return f"{plain[:40]}-{hashlib.sha256(table.lower().encode()).hexdigest()[:8]}"


def _is_of_other_table(storage: LocalStorage, output: Path, sink: SqliteSink) -> bool:
    """A record of 0.1 does not say which table was the first. What was given tells it."""
    layout = Layout(output.name, is_inside=True)
    ours = sink.describe(output.parent).lower()
    try:
        config = decode_record(Config, storage.read(layout.config))
    except (FileNotFoundError, Unreadable, StorageError):
        return False
    if config.target or config.sink != sink.kind:
        return bool(config.target) and config.target.lower() != ours
    targets = set()
    for entry in storage.list(layout.deliveries):
        try:
            delivery = decode_record(Delivery, storage.read(entry.name))
        except (FileNotFoundError, Unreadable, StorageError):
            continue
        if delivery.kind == sink.kind:
            targets.add(delivery.target.lower())
    return bool(targets) and ours not in targets

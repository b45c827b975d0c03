"""Makes the second dataset of a finalize step, whole and durable, where no reader sees it."""

from __future__ import annotations

import hashlib
import os
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from batten.deliver.guarded_publisher import GuardedPublisher
from batten.deliver.publisher import Publisher
from batten.errors import BattenError, FailedRunError, InterruptedRunError
from batten.finalize.cut_into_parts import cut_tables, open_stream
from batten.finalize.second_dataset import FinalDataset
from batten.ledger.contents import find_contents, list_versions
from batten.ledger.files.parts import Parts, parts_of
from batten.ledger.files.schema_file import encode_schema
from batten.ledger.guarded import carry_out, taken_over
from batten.model.disk.fingerprints import FINALIZED_FROM as MADE_OF
from batten.model.disk.items.key_digests import describe_ordinals
from batten.model.disk.outcomes import encode_outcomes
from batten.model.disk.records import (
    Completion,
    Config,
    PartDescription,
    Segment,
    encode_record,
)
from batten.model.rules.guards import (
    BEGINNING,
    COMPLETING,
    PINNING,
    PLANNING,
    GuardedStep,
    Thing,
)
from batten.model.words import Outcome, RunStatus
from batten.optional import import_optional
from batten.run.clock import utc_now, utc_now_exact
from batten.run.context import Context
from batten.run.found.found_dataset import observe_free, refuse_damaged
from batten.run.identity import keep_parameters
from batten.run.telling.run_log import RunLogWriter
from batten.sinks.parquet import encode_part
from batten.storage.changing.publishing import create, make_folders, put_aside
from batten.work.tasks import Sealed

if TYPE_CHECKING:
    import pyarrow as pa


def make_second(first: Context, target: FinalDataset) -> int:
    """Make it beside the place where it will be; gives the number of its rows."""
    with ExitStack() as stack:
        return _DatasetMaking(first, target, stack).make()


class _DatasetMaking:
    def __init__(self, first: Context, target: FinalDataset, stack: ExitStack) -> None:
        self._first = first
        self._target = target
        self._stack = stack
        self._storage = target.context.storage
        self._layout = target.context.layout.fresh
        self._sizes: list[int] = []

    def make(self) -> int:
        """Its rows."""
        storage, layout = self._storage, self._layout
        make_folders(storage, (layout.data, layout.control, layout.plan, layout.commits))
        make_folders(storage, (layout.staging, layout.staged, layout.runs))
        log = RunLogWriter(storage, layout, self._first.run)
        log.start(jobs=1, command=self._first.options.next_command)
        self._create(BEGINNING, layout.config, encode_record(self._config()))
        with self._first.timed("finalize rows"):
            schema, rows = self._publish_rows()
        self._create(PINNING, layout.schema, encode_schema(schema))
        planning = [step for step in PLANNING if step.thing is Thing.SEGMENT]
        self._create(planning, layout.segment(0), encode_record(self._segment(rows)))
        log.write(
            "stop", status=RunStatus.COMPLETE, rows=rows, seconds=self._first.rounded_seconds()
        )
        versions = list_versions(storage, layout).in_order() if layout.is_shared else ()
        name = layout.complete_of(1, versions, {})
        self._create(COMPLETING, name, encode_record(self._completion(rows)))
        if layout.is_shared and find_contents(storage, layout) is None:
            raise taken_over(storage, layout.data)
        return rows

    def _publish_rows(self) -> tuple[pa.Schema, int]:
        publisher = self._make_publisher()
        with self._blaming():
            stream = open_stream(self._target.finalizer.function(self._hand_over()))
        tables = cut_tables(stream, self._target.part_rows)
        rows = 0
        while True:
            with self._blaming():
                table = next(tables, None)
            if table is None:
                return stream.schema, rows
            publisher.publish([self._stage(table, rows)], ())
            rows += table.num_rows
            self._stop_if_asked()

    def _make_publisher(self) -> Publisher | GuardedPublisher:
        storage, layout, run = self._storage, self._layout, self._first.run
        if storage.folder is None:
            return GuardedPublisher(storage, layout, run=run, versions={})
        return Publisher(storage.folder, layout, run=run, tried=frozenset())

    def _hand_over(self) -> Any:
        parts = self._read_first()
        form = self._target.finalizer.form
        if form == "polars":
            return parts.scan_polars()
        if form == "duckdb":
            return parts.relate_duckdb(self._connect())
        return parts.read_table()

    def _read_first(self) -> Parts:
        first = self._first
        observation, judgement = observe_free(first)
        refuse_damaged(first, observation, judgement)
        return parts_of(first.storage, first.layout, first.path, observation)

    def _connect(self) -> Any:
        """What does not fit into memory lies where the next attempt clears it away; beside a store,
        among the temporary files of this machine."""
        duckdb = import_optional("duckdb", f".finalize({self._target.finalizer.name})")
        if self._storage.local is not None:
            spill = os.path.join(self._storage.place, self._layout.staging, "spill")
        else:
            spill = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="batten-spill-"))
        return duckdb.connect(config={"temp_directory": spill})

    def _stage(self, table: pa.Table, first_row: int) -> Sealed:
        batch, rows = len(self._sizes), table.num_rows
        description = PartDescription(
            batch=batch,
            items=rows,
            rows=rows,
            outcomes=encode_outcomes([Outcome.COMMITTED] * rows),
            keys=describe_ordinals(first_row, first_row + rows),
            fingerprint=self._target.fingerprint.digest,
        )
        with self._blaming():
            data = memoryview(encode_part(table, description))
        digest = hashlib.sha256(data).hexdigest()
        name = self._layout.staged_file(batch, "sealed", digest)
        if self._storage.folder is not None:
            self._storage.folder.stage(name, data, is_synced=True)
        else:
            put_aside(self._storage, self._layout.staging, name, data, is_synced=False)
        self._sizes.append(len(data))
        return Sealed(
            described=description,
            size=len(data),
            digest=digest,
            quarantine_digest="",
            schema=None,
        )

    def _config(self) -> Config:
        return Config(
            fingerprint=self._target.fingerprint,
            batch_size=self._target.part_rows,
            key_column="",
            source=f"{MADE_OF} {self._target.made_of}",
            sink="parquet",
            parameters=keep_parameters(self._first.options.parameters),
            next=self._first.options.next_command,
            created=utc_now_exact() if self._layout.is_shared else utc_now(),
            earlier_fingerprints=[],
            job=self._target.context.call,
        )

    def _segment(self, rows: int) -> Segment:
        return Segment(
            number=0,
            first_batch=0,
            first_ordinal=0,
            items=rows,
            batch_size=self._target.part_rows,
            is_keyed=False,
            duplicates=0,
            duplicate_examples=[],
            is_limited=False,
            keys=[],
            keys_size=0,
            keys_digest="",
        )

    def _completion(self, rows: int) -> Completion:
        return Completion(
            source=rows,
            committed=rows,
            filtered=0,
            quarantined=0,
            duplicate=0,
            rows=rows,
            segments=1,
            part_sizes=self._sizes,
            run=self._first.run,
            time=utc_now(),
        )

    def _create(self, steps: Sequence[GuardedStep], name: str, data: bytes) -> None:
        if self._storage.folder is not None:
            create(self._storage, self._layout.staging, name, data)
            return
        for step in steps:
            carry_out(self._storage, step, name, data)

    def _stop_if_asked(self) -> None:
        signal = self._first.signals.received
        if signal is not None:
            raise InterruptedRunError(
                f"Stopped by {signal} while finalizing into {self._target.context.path}.",
                safe=f"{self._first.path} is complete; what was finalized before is untouched.",
                next=f"Run the same command again: {self._first.again}",
            )

    @contextmanager
    def _blaming(self) -> Iterator[None]:
        """What the function raises, now or when its rows are computed, is told as its failure."""
        try:
            yield
        except BattenError:
            raise
        except Exception as error:
            path = self._target.context.path
            raise FailedRunError(
                f"Finalizing into {path} failed: {self._target.finalizer.name}: "
                f"{type(error).__name__}: {error}",
                safe=f"{self._first.path} is complete and untouched; {path} is as it was before.",
                next=f"Mend {self._target.finalizer.name}, then: {self._first.again}",
                trace=traceback.format_exc(),
            ) from error

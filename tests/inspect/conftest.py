"""Builds outputs by hand, file by file, as a run leaves them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pytest

from batten.ledger.files.quarantine_file import encode_quarantine
from batten.ledger.files.schema_file import encode_schema
from batten.model.disk.items.key_digests import describe_keys, describe_ordinals
from batten.model.disk.names import Layout
from batten.model.disk.outcomes import encode_outcomes
from batten.model.disk.records import (
    CommitRecord,
    Completion,
    Config,
    Fingerprint,
    PartDescription,
    Segment,
    encode_record,
)
from batten.model.disk.runs.holders import Holder
from batten.model.disk.runs.job_calls import BATTEN, JobCall
from batten.model.words import Outcome
from batten.sinks.parquet import encode_part

RUN = "20261121T080000Z-3f9a"
TIME = "2026-11-21T08:00:00Z"
FINGERPRINT = "f" * 64


@dataclass
class Built:
    """An output named `features`: ten items in batches of four, unless told otherwise.

    Item 1 is filtered, item 6 quarantined."""

    root: Path
    items: int = 10
    batch_size: int = 4
    is_keyed: bool = True
    duplicates: int = 0
    filtered: frozenset[int] = frozenset({1})
    quarantined: frozenset[int] = frozenset({6})
    layout: Layout = field(default_factory=lambda: Layout("features"))

    @property
    def path(self) -> Path:
        return self.root / "features"

    @property
    def batches(self) -> int:
        return -(-self.items // self.batch_size)

    def file(self, name: str) -> Path:
        return self.root / name

    def part(self, batch: int) -> Path:
        return self.root / self.layout.part(batch)

    def commit(self, batch: int) -> Path:
        return self.root / self.layout.commit(batch)

    def write(self, name: str, data: bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def key(self, item: int) -> str | int:
        return f"clip_{item:04}.mp4" if self.is_keyed else item

    def numbers(self, batch: int) -> range:
        start = batch * self.batch_size
        return range(start, min(start + self.batch_size, self.items))

    def keys(self, batch: int) -> str:
        numbers = self.numbers(batch)
        if self.is_keyed:
            return describe_keys(str(self.key(item)) for item in numbers)
        return describe_ordinals(numbers.start, numbers.stop)

    def outcome(self, item: int) -> Outcome:
        if item in self.filtered:
            return Outcome.FILTERED
        return Outcome.QUARANTINED if item in self.quarantined else Outcome.COMMITTED

    def lay_ground(self) -> None:
        """Configuration, schema, plan, and the log of a run that was killed."""
        for folder in ("staging", "staged", "quarantine", "commits", "runs", "recompute"):
            (self.root / self.layout.control / folder).mkdir(parents=True)
        self.path.mkdir()
        holder = Holder(pid=4711, host=os.uname().nodename, since=TIME, boot="another boot")
        self.write(self.layout.lock, encode_record(holder))
        config = Config(
            fingerprint=Fingerprint(digest=FINGERPRINT, parts={"function measure": "abc"}),
            batch_size=self.batch_size,
            key_column="key",
            source="files clips/*.mp4",
            sink="parquet",
            parameters={},
            next="batten run features.py",
            job=self.job_call(),
            earlier_fingerprints=[],
            created=TIME,
        )
        self.write(self.layout.config, encode_record(config))
        schema = pa.schema([("frames", pa.int64())])
        self.write(self.layout.schema, encode_schema(schema))
        self.write_plan()
        start = {"event": "start", "jobs": 2, "command": "batten run features.py"}
        start |= {"time": TIME, **vars(holder)}
        self.write(self.layout.run_log(RUN), json.dumps(start).encode() + b"\n")

    def job_call(self) -> JobCall:
        """That of `batten run features.py` in the folder of the output."""
        root = os.path.realpath(self.root)
        self.write("features.py", b"# a job")
        return JobCall(
            kind=BATTEN,
            folder=root,
            file=f"{root}/features.py",
            name="",
            digest=hashlib.sha256(b"# a job").hexdigest(),
            output=f"{root}/features",
            is_relative=True,
            has_arguments=False,
        )

    def write_plan(self) -> None:
        data = b""
        if self.is_keyed:
            schema = pa.schema([("key", pa.string())])
            sink = pa.BufferOutputStream()
            with pa.ipc.new_file(sink, schema) as writer:
                for batch in range(self.batches):
                    keys = [str(self.key(item)) for item in self.numbers(batch)]
                    writer.write_batch(pa.record_batch([pa.array(keys)], schema=schema))
            data = sink.getvalue().to_pybytes()
            self.write(self.layout.segment_keys(0), data)
        segment = Segment(
            number=0,
            first_batch=0,
            first_ordinal=0,
            items=self.items,
            batch_size=self.batch_size,
            is_keyed=self.is_keyed,
            duplicates=self.duplicates,
            duplicate_examples=[],
            is_limited=False,
            keys=[self.keys(batch) for batch in range(self.batches)] if self.is_keyed else [],
            keys_size=len(data),
            keys_digest=hashlib.sha256(data).hexdigest() if data else "",
        )
        self.write(self.layout.segment(0), encode_record(segment))

    def describe(self, batch: int) -> PartDescription:
        outcomes = [self.outcome(item) for item in self.numbers(batch)]
        return PartDescription(
            batch=batch,
            items=len(outcomes),
            rows=outcomes.count(Outcome.COMMITTED),
            outcomes=encode_outcomes(outcomes),
            keys=self.keys(batch),
            fingerprint=FINGERPRINT,
        )

    def publish(self, batch: int, *, with_record: bool = True) -> None:
        """What the engine does, in its order: quarantine, part, record."""
        numbers = self.numbers(batch)
        committed = [item for item in numbers if self.outcome(item) is Outcome.COMMITTED]
        failed = [item for item in numbers if self.outcome(item) is Outcome.QUARANTINED]
        quarantine = b""
        if failed:
            rows = [self.quarantine_row(item) for item in failed]
            columns = {name: pa.array([row[name] for row in rows]) for name in rows[0]}
            quarantine = encode_quarantine(columns).to_pybytes()
            self.write(self.layout.quarantined(batch), quarantine)
        keys = pa.array(
            [self.key(item) for item in committed], pa.string() if self.is_keyed else pa.int64()
        )
        table = pa.table({"key": keys, "frames": pa.array(committed, pa.int64())})
        described = self.describe(batch)
        data = encode_part(table, described).to_pybytes()
        self.write(self.layout.part(batch), data)
        if with_record:
            record = CommitRecord(
                batch=batch,
                items=described.items,
                rows=described.rows,
                outcomes=described.outcomes,
                keys=described.keys,
                fingerprint=described.fingerprint,
                size=len(data),
                digest=hashlib.sha256(data).hexdigest(),
                quarantine_digest=hashlib.sha256(quarantine).hexdigest() if failed else "",
                run=RUN,
                time=TIME,
            )
            self.write(self.layout.commit(batch), encode_record(record))

    def quarantine_row(self, item: int) -> dict[str, object]:
        return {
            "key": str(self.key(item)),
            "item": item % self.batch_size,
            "error": "ValueError: no video stream",
            "traceback": "Traceback (most recent call last): …",
            "attempts": 3,
            "time": TIME,
        }

    def complete(self) -> None:
        sizes = [self.part(batch).stat().st_size for batch in range(self.batches)]
        committed = self.items - len(self.filtered) - len(self.quarantined)
        completion = Completion(
            source=self.items + self.duplicates,
            committed=committed,
            filtered=len(self.filtered),
            quarantined=len(self.quarantined),
            duplicate=self.duplicates,
            rows=committed,
            segments=1,
            part_sizes=sizes,
            run=RUN,
            time=TIME,
        )
        self.write(self.layout.complete, encode_record(completion))
        self.write(self.layout.lock, b"")
        stop = {"event": "stop", "time": TIME, "status": "complete", "executed_items": self.items}
        stop |= {"adopted_items": 0, "seconds": {"prepare": 8.2}, "error": None}
        with open(self.file(self.layout.run_log(RUN)), "ab") as log:
            log.write(json.dumps(stop).encode() + b"\n")

    def leave_orphan(self) -> Path:
        name = f"{self.layout.staging}/part-000001.parquet.host-91247-0a1b2c3d4e5f6071"
        return self.write(name, b"half a file")

    def files(self) -> dict[str, bytes]:
        """Every file below the root, for comparing before and after."""
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in sorted(self.root.rglob("*"))
            if path.is_file()
        }


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Built]:
    """`build(published=2)`: an output of which so many batches are published, all by default."""

    def _build(
        *, published: int | None = None, is_complete: bool | None = None, **options: object
    ) -> Built:
        built = Built(root=tmp_path, **options)  # type: ignore[arg-type]
        built.lay_ground()
        count = built.batches if published is None else published
        for batch in range(count):
            built.publish(batch)
        if is_complete if is_complete is not None else count == built.batches:
            built.complete()
        return built

    return _build

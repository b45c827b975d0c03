"""Batches of 100,000 rows into tables that others would write to directly, with the same rows."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import deltalake
import psycopg
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from pyiceberg.catalog import load_catalog

from batten.crashlab.servers.postgres import Server
from batten.model.disk.destinations.tokens import PublishEnd, Token
from batten.model.disk.names import Layout
from batten.model.disk.outcomes import encode_outcomes
from batten.model.disk.records import PartDescription
from batten.model.words import Outcome
from batten.sinks.base import Destination, LedgerPlace, Sink, Staged
from batten.sinks.databases.postgres import PostgresSink
from batten.sinks.deliveries import DeliveryBook, Receiver
from batten.sinks.lakes.delta.sink import DeltaSink
from batten.sinks.lakes.iceberg.sink import IcebergSink
from batten.sinks.parquet import encode_part
from batten.storage.local.folder import LocalStorage
from benchmarks.in_process import compare_calls
from benchmarks.measure import Figure

ROWS = 100_000
BATCHES = 4
LIMIT = "1.11"
"""Nine tenths of the rows in the same time."""


def measure(folder: Path, runs: int) -> list[Figure]:
    part = folder / "part.parquet"
    part.write_bytes(make_part())
    with Server() as server:
        return [
            compare(
                folder,
                part,
                PostgresSink(address=server.address(), table="ours"),
                copy_bare(server, part),
                "PostgreSQL: seconds / those of a bare COPY, a transaction a batch",
                runs,
            ),
            compare(
                folder,
                part,
                DeltaSink(path=folder / "delta"),
                lambda: deltalake.write_deltalake(
                    folder / "delta-bare", pq.read_table(part), mode="append"
                ),
                "Delta Lake: seconds / those of write_deltalake",
                runs,
            ),
            compare_iceberg(folder, part, runs),
        ]


def make_part() -> bytes:
    table = pa.table(
        {
            "key": pa.array(range(ROWS), pa.int64()),
            "name": [f"flight {number * 7919 % 100_003}" for number in range(ROWS)],
            "minutes": [number % 997 / 8 for number in range(ROWS)],
            "day": pa.array([number % 365 for number in range(ROWS)], pa.int32()).cast(pa.date32()),
        }
    )
    description = PartDescription(
        batch=0, items=ROWS, rows=ROWS, outcomes="", keys="", fingerprint=""
    )
    encoded: bytes = encode_part(table, description).to_pybytes()
    return encoded


def compare(
    folder: Path, part: Path, sink: Sink, bare: Callable[[], object], what: str, runs: int
) -> Figure:
    destination = open_sink(folder, sink)
    destination.prepare(pq.read_schema(part))
    datasets = count()

    def ours() -> None:
        dataset = f"run {next(datasets)}"
        for batch in range(BATCHES):
            if destination.publish(stage(part, dataset, batch)) is not PublishEnd.COMMITTED:
                raise RuntimeError(f"{sink.kind} did not take batch {batch}")

    def theirs() -> None:
        for _ in range(BATCHES):
            bare()

    try:
        return compare_calls(what, LIMIT, ours, theirs, pairs=runs)
    finally:
        destination.close()


def open_sink(folder: Path, sink: Sink) -> Destination:
    storage, layout = LocalStorage(folder), Layout("rows", is_inside=True)
    book = DeliveryBook(
        storage,
        layout,
        Receiver(kind=sink.kind, target=sink.describe(folder)),
        run="",
        now=lambda: "",
    )
    return sink.open(LedgerPlace(storage=storage, layout=layout, folder=folder, book=book))


def stage(part: Path, dataset: str, batch: int) -> Staged:
    return Staged(
        token=Token(dataset=dataset, batch=batch, digest=f"{dataset} {batch}"),
        schema=pq.read_schema(part),
        batches=batch + 1,
        rows=ROWS,
        outcomes=encode_outcomes([Outcome.COMMITTED] * ROWS),
        read=lambda: pq.ParquetFile(part, pre_buffer=False).iter_batches(1 << 14),
        load=part.read_bytes,
    )


def copy_bare(server: Server, part: Path) -> Callable[[], None]:
    server.ask("CREATE TABLE bare (key bigint, name text, minutes double precision, day date)")
    connection = psycopg.connect(server.address())

    def copy() -> None:
        data = pa.BufferOutputStream()
        without_header = pyarrow.csv.WriteOptions(include_header=False)
        pyarrow.csv.write_csv(pq.read_table(part), data, without_header)
        with (
            connection.transaction(),
            connection.cursor().copy("COPY bare FROM STDIN (FORMAT csv)") as copying,
        ):
            copying.write(data.getvalue())

    return copy


def compare_iceberg(folder: Path, part: Path, runs: int) -> Figure:
    properties = {
        "type": "sql",
        "uri": f"sqlite:///{folder}/catalogue.db",
        "warehouse": f"file://{folder}/warehouse",
    }
    catalog = load_catalog("default", **properties)
    catalog.create_namespace("lab")
    table: Any = catalog.create_table("lab.bare", pq.read_schema(part))
    return compare(
        folder,
        part,
        IcebergSink(table="lab.ours", catalog="default", properties=properties),
        lambda: table.append(pq.read_table(part)),
        "Iceberg: seconds / those of append",
        runs,
    )

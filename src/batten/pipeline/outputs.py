"""Where the rows of a pipeline are written: what follows its steps."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from batten.errors import UsageError
from batten.jobs.definition import Definition
from batten.sinks.files.file import FileSink
from batten.storage.addresses import local_path, refuse_address, refuse_other_database

if TYPE_CHECKING:
    from batten.fingerprint.secret import Secret
    from batten.sinks.base import Sink


@dataclass(frozen=True, kw_only=True)
class Outputs(Definition):
    """A definition, and the methods that give one with a further sink."""

    def write_parquet(self, path: str | os.PathLike[str]) -> Self:
        """Write a folder of Parquet parts, one a batch, in the order of the plan; or, where the
        path ends with .parquet, one file of all rows, as `write_csv` does."""
        written = local_path(path)
        if written.endswith(".parquet"):
            return self._write_file("parquet", written)
        if self.output is not None:
            raise UsageError(
                f"The folder of parts {written!r} stands after another sink.",
                safe="Nothing was read or written.",
                next="Put it first, and at most one; other sinks may follow it.",
            )
        self._check_path(written)
        return replace(self, output=self.folder / written, written_output=written)

    def write_csv(self, path: str | os.PathLike[str]) -> Self:
        """Write one CSV file of all rows, in the order of the plan. It appears when the dataset is
        complete, whole, in the place of an earlier one; the same rows give the same bytes.

        `path` may hold names of parameters, `out/refunds_{run_date}.csv`. The batches are kept
        in `<path>.batten/`. A file that batten did not write there is never replaced."""
        return self._write_file("csv", local_path(path))

    def write_jsonl(self, path: str | os.PathLike[str]) -> Self:
        """Write one file with a JSON object a row; all else as `write_csv`."""
        return self._write_file("jsonl", local_path(path))

    def write_sqlite(
        self,
        path: str | os.PathLike[str],
        table: str,
        *,
        key: str | Sequence[str] = (),
        dataset: str = "",
        ledger: str | os.PathLike[str] | None = None,
        timeout_seconds: float = 30.0,
    ) -> Self:
        """Write the rows into a table of a SQLite database, each batch in one transaction with a
        token in the table `batten_tokens`, by which a batch that is there is not written again.

        Without `key` rows are added; with it, a row takes the place of one with the same values
        in those columns. A table that is not there is made. `dataset` names these rows in tokens,
        by default the name of the output. `ledger`: where the first sink is a table, the output
        that names the job's control folder, by default `path`. `timeout_seconds`: how long
        to wait for other writers."""
        from batten.sinks.databases.sqlite import SqliteSink

        sink = SqliteSink(
            path=self.folder / local_path(path),
            table=table,
            key=_columns(key),
            dataset=dataset,
            timeout_seconds=timeout_seconds,
        )
        return self._with_sink(sink, os.fspath(ledger if ledger is not None else path))

    def write_postgres(
        self,
        address: str | Secret,
        table: str,
        *,
        key: str | Sequence[str] = (),
        dataset: str = "",
        ledger: str | os.PathLike[str] | None = None,
        timeout_seconds: float = 60.0,
    ) -> Self:
        """Write the rows into a table of a PostgreSQL database, each batch by COPY and in one
        transaction with its token; all else as `write_sqlite`.

        `address` is a URI (`postgresql://host/base`) or a connection string, or the
        `batten.Secret` that holds one; what it leaves out (a password, say) comes from the
        environment, as libpq's variables say. `ledger` is by
        default the name of the table. `timeout_seconds`: the longest that a step may take; then the
        connection is cut off, and what became of it is asked on another."""
        from batten.sinks.databases.postgres import PostgresSink

        if isinstance(address, str):
            refuse_other_database(address)
        sink = PostgresSink(
            address=address,
            table=table,
            key=_columns(key),
            dataset=dataset,
            timeout_seconds=timeout_seconds,
        )
        return self._with_sink(sink, os.fspath(ledger if ledger is not None else table))

    def write_delta(
        self,
        path: str | os.PathLike[str],
        *,
        dataset: str = "",
        ledger: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Add the rows to the Delta Lake table in the folder `path`, each batch in one entry of its
        log, with its token as a transaction identifier. A table that is not there is made.

        `dataset` and `ledger` as for `write_sqlite`. Retried items can't be added to a batch."""
        from batten.sinks.lakes.delta import DeltaSink

        sink = DeltaSink(path=self.folder / local_path(path), dataset=dataset)
        return self._with_sink(sink, os.fspath(ledger if ledger is not None else path))

    def write_iceberg(
        self,
        table: str,
        *,
        catalog: str | Mapping[str, str | Secret] = "default",
        dataset: str = "",
        ledger: str | os.PathLike[str] | None = None,
        timeout_seconds: float = 60.0,
    ) -> Self:
        """Add the rows to the Iceberg table `namespace.name`, each batch in one commit, with its
        token as a property of the table. A table that is not there is made.

        `catalog` names a catalogue that pyiceberg's configuration knows, or gives its properties:
        `{"type": "sql", "uri": "sqlite:///…", "warehouse": "file:///…"}`, and `"name"` where that
        is not "default". All else as for `write_delta`; `ledger` is by default the name of the
        table. `timeout_seconds`: the longest that an answer of the catalogue may take."""
        from batten.sinks.lakes.iceberg import IcebergSink

        if isinstance(catalog, str) and "://" in catalog:
            raise UsageError(
                "catalog= is an address, and a text there names a catalogue that is configured.",
                safe="Nothing was read or written.",
                next='Give its properties: catalog={"type": "sql", "uri": …, "warehouse": …}.',
            )
        given: dict[str, Any] = {"name": catalog} if isinstance(catalog, str) else dict(catalog)
        sink = IcebergSink(
            table=table,
            catalog=given.pop("name", "default"),
            properties=given,
            timeout_seconds=timeout_seconds,
            dataset=dataset,
        )
        return self._with_sink(sink, os.fspath(ledger if ledger is not None else table))

    def _write_file(self, kind: str, written: str) -> Self:
        return self._with_sink(FileSink(path=self.folder / written, kind=kind), written)

    def _with_sink(self, sink: Sink, written: str) -> Self:
        """A first sink's ledger lies in the control folder of the output that it is named by."""
        self._check_path(written)
        if self.output is None:
            return replace(
                self,
                output=self.folder / written,
                written_output=written,
                is_ledger_inside=True,
                sinks=(sink,),
            )
        made = replace(self, sinks=(*self.sinks, sink))
        made.refuse_double()
        return made

    def _check_path(self, written: str) -> None:
        refuse_address(written)
        if not written or not written.strip("/. "):
            raise UsageError(
                f"{written!r} is not a path that batten can own.",
                safe="Nothing was read or written.",
                next='Name a folder or a file of its own: .write_parquet("features/").',
            )


def _columns(key: str | Sequence[str]) -> tuple[str, ...]:
    return (key,) if isinstance(key, str) else tuple(key)

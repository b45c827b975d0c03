"""What follows the steps of a pipeline and writes its rows into a table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

from batten.errors import usage_error
from batten.pipeline.topic_outputs import TopicOutputs
from batten.storage.addresses import as_written, local_path, refuse_other_database

if TYPE_CHECKING:
    from batten.fingerprint.secret import Secret

Mode = Literal["append", "merge", "replace"]


class TableOutputs(TopicOutputs):
    """Outputs, and the methods that give one with a table as a further sink."""

    def write_sqlite(
        self,
        path: str | os.PathLike[str],
        table: str,
        *,
        key: str | Sequence[str] = (),
        mode: Mode | None = None,
        where: Mapping[str, str] | None = None,
        dataset: str = "",
        ledger: str | os.PathLike[str] | None = None,
        timeout_seconds: float = 30.0,
    ) -> Self:
        """Write the rows into a table of a SQLite database.

        Each batch goes in one transaction, with a token in the table `batten_tokens`. By the token
        a batch that is there is never written again. A table that is missing is made.

        Args:
            path: The file of the database.
            table: The name of the table.
            key: The column or columns by which a row replaces an older one. By default rows are
                only added.
            mode: "append" adds rows, and is the default. "merge" is the default with `key=`.
                "replace" takes all rows at once, when the dataset is complete, in the place of all
                that the table holds.
            where: With `mode="replace"`: columns and their values, such as `{"run_date":
                "{run_date}"}`. Only rows with these values are replaced. Columns that the rows lack
                are added. By default all rows are replaced.
            dataset: The name of these rows in tokens; by default the name of the output.
            ledger: If this is the first sink: the output that names the control folder; by default
                `path`.
            timeout_seconds: How long to wait for other writers, in seconds; 30 by default.

        Returns:
            A new pipeline with this sink.

        Raises:
            UsageError: A path or a name can't be used, or another sink writes there. Nothing was
                read or written.
        """
        from batten.sinks.databases.sqlite import SqliteSink

        sink = SqliteSink(
            path=self.folder / local_path(path),
            table=table,
            **_read_load(key, mode, where),
            dataset=dataset,
            timeout_seconds=timeout_seconds,
        )
        return self._with_sink(sink, as_written(ledger if ledger is not None else path))

    def write_postgres(
        self,
        address: str | Secret,
        table: str,
        *,
        key: str | Sequence[str] = (),
        mode: Mode | None = None,
        where: Mapping[str, str] | None = None,
        dataset: str = "",
        ledger: str | os.PathLike[str] | None = None,
        timeout_seconds: float = 60.0,
    ) -> Self:
        """Write the rows into a table of a PostgreSQL database.

        Each batch goes by COPY, in one transaction with its token, as for `write_sqlite`.

        Args:
            address: A URI (`postgresql://host/base`), a connection string, or the `batten.Secret`
                that holds one. What it leaves out, such as a password, comes from the environment,
                as for libpq.
            table: The name of the table.
            key: The column or columns by which a row replaces an older one. By default rows are
                only added.
            mode: "append" adds rows, and is the default. "merge" is the default with `key=`.
                "replace" takes all rows at once, when the dataset is complete, in the place of all
                that the table holds.
            where: With `mode="replace"`: columns and their values, such as `{"run_date":
                "{run_date}"}`. Only rows with these values are replaced. Columns that the rows lack
                are added. By default all rows are replaced.
            dataset: The name of these rows in tokens; by default the name of the output.
            ledger: If this is the first sink: the output that names the control folder; by default
                `table`.
            timeout_seconds: The longest that one step may take, in seconds; 60 by default. Then the
                connection is cut, and another one is asked what became of the step.

        Returns:
            A new pipeline with this sink.

        Raises:
            UsageError: The address or a name can't be used, or another sink writes there. Nothing
                was read or written.
        """
        from batten.sinks.databases.postgres import PostgresSink

        if isinstance(address, str):
            refuse_other_database(address)
        sink = PostgresSink(
            address=address,
            table=table,
            **_read_load(key, mode, where),
            dataset=dataset,
            timeout_seconds=timeout_seconds,
        )
        return self._with_sink(sink, as_written(ledger if ledger is not None else table))

    def write_delta(
        self,
        path: str | os.PathLike[str],
        *,
        key: str | Sequence[str] = (),
        mode: Mode | None = None,
        where: Mapping[str, str] | None = None,
        dataset: str = "",
        ledger: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Add the rows to a table of Delta Lake; a table that is missing is made.

        Each batch is one entry of the table's log, with its token as a transaction identifier.

        Args:
            path: The folder of the table.
            key: The column or columns by which a row replaces older ones. By default rows are only
                added.
            mode: "append" adds rows, and is the default. "merge" is the default with `key=`.
                "replace" takes all rows at once, when the dataset is complete, in the place of all
                that the table holds.
            where: With `mode="replace"`: columns and their values, such as `{"run_date":
                "{run_date}"}`. Only rows with these values are replaced. Columns that the rows lack
                are added. By default all rows are replaced.
            dataset: The name of these rows in tokens; by default the name of the output.
            ledger: If this is the first sink: the output that names the control folder; by default
                `path`.

        Returns:
            A new pipeline with this sink.

        Raises:
            UsageError: A path can't be used, or another sink writes there. Nothing was read or
                written.
        """
        from batten.sinks.lakes.delta.sink import DeltaSink

        sink = DeltaSink(
            path=self.folder / local_path(path), **_read_load(key, mode, where), dataset=dataset
        )
        return self._with_sink(sink, as_written(ledger if ledger is not None else path))

    def write_iceberg(
        self,
        table: str,
        *,
        catalog: str | Mapping[str, str | Secret] = "default",
        key: str | Sequence[str] = (),
        mode: Mode | None = None,
        where: Mapping[str, str] | None = None,
        dataset: str = "",
        ledger: str | os.PathLike[str] | None = None,
        timeout_seconds: float = 60.0,
    ) -> Self:
        """Add the rows to an Iceberg table; a table that is missing is made.

        Each batch is one commit, with its token as a property of the table.

        Args:
            table: The table, as `namespace.name`.
            catalog: The name of a catalogue in pyiceberg's configuration, "default" by default. Or
                its properties: `{"type": "sql", "uri": "sqlite:///…", "warehouse": "file:///…"}`,
                and `"name"`.
            key: The column or columns by which a row replaces older ones. By default rows are only
                added.
            mode: "append" adds rows, and is the default. "merge" is the default with `key=`.
                "replace" takes all rows at once, when the dataset is complete, in the place of all
                that the table holds.
            where: With `mode="replace"`: columns and their values, such as `{"run_date":
                "{run_date}"}`. Only rows with these values are replaced. Columns that the rows lack
                are added. By default all rows are replaced.
            dataset: The name of these rows in tokens; by default the name of the output.
            ledger: If this is the first sink: the output that names the control folder; by default
                `table`.
            timeout_seconds: The longest that an answer of the catalogue may take, in seconds; 60 by
                default.

        Returns:
            A new pipeline with this sink.

        Raises:
            UsageError: `catalog` is an address, a name can't be used, or another sink writes there.
                Nothing was read or written.
        """
        from batten.sinks.lakes.iceberg.sink import IcebergSink

        if isinstance(catalog, str) and "://" in catalog:
            raise usage_error(
                "catalog= is an address, and a text there names a catalogue that is configured.",
                'Give its properties: catalog={"type": "sql", "uri": …, "warehouse": …}.',
            )
        given: dict[str, Any] = {"name": catalog} if isinstance(catalog, str) else dict(catalog)
        sink = IcebergSink(
            table=table,
            catalog=given.pop("name", "default"),
            properties=given,
            **_read_load(key, mode, where),
            timeout_seconds=timeout_seconds,
            dataset=dataset,
        )
        return self._with_sink(sink, as_written(ledger if ledger is not None else table))


def _read_load(
    key: str | Sequence[str], mode: Mode | None, where: Mapping[str, str] | None
) -> dict[str, Any]:
    """How the table takes rows, as its sink says it."""
    from batten.sinks.rows.replacing import read_mode

    columns = (key,) if isinstance(key, str) else tuple(key)
    replaces = read_mode(mode, key=columns, where=where)
    return {"key": columns, "replaces": replaces, "where": dict(where or {})}

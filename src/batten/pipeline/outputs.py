"""Where the rows of a pipeline are written: what follows its steps."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from batten.errors import usage_error
from batten.jobs.definition import Definition
from batten.storage.addresses import as_written, local_path, refuse_address

if TYPE_CHECKING:
    from batten.sinks.base import Sink
    from batten.transactions.transaction import Transaction


class Outputs(Definition):
    """A definition, and the methods that give one with a further sink."""

    def write_parquet(
        self,
        path: str | os.PathLike[str],
        *,
        partition_by: str | Sequence[str] | None = None,
    ) -> Self:
        """Write a folder of Parquet parts, or one file if the path ends with .parquet.

        A part appears whole when its batch is done, in the order of the plan. A single file appears
        as for `write_csv`, and so does a folder with `partition_by`.

        Args:
            path: The folder or the file. It may hold names of parameters, such as `{run_date}`.
            partition_by: A column, or several, by whose values the rows are divided, as hive does:
                `year=2026/month=4/`. By default they are not.

        Returns:
            A new pipeline with this sink.

        Raises:
            UsageError: The path can't be used, or a folder stands after another sink. Nothing was
                read or written.
        """
        written = as_written(path)
        store = None
        if "://" in written:
            from batten.storage.plugin import find_store

            store = find_store(written, self.folder)
        written = written if store is not None else local_path(path)
        if partition_by is not None:
            return self._write_partitions(written, partition_by, is_here=store is None)
        if written.endswith(".parquet"):
            return self._write_file("parquet", written)
        if self.output is not None:
            raise usage_error(
                f"The folder of parts {written!r} stands after another sink.",
                "Put it first, and at most one; other sinks may follow it.",
            )
        if store is not None:
            return replace(self, output=Path("/", store.name), written_output=written, store=store)
        self._check_path(written)
        return replace(self, output=self.folder / written, written_output=written)

    def write_csv(self, path: str | os.PathLike[str]) -> Self:
        """Write one CSV file of all rows, in the order of the plan.

        The file appears whole when the dataset is complete, in the place of an earlier one. The
        same rows give the same bytes. Until then the batches are kept in `<path>.batten/`. A file
        that batten did not write there is never replaced.

        Args:
            path: The file. It may hold names of parameters, such as `out/refunds_{run_date}.csv`.

        Returns:
            A new pipeline with this sink.

        Raises:
            UsageError: The path can't be used, or another sink writes there. Nothing was read or
                written.
        """
        return self._write_file("csv", local_path(path))

    def write_jsonl(self, path: str | os.PathLike[str]) -> Self:
        """Write one file with a JSON object for each row; it appears as for `write_csv`.

        Args:
            path: The file. It may hold names of parameters, such as `{run_date}`.

        Returns:
            A new pipeline with this sink.

        Raises:
            UsageError: The path can't be used, or another sink writes there. Nothing was read or
                written.
        """
        return self._write_file("jsonl", local_path(path))

    def write_tree(
        self,
        root: str | os.PathLike[str],
        *,
        commit: Callable[[Transaction, Any, Any], object],
        dataset: str = "",
        ledger: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Put each item into the live tree `root`, in a transaction of its own.

        The steps prepare items, several at a time, and never touch the tree. Then `commit` puts one
        item after the other into it, under the tree's lock and in the order of the plan. A token in
        the tree keeps an item from being put there twice, however often the run is killed.

        Args:
            root: The folder that is the tree.
            commit: Called as `commit(transaction, item, prepared)`, with a `Transaction`, the item
                of the source, and the dict that the last step gave; after `flat_map` and
                `map_batches` a list of dicts. It does not get items that were filtered or failed.
                If it raises `OutdatedError`, the item is prepared again. If it raises anything
                else, the item is quarantined. After both, nothing of the item is in the tree.
            dataset: The name of these items in tokens; by default the name of the output.
            ledger: If this is the first sink: the output that names the control folder; by default
                `root`.

        Returns:
            A new pipeline with this sink, and with one item in a batch.

        Raises:
            UsageError: `commit` can't be called so, a path can't be used, or another sink writes
                there. Nothing was read or written.
        """
        from batten.sinks.files.tree import TreeSink, check_commit

        check_commit(commit)
        said = self.settings.batch_size
        sink = TreeSink(
            path=self.folder / local_path(root),
            commit=commit,
            dataset=dataset,
            is_many=any(step.kind in ("flat_map", "map_batches") for step in self.steps),
        )
        written = as_written(ledger if ledger is not None else root)
        made = self._with_sink(sink, written)
        return replace(made, settings=replace(self.settings, batch_size=said or 1))

    def write_files(self, pattern: str | os.PathLike[str]) -> Self:
        """Write files, one or more an item, into a folder of their own.

        The last function returns `bytes`; or a stream of them, such as a generator or an open file;
        or the path of a file that it wrote in the folder it was given, as a second parameter called
        `folder`. With `{name}` in the pattern it returns a dict of these, by name. A file appears
        whole when its batch is done. Its size and its SHA-256 are in the accounts.

        Args:
            pattern: How the files are called: `thumbs/{key}.png`. `{key}` stands for the item's
                key, `{stem}` for the key without its suffix, `{name}` for the name of one of
                several. The folder before the first of these belongs to the output. It may hold
                names of parameters, too.

        Returns:
            A new pipeline with this sink. Other sinks may follow, and get a row for each file: the
            key, `file`, `bytes` and `sha256`.

        Raises:
            UsageError: The pattern can't be used, or it stands after another sink. Nothing was read
                or written.
        """
        written = local_path(pattern)
        from batten.model.disk.items.item_names import split_pattern
        from batten.sinks.files.items import FilesSink

        folder, names = split_pattern(written)
        if not folder or not names.tells_items_apart:
            raise usage_error(
                f"{written!r} does not say where the file of each item goes.",
                'Name a folder, and what tells items apart: .write_files("thumbs/{key}.png").',
            )
        if self.output is not None:
            raise usage_error(
                f"The folder of files {folder!r} stands after another sink.",
                "Put it first, and at most one; other sinks may follow it.",
            )
        return self._with_sink(FilesSink(path=self.folder / folder, names=names), folder)

    def write_to(
        self,
        name: str,
        /,
        *arguments: Any,
        ledger: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> Self:
        """Write the rows to a destination that another package brings.

        The package names its sink by an entry point of the group `batten.sinks`. A batch gets there
        once, as into a table of `write_sqlite`.

        Args:
            name: What the package calls its sink.
            *arguments: What the sink takes; see the package.
            ledger: The output that names the job's control folder, where this is the first sink.
                It is by default the first argument, if that is a path.
            **options: What the sink takes by name.

        Returns:
            A new pipeline with this sink.

        Raises:
            UsageError: No installed package brings the sink, the package is broken, or the sink
                can't be made of what it was given. Nothing was read or written.
        """
        from batten.sinks.plugin import declare_sink

        sink = declare_sink(name, self.folder, arguments, options)
        written = ledger if ledger is not None else next(iter(arguments), None)
        if not isinstance(written, str | os.PathLike):
            raise usage_error(
                f".write_to({name!r}) does not say which output names the job's control folder.",
                'Name one: ledger="features".',
            )
        return self._with_sink(sink, as_written(written))

    def _write_file(self, kind: str, written: str) -> Self:
        from batten.sinks.files.file import FileSink

        return self._with_sink(FileSink(path=self.folder / written, kind=kind), written)

    def _write_partitions(
        self, written: str, partition_by: str | Sequence[str], *, is_here: bool
    ) -> Self:
        from batten.sinks.files.hive import HiveSink, read_columns

        columns = read_columns(partition_by)
        if not is_here or written.endswith(".parquet"):
            raise usage_error(
                f"partition_by= makes a folder of this machine, and {written!r} is none.",
                'Name a folder: .write_parquet("visits/", partition_by="day").',
            )
        return self._with_sink(HiveSink(path=self.folder / written, columns=columns), written)

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
            raise usage_error(
                f"{written!r} is not a path that batten can own.",
                'Name a folder or a file of its own: .write_parquet("features/").',
            )

"""The log of a Delta table: what batten reads of it, and the one step that adds an entry.

An entry is a file of its own, numbered without holes. It is made as every file of batten's is:
synced, and put in place without replacing. So of two writers who read the same log only one gets
the number, and what is there after a power cut is whole. The next number is asked for only by who
has read all before it: so a token is checked on the very version that is added to.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batten.errors import BATCHES_KEPT, CorruptError
from batten.model.json_text import parse_json
from batten.storage.base import Folder, Put
from batten.storage.changing.publishing import create, replace
from batten.storage.relative import last_piece

if TYPE_CHECKING:
    import pyarrow as pa

_ENTRY = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\.(?:\d{10}\.(?P<parts>\d{10})\.|.+\.)?parquet")
_HINT = "_last_checkpoint"
_KINDS = ("protocol", "metaData", "txn")
_KINDS_OF_FILES = ("add", "sidecar")

Action = dict[str, Any]


@dataclass(kw_only=True)
class DeltaLog:
    """What the log in `folder` says up to `version`, -1 where there is no table: the last protocol
    and metadata, and the version that each application gave last. `changes` counts the entries
    that set protocol or metadata. `files` are those of the table by path, with what added them;
    none unless `lists_files`."""

    storage: Folder
    folder: str
    lists_files: bool = False
    version: int = -1
    protocol: Action = field(default_factory=dict)
    metadata: Action = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    files: dict[str, Action] = field(default_factory=dict)
    changes: int = 0

    def entry(self, version: int) -> str:
        return f"{self.folder}/{version:020}.json"

    def read_on(self) -> None:
        """Take in what was added since; all, where another table has taken the place of this.

        Raises `CorruptError` if an entry can't be read."""
        if self.version >= 0 and self.storage.find(self.entry(self.version)) is None:
            self.version, self.protocol, self.metadata, self.versions = -1, {}, {}, {}
            self.files = {}
        if self.version < 0:
            self._read_checkpoint()
        while True:
            name = self.entry(self.version + 1)
            try:
                data = self.storage.read(name, bytes_max=None)
            except FileNotFoundError:
                return
            self._take(_decode(name, data))
            self.version += 1

    def append(self, staging: str, actions: Iterable[Action]) -> bool:
        """Whether it became the next entry, whole and durable; False where another has that
        number. `staging` is a folder for throwaway files."""
        lines = (json.dumps(each, separators=(",", ":"), ensure_ascii=False) for each in actions)
        data = "".join(line + "\n" for line in lines).encode()
        return create(self.storage, staging, self.entry(self.version + 1), data) is Put.MADE

    def write_checkpoint(self, staging: str) -> None:
        """Put all that the log says up to this version into one file, so that readers need not read
        every entry. The library makes it of a copy of the log; it is synced before it has its name.
        """
        import deltalake

        names = [last_piece(name) for name in self.storage.list_names(self.folder)]
        begin, files = _find_checkpoint(names) or (-1, [])
        numbers = range(begin + 1, self.version + 1)
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder, "_delta_log")
            log.mkdir()
            for name in (*files, *(last_piece(self.entry(number)) for number in numbers)):
                (log / name).write_bytes(self.storage.read(f"{self.folder}/{name}", bytes_max=None))
            deltalake.DeltaTable(folder).create_checkpoint()
            made = log / f"{self.version:020}.checkpoint.parquet"
            create(self.storage, staging, f"{self.folder}/{made.name}", made.read_bytes())
            hint = (log / _HINT).read_bytes()
            replace(self.storage, staging, f"{self.folder}/{_HINT}", hint)

    def _read_checkpoint(self) -> None:
        names = [last_piece(name) for name in self.storage.list_names(self.folder)]
        found = _find_checkpoint(names)
        if found is None:
            first = min((name for name in names if _ENTRY.fullmatch(name)), default="")
            if first and first != last_piece(self.entry(0)):
                raise unreadable(f"{self.folder}/{first}", ValueError("what is before it is gone"))
            return
        self.version, files = found
        for name in files:
            self._take(self._read_actions(f"{self.folder}/{name}"))

    def _read_actions(self, name: str) -> list[Action]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with self.storage.open(name) as file:
                reader = pq.ParquetFile(file, pre_buffer=False)
                wanted = (*_KINDS, *(_KINDS_OF_FILES if self.lists_files else ()))
                kinds = [kind for kind in wanted if kind in reader.schema_arrow.names]
                table = reader.read(columns=kinds, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise unreadable(name, error) from error
        return [action for kind in kinds for action in _list_actions(table, kind)]

    def _take(self, actions: Sequence[Action]) -> None:
        if self.lists_files:
            self._take_files(actions)
        for action in actions:
            if "txn" in action:
                self.versions[action["txn"]["appId"]] = action["txn"]["version"]
            if "protocol" in action:
                self.protocol = action["protocol"]
                self.changes += 1
            if "metaData" in action:
                self.metadata = action["metaData"]
                self.changes += 1

    def _take_files(self, actions: Sequence[Action]) -> None:
        """An entry may give a file another deletion vector: then it is removed and added."""
        for action in actions:
            if remove := action.get("remove"):
                self.files.pop(remove["path"], None)
        for action in actions:
            if add := action.get("add"):
                self.files[add["path"]] = add
            if sidecar := action.get("sidecar"):
                name = last_piece(sidecar["path"])
                self._take_files(self._read_actions(f"{self.folder}/_sidecars/{name}"))


def _find_checkpoint(names: Sequence[str]) -> tuple[int, list[str]] | None:
    """The last that is whole, and its files."""
    found: dict[tuple[int, int], list[str]] = {}
    for name in names:
        match = _CHECKPOINT.fullmatch(name)
        if match is not None:
            found.setdefault((int(match[1]), int(match["parts"] or 1)), []).append(name)
    whole = [key for key, files in found.items() if len(files) >= key[1]]
    if not whole:
        return None
    version, parts = max(whole)
    return version, sorted(found[version, parts])[:parts]


def _list_actions(table: pa.Table, kind: str) -> list[Action]:
    column = table.column(kind)
    rows = column.filter(column.is_valid()).to_pylist(maps_as_pydicts="strict")
    return [{kind: row} for row in rows]


def _decode(name: str, data: bytes) -> list[Action]:
    try:
        actions = [parse_json(line) for line in data.splitlines() if line.strip()]
    except ValueError as error:
        raise unreadable(name, error) from error
    if not actions or not all(isinstance(action, dict) for action in actions):
        raise unreadable(name, ValueError("no entry of a log"))
    return actions


def unreadable(name: str, error: Exception) -> CorruptError:
    return CorruptError(
        f"{name} can't be read: {error}.",
        safe=f"Nothing was changed; {BATCHES_KEPT}",
        next="Restore the table from a copy, or write to another one.",
    )

"""A source that another package brings: `batten.from_source("name", …)`.

An entry point of the group `batten.sources` names a class (or a module) with `declare(folder,
*arguments, **options)`, which gives the source; relative paths are relative to `folder`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from batten.model.value_class import value_class
from batten.sources.base import Reader, ScanBlock

OWN_SOURCES = {
    name: f"batten.from_{name}(…)"
    for name in ("files", "items", "range", "jsonl", "csv", "parquet", "tables", "landed", "kafka")
}
_NAMED = ("source", "key", "delimiter", "columns")
"""What a fingerprint names of a source. Another name would be taken for code of the steps."""


@value_class
class PluginSource:
    """The `source` that a package brings under `name`. Its identity begins with that name."""

    name: str
    source: Any

    @property
    def identity(self) -> dict[str, str]:
        parts = {str(name): str(value) for name, value in self.source.identity.items()}
        rest = [f"{name}={value}" for name, value in sorted(parts.items()) if name not in _NAMED]
        named = {name: value for name, value in parts.items() if name in _NAMED}
        return {**named, "source": " ".join([self.name, parts.get("source", ""), *rest]).rstrip()}

    @property
    def is_keyed(self) -> bool:
        return bool(self.source.is_keyed)

    @property
    def is_counted(self) -> bool:
        return bool(self.source.is_counted)

    @property
    def drops_gone(self) -> bool:
        return bool(getattr(self.source, "drops_gone", False))

    @property
    def has_kinds(self) -> bool:
        return bool(getattr(self.source, "has_kinds", False))

    @property
    def inputs(self) -> Sequence[Path]:
        return tuple(map(Path, self.source.inputs))

    def count_items(self) -> int | None:
        count: int | None = self.source.count_items()
        return count

    def scan(self) -> Iterator[ScanBlock]:
        yield from self.source.scan()

    def open(self) -> Reader:
        reader: Reader = self.source.open()
        return reader

"""Where on this machine a catalogue of Iceberg keeps its tables, by its properties alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote


def find_places(properties: Mapping[str, object], table: str) -> Iterator[Path]:
    """The database of the catalogue, the warehouse, and the folder of the table in it."""
    if (database := find_database(properties)) is not None:
        yield database
    warehouse = properties.get("warehouse")
    if isinstance(warehouse, str) and (path := _find_local(warehouse)):
        yield Path(path)
        yield Path(path, *table.split("."))


def find_database(properties: Mapping[str, object]) -> Path | None:
    """The file of the catalogue, where SQLite has it."""
    address = properties.get("uri")
    if not isinstance(address, str) or not address.startswith("sqlite"):
        return None
    path = address.partition(":///")[2].partition("?")[0]
    return Path(path) if path and path != ":memory:" else None


def _find_local(location: str) -> str:
    """Empty for what is not on this machine."""
    if location.startswith("file:"):
        return unquote("/" + location.removeprefix("file:").lstrip("/"))
    return "" if "://" in location else location

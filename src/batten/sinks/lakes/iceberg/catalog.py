"""The catalogue of an Iceberg table: found, opened, and its errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from batten.sinks.lakes.iceberg.places import find_database
from batten.storage.local.there import exists

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

_FILES = "batten.sinks.lakes.iceberg.files.SyncedFiles"


def list_errors() -> tuple[type[Exception], ...]:
    """What the library raises where it refuses, which has nothing in common."""
    from pyiceberg import exceptions

    found = [each for each in vars(exceptions).values() if isinstance(each, type)]
    theirs = (each for each in found if issubclass(each, Exception))
    return (ValueError, TypeError, NotImplementedError, *theirs)


def find_catalog(name: str, properties: Mapping[str, str]) -> Catalog | None:
    """The catalogue, or None if its database is not there, or has no tables of a catalogue."""
    database = find_database(properties)
    if database and not exists(database):
        return None
    found = open_catalog(name, properties, init_catalog_tables="false")
    engine: Any = getattr(found, "engine", None)
    if engine is not None:
        from sqlalchemy import inspect

        try:
            is_catalogue = inspect(engine).has_table("iceberg_tables")
        except BaseException:
            found.close()
            raise
        if not is_catalogue:
            found.close()
            return None
    return found


def ensure_catalog(name: str, properties: Mapping[str, str]) -> Catalog:
    """The catalogue, whose tables are made where there are none. Two may do that at once. Then the
    later one is refused, and the tables of the other are there."""
    from sqlalchemy.exc import DBAPIError

    try:
        return open_catalog(name, properties)
    except DBAPIError:
        found = find_catalog(name, properties)
        if found is None:
            raise
        return found


def ensure_namespace(catalog: Catalog, namespace: str) -> None:
    """The same for a namespace."""
    from sqlalchemy.exc import DBAPIError

    try:
        catalog.create_namespace_if_not_exists(namespace)
    except DBAPIError:
        if not catalog.namespace_exists(namespace):
            raise


def open_catalog(name: str, properties: Mapping[str, str], **settings: str) -> Catalog:
    from pyiceberg.catalog import load_catalog

    given = {**properties, **settings, "py-io-impl": _FILES}
    found = load_catalog(name, **given)
    engine: Any = getattr(found, "engine", None)
    if engine is not None and engine.dialect.name == "sqlite":
        from sqlalchemy import event

        event.listen(engine, "connect", _sync_catalog)
        engine.dispose()
    return found


def _sync_catalog(connection: Any, _: object) -> None:
    """What SQLite confirmed stays also where the name of its journal would come back."""
    connection.execute("PRAGMA synchronous = EXTRA")

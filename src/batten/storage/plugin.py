"""A store that another package brings: the output of a job at an address, `drawer://base/features`.

An entry point of the group `batten.stores`, under the scheme of the addresses, names a class (or a
module) with `declare(folder, address)`. That gives the store at an address such as `drawer://base`.
A relative path in it is relative to `folder` (decision 0086).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from batten.errors import usage_error
from batten.model.value_class import value_class
from batten.storage.addresses import find_scheme, has_more_than_a_place
from batten.storage.base import Store
from batten.storage.staged_here import StagedHere, staging_folder


@value_class
class StoreAddress:
    """Where an output lies that is in a store: `name` at `address`, whose relative paths are
    relative to `folder`."""

    scheme: str
    address: str
    name: str
    folder: Path

    @property
    def shown(self) -> str:
        """As the user wrote it."""
        return f"{self.address}/{self.name}"

    def fill(self, fill: Callable[[str], str]) -> StoreAddress:
        return replace(self, address=fill(self.address), name=fill(self.name))

    def open(self, *, is_shared: bool = False) -> Store:
        """What is staged of it lies on this machine, unless it is a folder itself (decision 0108).
        With `is_shared` it lies in the store as well, where workers of other machines find it.
        Raises `UsageError` where no package brings it."""
        from batten.plugins import PluginGroup, declare, load_plugin

        plugin = load_plugin(PluginGroup.STORE, self.scheme, own={})
        store: Store = declare(PluginGroup.STORE, plugin, self.folder, [self.address], {})
        is_staged_there = is_shared or store.folder is not None
        return store if is_staged_there else StagedHere(store, staging_folder())


def find_store(written: str, folder: Path) -> StoreAddress | None:
    """What an address names whose scheme a package brings; None for a path, and for an address that
    nobody brings a store for. Raises `UsageError` for one that names no output."""
    scheme = find_scheme(written)
    if not scheme:
        return None
    from batten.plugins import PluginError, PluginGroup, find_plugin

    try:
        find_plugin(PluginGroup.STORE, scheme)
    except PluginError as error:
        if error.is_unknown:
            return None
        raise usage_error(error.what, error.next) from error
    start, _, rest = written.partition("://")
    if has_more_than_a_place(rest):
        raise usage_error(
            f"An address of {scheme}:// takes a place and a name, without ?, # and @.",
            f"Write {scheme}://place/features, and give credentials by the environment.",
        )
    place, _, name = rest.rstrip("/").rpartition("/")
    if not place or not name:
        raise usage_error(
            f"{written!r} names no output in a store.",
            f"Name the place and the output: {scheme}://place/features",
        )
    address = f"{start}://{place}"
    return StoreAddress(scheme=scheme, address=address, name=name, folder=folder)

"""Listing a folder from some name on, where a store can do that.

Few stores can, so it is no method of `Store`. Who can has a method `list_names_after(folder,
after)`. It gives the names of the folder that come after that text, in the order of their UTF-8
bytes. It may give others as well, and in any order (decision 0135).
"""

from __future__ import annotations

from collections.abc import Iterator

from batten.storage.base import Store


def list_names_after(store: Store, folder: str, after: str) -> Iterator[str]:
    """The names in the folder that come after the text `after`."""
    own = getattr(store, "list_names_after", None)
    names = store.list_names(folder) if own is None else own(folder, after)
    return (name for name in names if name > after)

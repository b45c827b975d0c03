"""An entry while it is made, in a folder that no reader looks at.

From its beginning its manifest is held, shared. The lock tells a sweep that the build is not
abandoned. When the entry takes its place, the lock holds it, without a gap, for the process that
made it.
"""

from __future__ import annotations

from contextlib import suppress

from batten.model.cached.cache_names import FILES, MANIFEST, CacheLayout
from batten.model.cached.manifests import Listing, decode_manifest, encode_listing, encode_value
from batten.storage.changing.publishing import fresh_name
from batten.storage.local import folders
from batten.storage.local.locking.held import Held

_TRIES = 20


class Draft:
    """`path` is the folder; `files` is the folder within it that is to be filled."""

    def __init__(self, layout: CacheLayout, key: str, *, has_files: bool) -> None:
        self.key = key
        self._root = layout.root
        for _ in range(_TRIES):
            self.path = fresh_name(layout.building, key)
            self.files = f"{self.path}/{FILES}"
            try:
                if self._begin(has_files):
                    return
            except BaseException:
                self.discard()
                raise
        raise BlockingIOError(f"{layout.building} is cleared all the time")

    def _begin(self, has_files: bool) -> bool:
        """Whether it is there: until it is held, a sweep of the cache may take it away."""
        folders.make_folder(self.path, below=self._root)
        self.held: Held = folders.create_held(f"{self.path}/{MANIFEST}", below=self._root)
        self.held.wait_lock(is_shared=True)
        if self.held.find_status(f"{self.path}/{MANIFEST}") is None:
            self.held.release()
            return False
        if has_files:
            folders.make_folder(self.files, below=self._root)
        return True

    def seal_files(self, boot: str) -> int:
        """Write the manifest of what is in `files`; gives the size of the entry, or 0 where there
        is no file. Raises `Strange` for what can't be kept."""
        contents = folders.seal_contents(self.files)
        found = [each for each in contents if not each.is_folder]
        if not found:
            return 0
        listing = Listing(
            names=[each.name for each in found],
            sizes=[each.size for each in found],
            digests=[each.digest for each in found],
            folders=[each.name for each in contents if each.is_folder],
        )
        return self._write(encode_listing(listing, boot=boot))

    def seal_value(self, value: bytes, boot: str) -> int:
        """Write the manifest that holds the value; gives the size of the entry."""
        return self._write(encode_value(value, boot=boot))

    def _write(self, manifest: bytes) -> int:
        folders.rewrite(self.held.descriptor, self.path, manifest)
        return decode_manifest(manifest)[0].size

    def discard(self) -> None:
        """Remove it, as far as possible. A sweep will find what is left. In a process that was
        forked meanwhile it does nothing."""
        if hasattr(self, "held"):
            if not self.held.is_open:
                return
            with suppress(OSError):
                self.held.release()
        with suppress(OSError):
            folders.remove_tree(self.path, below=self._root)

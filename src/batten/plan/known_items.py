"""What the plan knows of its items beside their keys: what they were when last looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from batten.errors import CorruptError
from batten.ledger.guarded import taken_over
from batten.model.disk.items.row_digests import DIGEST_BYTES, open_digests
from batten.model.disk.items.versions import (
    VALUES_BYTES_MAX,
    Versions,
    bound_versions,
    decode_values,
    decode_versions,
)
from batten.model.disk.names import Layout
from batten.model.disk.records import Segment
from batten.storage.base import Store


class KnownItems:
    """Reads it, by the number of a segment. `revised`: see `Plan`."""

    def __init__(
        self,
        storage: Store,
        layout: Layout,
        segments: Sequence[Segment],
        revised: Mapping[str, str],
    ) -> None:
        self._storage, self._layout = storage, layout
        self._segments, self._revised = segments, revised

    def load_digests(self, number: int) -> bytes | None:
        name = self._layout.segment_digests(number)
        try:
            data = self._storage.read(name)
        except FileNotFoundError:
            return None
        digests = open_digests(data)
        if digests is None or len(digests) != self._segments[number].items * DIGEST_BYTES:
            raise _damaged(name, "it: then the rows of now are taken for those that were planned.")
        return digests

    def load_versions(self, number: int) -> Versions | None:
        name = self._name_versions(number)
        try:
            items = self._segments[number].items
            data = self._read_revised(name, bound_versions(items))
        except FileNotFoundError:
            return None
        found = decode_versions(data, self._segments[number].items)
        if found is None:
            raise _damaged(
                name,
                "it: then the items of now are taken for those that were planned, and none of them "
                "counts as changed.",
            )
        return found

    def load_values(self, number: int) -> dict[int, bytes]:
        name = self._layout.segment_values(number, self._segments[number].keys_digest)
        try:
            data = self._read_revised(name, VALUES_BYTES_MAX)
        except FileNotFoundError:
            return {}
        found = decode_values(data)
        if found is None:
            raise _damaged(
                name,
                f"it and {self._name_versions(number)}: then the items of now are taken for those "
                "that were planned.",
            )
        return found

    def _name_versions(self, number: int) -> str:
        return self._layout.segment_versions(number, self._segments[number].keys_digest)

    def _read_revised(self, name: str, bytes_max: int) -> bytes:
        """Raises `BusyError` if it is not what was seen when the plan was: another run goes by what
        it knows now."""
        got = self._storage.get(name, bytes_max=bytes_max)
        if name in self._revised and got.version != self._revised[name]:
            raise taken_over(self._storage, name)
        return got.data


def _damaged(name: str, what: str) -> CorruptError:
    """`what` may be deleted, and what follows."""
    return CorruptError(
        f"The plan can't be read: {name} was damaged.",
        safe="Nothing was changed.",
        next=f"Restore {name} from a copy; or delete {what}",
    )

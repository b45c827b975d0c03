"""The dataset that another was made of: what was seen of it, and what it is now (decision 0093)."""

from __future__ import annotations

from batten.errors import StorageError
from batten.model.disk.bounds import RECORD_BYTES_MAX
from batten.model.disk.looked import LookedUpstream
from batten.model.disk.names import Layout
from batten.model.disk.published import Published
from batten.model.disk.records import Unreadable, decode_record
from batten.storage.base import Store


def load_looked(storage: Store, layout: Layout) -> LookedUpstream | None:
    """What was seen of the dataset upstream; None where there is none, or the record can't be read:
    all can be seen again."""
    try:
        data = storage.read(layout.upstream, bytes_max=RECORD_BYTES_MAX["upstream"])
        return decode_record(LookedUpstream, data)
    except (FileNotFoundError, StorageError, Unreadable):
        return None


def list_digests(claim: Published) -> list[str]:
    """Those under which the rows of a batch were seen: that of its part of now first, then those
    that it had with fewer columns (decision 0116)."""
    return [str(claim.digest), *filter(None, claim.widens.split(","))]

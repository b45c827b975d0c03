"""Items that batten 0.1 pickled into a plan are read only if nobody else could have put them there.

To read a pickle runs what it says (decision 0036).
"""

from __future__ import annotations

import hashlib

from batten.errors import RefusedError
from batten.model.disk.names import Layout
from batten.model.disk.records import Segment
from batten.model.telling.commands import quote
from batten.storage.base import Store
from batten.storage.failures import reading_failure
from batten.storage.local.owner_rule import NotOwned, read_owned


def require_owned(storage: Store, layout: Layout, segment: Segment) -> None:
    """Raises `RefusedError`, unless only oneself or root can have written the keys file."""
    name = layout.segment_keys(segment.number, segment.keys_digest)
    try:
        data = read_owned(storage.place, name, above=layout.control)
        if hashlib.sha256(data).hexdigest() != segment.keys_digest:
            raise NotOwned(f"{name} is not what it was a moment ago")
    except NotOwned as error:
        control = quote(f"{storage.place}/{layout.control}")
        raise RefusedError(
            f"{name} holds items as batten 0.1 kept them, which can run code: {error}.",
            safe="Nothing was changed, and none of these items was read.",
            next="Give from_items a list of the items, which is read in the place of these. Or "
            "if you trust all who could write there, make it yours: "
            f"chown -R $(id -u) {control} && chmod -R go-w {control}",
        ) from error
    except OSError as error:
        raise reading_failure(error, "Reading", name) from error

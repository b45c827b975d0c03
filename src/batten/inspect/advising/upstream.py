"""The dataset that a finalized one is made of, and whether it is behind that: then it is STALE.

Decision 0042 says why.
"""

from __future__ import annotations

import os

from batten.errors import BattenError
from batten.inspect.advising.again import find_begun, find_path
from batten.inspect.output_path import Place
from batten.ledger.facts.locating import find_layout
from batten.ledger.facts.observation import Observation
from batten.model.disk.fingerprints import FINALIZED_FROM
from batten.model.disk.records import Completion, Config, Unreadable, decode_record
from batten.storage.local.folder import LocalStorage


def is_finalized(config: Config | None) -> bool:
    """Whether it is made by `.finalize()` of another dataset."""
    return config is not None and FINALIZED_FROM in config.fingerprint.parts


def find_origin(place: Place, observation: Observation) -> Place:
    """Where those runs keep their logs that make the output: of a finalized dataset, at the first
    one."""
    config = observation.config or find_begun(place, observation)
    if config is None or not is_finalized(config):
        return place
    return _locate_first(place, config)


def _locate_first(place: Place, config: Config) -> Place:
    written = config.fingerprint.parts[FINALIZED_FROM]
    path = os.path.normpath(os.path.join(os.path.dirname(find_path(place)), written))
    folder, name = os.path.split(path)
    storage, shown = LocalStorage(folder), place.show(written)
    return Place(
        storage=storage,
        layout=find_layout(storage, name),
        path=shown,
        folder=shown[: -len(name)] if name and shown.endswith(name) else "",
    )


def tell_behind(place: Place, observation: Observation) -> str:
    """Why a finalized dataset is not made of the first one as it is now. Empty if it is, or if
    nobody can know. The digests of all parts are read only where the accounts of the first were
    closed no earlier than its own."""
    config, own = observation.config, observation.completion
    if config is None or own is None or not is_finalized(config):
        return ""
    from batten.ledger.contents import digest_contents

    try:
        found = _locate_first(place, config)
        storage, layout, shown = found.storage, found.layout, found.path
        if storage.find(layout.config) is None:
            return ""
        if storage.find(layout.complete) is None:
            return f"it was finalized from {shown}, which has changed since and is not complete"
        first = decode_record(Completion, storage.read(layout.complete))
        if first.time < own.time:
            return ""
        data = digest_contents(storage, layout, len(first.part_sizes), shown)
    except (BattenError, OSError, Unreadable):
        return ""
    is_same = data == config.fingerprint.parts.get("data")
    return "" if is_same else f"it was finalized from {shown}, which has changed"

"""The dataset that another one is made of, and whether it is behind that: then it is STALE.

It was finalized from that one, or has it as its source (decisions 0042, 0093).
"""

from __future__ import annotations

import os
from dataclasses import replace

from batten.errors import BattenError
from batten.inspect.advising.again import find_begun, find_path
from batten.inspect.paths.output_path import Place, locate_output
from batten.ledger.facts.locating import find_layout
from batten.ledger.facts.observation import Observation
from batten.ledger.upstream import list_digests, load_looked
from batten.model.disk.fingerprints import FINALIZED_FROM
from batten.model.disk.looked import LookedUpstream
from batten.model.disk.records import Completion, Config, Unreadable
from batten.model.disk.runs.job_calls import BATTEN
from batten.model.telling.commands import as_path
from batten.model.telling.counts import count_of
from batten.model.value_class import value_class
from batten.storage.addresses import find_scheme
from batten.storage.local.folder import LocalStorage

WITH_UPSTREAM = "--with-upstream"


@value_class
class Behind:
    """Why an output is not made of what is there now. A run needs `options` then. `first` says what
    has to be done before, in words. `is_gone`: nothing newer can be had."""

    reason: str
    options: tuple[str, ...] = ()
    first: str = ""
    is_gone: bool = False


def is_finalized(config: Config | None) -> bool:
    """Whether it is made by `.finalize()` of another dataset."""
    return config is not None and FINALIZED_FROM in config.fingerprint.parts


def find_origin(place: Place, observation: Observation) -> Place:
    """Where those runs keep their logs that make the output: of a finalized dataset, at the first
    one."""
    config = observation.config or find_begun(place, observation)
    if config is None or not is_finalized(config):
        return place
    return _locate(place, config.fingerprint.parts[FINALIZED_FROM])


def find_upstream(place: Place, observation: Observation) -> Place | None:
    """Where the dataset lies that this one is made of; None if it is made of something else."""
    config = observation.config
    if config is not None and is_finalized(config):
        return _locate(place, config.fingerprint.parts[FINALIZED_FROM])
    looked = load_looked(place.storage, place.layout)
    return None if looked is None else _locate(place, looked.path)


def _locate(place: Place, written: str) -> Place:
    """What is written leads there from the folder of the output, or is an address."""
    if find_scheme(written):
        return locate_output(written)
    if place.storage.local is None and os.path.isabs(written):
        return locate_output(written)
    path = os.path.normpath(os.path.join(os.path.dirname(find_path(place)), written))
    folder, name = os.path.split(path)
    storage, shown = LocalStorage(folder), place.show(written)
    return Place(
        storage=storage,
        layout=find_layout(storage, name),
        path=shown,
        folder=shown[: -len(name)] if name and shown.endswith(name) else "",
    )


def find_behind(place: Place, observation: Observation) -> Behind | None:
    """None if a complete dataset is made of what is there now, or if nobody can know."""
    config, own = observation.config, observation.completion
    if config is None or own is None:
        return None
    try:
        if is_finalized(config):
            return _compare_first(place, config, own)
        looked = load_looked(place.storage, place.layout)
        behind = _compare_looked(place, looked) if looked else _tell_lost(place, config)
    except (BattenError, OSError, Unreadable):
        return None
    if behind is not None and behind.options and config.call.kind != BATTEN:
        return replace(behind, options=(), first="make that one complete")
    return behind


def _tell_lost(place: Place, config: Config) -> Behind | None:
    """A complete dataset that is made of another one keeps what it saw of that, in a folder."""
    kind, _, written = config.fingerprint.parts.get("source", "").partition(" ")
    if kind != "dataset" or place.storage.folder is None:
        return None
    return Behind(reason=f"what was seen of its source {written} is lost")


def _compare_first(place: Place, config: Config, own: Completion) -> Behind | None:
    """The digests of all parts are read only where the accounts of the first were closed no earlier
    than its own."""
    from batten.ledger.contents import digest_contents, find_contents

    found = _locate(place, config.fingerprint.parts[FINALIZED_FROM])
    storage, layout, shown = found.storage, found.layout, found.path
    if storage.find(layout.config) is None:
        return None
    made = f"it was finalized from {shown}, which has changed"
    first = find_contents(storage, layout)
    if first is None:
        return Behind(reason=f"{made} since and is not complete")
    # Machines that write to a store have clocks of their own.
    is_shared = layout.is_shared or place.layout.is_shared
    if not is_shared and first.completion.time < own.time:
        return None
    data = digest_contents(storage, layout, first, shown)
    return None if data == config.fingerprint.parts.get("data") else Behind(reason=made)


def _compare_looked(place: Place, looked: LookedUpstream) -> Behind | None:
    """Records of batches are read only where another record closes the accounts upstream."""
    from batten.ledger.contents import find_contents, load_commits

    found = _locate(place, looked.path)
    storage, layout, shown = found.storage, found.layout, found.path
    if storage.find(layout.config) is None:
        return Behind(
            reason=f"it was made of {shown}, which is gone",
            first=f"bring back {as_path(shown)}, with {as_path(shown.rstrip('/'))}.batten",
            is_gone=True,
        )
    contents = find_contents(storage, layout)
    if contents is None:
        reason = f"it was made of {shown}, which has changed since and is not complete"
        return Behind(reason=reason, options=(WITH_UPSTREAM,))
    if contents.state == looked.complete:
        return None
    now = [list_digests(claim) for claim in load_commits(storage, layout, contents, shown)]
    before = [batch.digest.partition(" ")[0] for batch in looked.batches]
    count = max(len(now), len(before))
    changed = count - sum(was in batch for was, batch in zip(before, now, strict=False))
    if not changed:
        return None
    batches = count_of(count, "batch", "batches")
    are = "is" if changed == 1 else "are"
    return Behind(
        reason=f"it was made of {shown}, of which {changed} of {batches} {are} new or changed",
        # That one may be behind in its turn.
        options=(WITH_UPSTREAM,) if load_looked(storage, layout) is not None else (),
    )

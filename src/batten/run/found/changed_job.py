"""Whether a job has changed since it made a dataset: its code, its settings or its source."""

from __future__ import annotations

from batten.fingerprint.descriptions import combine
from batten.ledger.facts.observation import Observation
from batten.model.disk.fingerprints import difference
from batten.model.disk.records import Fingerprint
from batten.run.context import Context
from batten.run.identity import LAYOUT_PARTS, is_of_code


def is_same_job(context: Context, recorded: Fingerprint, fingerprint: Fingerprint) -> bool:
    """Whether a dataset was made by what would go on with it, told as now or as batten 0.1."""
    return recorded.digest in list_fingerprints(context, fingerprint)


def list_fingerprints(context: Context, fingerprint: Fingerprint) -> tuple[str, ...]:
    """The digests that stand for it: that of now, and that of batten 0.1."""
    before = [context.identity.before.digest] if context.identity is not None else []
    return (fingerprint.digest, *before)


def list_works(context: Context, work: Fingerprint) -> tuple[str, ...]:
    """The same for the fingerprint of the work alone."""
    before = [context.identity.work_before.digest] if context.identity is not None else []
    return (work.digest, *before)


def tell_difference(context: Context, recorded: Fingerprint, fingerprint: Fingerprint) -> list[str]:
    """What differs between a dataset and what would go on with it, in lines for people."""
    lines = difference(recorded, fingerprint)
    if context.identity is None:
        return lines
    # A record that batten 0.1 kept is nearer to what 0.1 would keep now.
    before = difference(recorded, context.identity.before, like=fingerprint)
    return min(lines, before, key=len)


def is_other_code(observation: Observation, fingerprint: Fingerprint) -> bool:
    """Whether what differs is of the functions, and neither source nor settings."""
    old = observation.config.fingerprint.parts if observation.config is not None else {}
    names = {
        name for name in {*old, *fingerprint.parts} if old.get(name) != fingerprint.parts.get(name)
    }
    return all(map(is_of_code, names))


def is_blank(context: Context, observation: Observation, fingerprint: Fingerprint) -> bool:
    """Whether nothing was published, and what is staged is of use, or nothing is: then a change
    neither mixes nor loses anything."""
    config = observation.config
    if config is None or observation.completion is not None:
        return False
    if observation.parts or observation.early:
        return False
    if not observation.staged:
        return True
    work = {n: v for n, v in config.fingerprint.parts.items() if n not in LAYOUT_PARTS}
    now = {n: v for n, v in fingerprint.parts.items() if n not in LAYOUT_PARTS}
    return combine(work, {}).digest in list_works(context, combine(now, {}))

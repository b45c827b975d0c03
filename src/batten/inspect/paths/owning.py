"""The lock and the refusals that the commands which change something share."""

from __future__ import annotations

from batten.errors import RefusedError
from batten.inspect.paths.output_path import Place
from batten.ledger.facts.observation import Observation
from batten.ledger.judge import Judgement, judge
from batten.model.words import State
from batten.storage.base import Lock
from batten.storage.local.locking.output_lock import take_lock


def hold_lock(place: Place, observation: Observation) -> Lock:
    """The lock of an output that is batten's; raises `BusyError`, or `RefusedError` for another."""
    refuse_unknown(place, judge(observation))
    return take_lock(place.storage, place.layout, place.path)


def refuse_pending(place: Place, judgement: Judgement) -> None:
    """Raises `RefusedError` while a change is half made: what is there is neither old nor new. Also
    while names are not durable: a power cut could take them."""
    if judgement.verdict.state is State.RECOVERY_PENDING:
        if place.storage.find(place.layout.unsynced) is not None:
            raise RefusedError(
                f"{place.show(place.layout.unsynced)}: a sync of the output's folders failed.",
                safe="Nothing was changed, and nothing was looked at: a power cut could take some.",
                next=f"Make it durable first: {place.command('recover')}",
            )
        raise RefusedError(
            f"{place.show(place.layout.replacing)}: a change was begun and not finished.",
            safe="Nothing was changed, and nothing was looked at: it may be half old and half new.",
            next=f"Finish the change first: {place.command('recover')}",
        )


def refuse_unknown(place: Place, judgement: Judgement) -> None:
    """Raises `RefusedError` for what is not batten's, or of a newer one."""
    if judgement.verdict.state is State.UNKNOWN:
        first = judgement.findings[0]
        raise RefusedError(
            f"{place.show_found(first)}: {first.evidence}.",
            safe="Nothing was changed.",
            next=f"{first.safe_action[:1].upper()}{first.safe_action[1:]}.",
        )

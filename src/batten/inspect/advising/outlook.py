"""Whether the next run is likely to end as the last one did.

Or it may end for a cause that is there now (decision 0030).
"""

from __future__ import annotations

from enum import StrEnum

from batten.inspect.advising.last_end import Evidence
from batten.model.value_class import value_class
from batten.sources.inputs import Input

_KILL = "SIGKILL"
"""How the kernel ends what it finds no memory for, in the words of the run that saw it."""


class Likelihood(StrEnum):
    """Of the next run ending as the last one did, or for a cause that is there now."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@value_class
class Outlook:
    """Whether the next run is likely to fail, and why that is thought."""

    likelihood: Likelihood
    because: str


NOTHING_TO_RUN = Outlook(likelihood=Likelihood.NO, because="there is nothing to run")


def foresee(evidence: Evidence | None, inputs: tuple[Input, ...]) -> Outlook:
    """Whether the next run is likely to fail: the first of these that holds."""
    unreadable = [each for each in inputs if not each.is_readable]
    if unreadable:
        return Outlook(
            likelihood=Likelihood.YES, because=f"the input can't be read: {unreadable[0].path}"
        )
    if evidence is None:
        return Outlook(likelihood=Likelihood.UNKNOWN, because="no run is logged")
    for likelihood, holds, because in (
        (Likelihood.YES, evidence.disk, evidence.disk),
        (
            Likelihood.YES,
            evidence.refusal,
            "unless what stopped the last run at its start is mended",
        ),
        (
            Likelihood.YES,
            evidence.memory_kills and (evidence.end or _KILL in evidence.error),
            "memory ran out; use fewer --jobs, or set --memory-max, which names the item",
        ),
        (Likelihood.NO, evidence.signal, "it was told to stop"),
        (
            Likelihood.UNKNOWN,
            evidence.has_paused,
            "it stopped in good order; what it said tells when to go on",
        ),
        (Likelihood.YES, evidence.error, "unless the cause of its error is mended"),
        (Likelihood.NO, evidence.has_restarted, "the machine was restarted under it"),
        (
            Likelihood.UNKNOWN,
            evidence.end and evidence.in_hand,
            "nothing tells what killed it; an item in hand at three such ends is quarantined",
        ),
        (Likelihood.UNKNOWN, evidence.was_killed, "nothing tells what killed it"),
        (Likelihood.UNKNOWN, evidence.end, "nothing tells what ended it"),
    ):
        if holds:
            return Outlook(likelihood=likelihood, because=because)
    return Outlook(likelihood=Likelihood.NO, because="the last run that is logged ended well")

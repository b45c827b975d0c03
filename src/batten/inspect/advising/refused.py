"""The ways on where the last run was refused, and the same command would be refused again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from batten.inspect.advising.again import Again, choose_again, find_begun, find_path
from batten.inspect.advising.upstream import find_origin
from batten.inspect.paths.output_path import Place
from batten.ledger.facts.observation import Observation
from batten.ledger.facts.observe import observe_output
from batten.ledger.history.runs import find_refusal
from batten.model.disk.destinations.delivery import find_kept
from batten.model.disk.runs.job_calls import UNKNOWN_CALL, JobCall
from batten.model.disk.runs.refusals import CAUSES, COSTS, Cause, Refusal, Way
from batten.model.rules.findings import ELSEWHERE
from batten.model.value_class import value_class


@value_class
class Choice:
    """A command by which one goes on, or in words how to; and what it `does`."""

    next: str
    does: str


@value_class
class Refused:
    """`told` is why, `undo` what makes the same command right again; `choices` are the other ways
    on, the safest first. `warning` is what to know before a way is taken."""

    told: str
    undo: str
    choices: tuple[Choice, ...]
    warning: str = ""

    @property
    def next(self) -> str:
        """The safest way on; where there is none, what to undo."""
        return self.choices[0].next if self.choices else f"{self.undo}; or {ELSEWHERE}"


def find_refused(place: Place, observation: Observation) -> Refused | None:
    """Why the last run was refused, if it was and the next would be too."""
    origin = find_origin(place, observation)
    log = find_refusal(origin.storage, origin.layout)
    refusal = log.refusal if log is not None else None
    if refusal is None:
        return None
    if origin is not place:
        place, observation = origin, observe_output(origin.storage, origin.layout)
    config = observation.config or find_begun(place, observation)
    own = config.call if config is not None else UNKNOWN_CALL
    asked = refusal.call or own
    choices: list[Choice] = []
    made = choose_again(own, find_path(place))
    if refusal.cause is Cause.JOB and made.line and not _is_same_job(own, asked):
        choices.append(Choice(next=made.line, does="goes on by the job that made what is there"))
    ways = list(_list_ways(place, observation, refusal, asked))
    choices += [Choice(next=again.told, does=COSTS[way]) for way, again in ways]
    texts = CAUSES[refusal.cause]
    return Refused(
        told=texts.told,
        undo=texts.undo,
        choices=tuple(choices),
        warning=next((again.warning for _, again in ways if again.warning), ""),
    )


def tell_refused(refused: Refused) -> Iterator[str]:
    """The ways on as hints, of an output at which nothing need be done."""
    for choice in refused.choices:
        yield f"if that is to stay: {choice.next} ({choice.does})"


def _list_ways(
    place: Place, observation: Observation, refusal: Refusal, call: JobCall
) -> Iterator[tuple[Way, Again]]:
    """Those that are not refused in their turn."""
    for way in refusal.ways:
        if way is not Way.FRESH or not find_kept(observation.deliveries):
            yield way, choose_again(call, find_path(place), *way.options)


def _is_same_job(one: JobCall, other: JobCall) -> bool:
    """Whether both are one job with the same parameters. Its code may have changed."""
    told = [
        replace(call, folder="", digest="", output="", is_relative=False, options={})
        for call in (one, other)
    ]
    return one == UNKNOWN_CALL or told[0] == told[1]

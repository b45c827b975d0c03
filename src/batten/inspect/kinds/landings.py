"""A folder that `batten.land` fills, told by its files: it has no plan and is never finished."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from batten.errors import RefusedError
from batten.inspect.advising.words_of_states import Kind, LandingFacts, say
from batten.inspect.diagnosis import NO_RUN, Diagnosis
from batten.inspect.paths.output_path import Place
from batten.ledger.facts.observation import Observation
from batten.model.disk.landed import LandedFile, find_landed
from batten.model.rules.findings import Code
from batten.model.rules.states import Damage, Facts, Ground, decide_state
from batten.model.telling.counts import count_of


def list_landed_files(observation: Observation) -> list[LandedFile]:
    """The files, in order, where the output holds nothing else and nothing was planned for it."""
    if observation.config is not None or observation.segments or observation.parts:
        return []
    start = len(observation.layout.output) + 1
    odd = [finding for finding in observation.findings if finding.code is not Code.FOREIGN_FILE]
    found = [find_landed(finding.path[start:]) for finding in observation.findings]
    files = [file for file in found if file is not None]
    return sorted(files) if not odd and len(files) == len(found) else []


def refuse_landing(place: Place, observation: Observation) -> None:
    """Raises `RefusedError` for a folder of landed items, of which no job recorded anything."""
    if list_landed_files(observation):
        raise RefusedError(
            f"{place.path} holds landed items for jobs to read: there is no dataset.",
            safe="Nothing was changed.",
            next=f"See what was landed: {place.command('diagnose')}",
        )


def describe_landing(
    place: Place, observation: Observation, files: Sequence[LandedFile], plain: Diagnosis
) -> Diagnosis:
    """What `plain`, the diagnosis of an output without a plan, is for a landing."""
    twice = [pair for pair in pairwise(files) if pair[1].first <= pair[0].last]
    verdict = decide_state(
        Facts(
            ground=Ground.OURS,
            is_locked=observation.holder is not None,
            damage=Damage.INCONSISTENT if twice else Damage.NONE,
            has_journal=False,
            is_complete=True,
            has_orphans=bool(observation.staging),
        )
    )
    facts = LandingFacts(
        path=place.path,
        files=len(files),
        first=files[0].first,
        last=files[-1].last,
        twice=tuple(file.name for file in twice[0]) if twice else (),
    )
    said = say(Kind.LANDING, verdict.state, facts)
    return replace(
        plain,
        state=verdict.state,
        action=verdict.action,
        exit_code=verdict.exit_code,
        reason=said.why,
        next=said.next,
        risky=said.risky,
        readers=f"{count_of(len(files), 'file')}, each whole",
        hints=tuple(_tell_gaps(files)),
        next_run=NO_RUN,
        findings=(),
    )


def _tell_gaps(files: Sequence[LandedFile]) -> Iterator[str]:
    gaps = [
        f"{before.last + 1} to {after.first - 1}"
        for before, after in pairwise(files)
        if after.first > before.last + 1
    ]
    if gaps:
        more = f" and {len(gaps) - _GAPS_SHOWN} more" if len(gaps) > _GAPS_SHOWN else ""
        told = ", ".join(gaps[:_GAPS_SHOWN]) + more
        yield f"no file holds the offsets {told}: the stream skipped them, or a file is gone"


_GAPS_SHOWN = 3

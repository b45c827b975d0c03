"""The facts of a job's output that the words of its state are made of, and what its readers see."""

from __future__ import annotations

from collections.abc import Sequence

from batten.errors import StorageError
from batten.inspect.advising.again import Again
from batten.inspect.advising.made_files import find_unmade, list_tables
from batten.inspect.advising.refused import Refused
from batten.inspect.advising.words_of_states import JobFacts
from batten.inspect.paths.output_path import Place
from batten.ledger.facts.observation import Observation, find_own_file
from batten.ledger.judge import Judgement
from batten.model.rules.findings import MADE_AGAIN, Code, Finding, Severity, find_blocking
from batten.model.telling.counts import count_of
from batten.model.telling.sizes import show_bytes
from batten.model.words import State


def gather_facts(
    place: Place,
    observation: Observation,
    judgement: Judgement,
    again: Again,
    refused: Refused | None,
    behind: str,
) -> JobFacts:
    """`again` is how to run the job; `refused` tells of its last run, where the next would be
    refused too; `behind` of what is newer."""
    config, segments = observation.config, observation.segments
    findings = judgement.findings
    undelivered = [f for f in findings if f.code in MADE_AGAIN | {Code.UNDELIVERED}]
    blocking = find_blocking(findings)
    advice = blocking.advise(place.path, observation.deliveries) if blocking is not None else ""
    return JobFacts(
        path=place.path,
        control=place.control,
        again=refused.next if refused is not None else again.told,
        refused=refused.told if refused is not None else "",
        elsewhere=again.words if again.elsewhere else "",
        worst=_tell_worst(place, judgement.verdict.state, findings),
        blocking=f"{place.show_found(blocking)}: {advice}" if blocking is not None else "",
        codes=frozenset(finding.code for finding in findings),
        items=judgement.accounts,
        is_planned=config is not None and bool(segments),
        is_limited=bool(segments) and segments[-1].is_limited,
        undelivered=_tell(place, undelivered[0]) if undelivered else "",
        unmade=find_unmade(place, observation),
        has_own_file=find_own_file(observation.layout, config) in observation.placed,
        tables=len(list_tables(observation)),
        has_accepted_changes=config is not None and bool(config.earlier_fingerprints),
        orphans=len(judgement.orphans),
        is_unsynced=observation.is_unsynced,
        behind=behind,
    )


def _tell(place: Place, finding: Finding) -> str:
    return f"{place.show_found(finding)}: {finding.evidence}"


def _tell_worst(place: Place, state: State, findings: Sequence[Finding]) -> str:
    """Names the first finding of the severity that decides the state, and counts the others."""
    severity = _DECIDES.get(state)
    worst = [finding for finding in findings if finding.severity is severity]
    if not worst:
        return ""
    more = f"; and {count_of(len(worst) - 1, 'more finding')}" if len(worst) > 1 else ""
    return f"{_tell(place, worst[0])}{more}"


_DECIDES = {
    State.INCONSISTENT: Severity.INCONSISTENT,
    State.CORRUPT: Severity.CORRUPT,
    State.UNKNOWN: Severity.UNKNOWN,
}


def tell_readers(place: Place, observation: Observation, judgement: Judgement) -> str:
    """What a reader who knows nothing of batten finds at the output."""
    try:
        output = place.storage.find(observation.layout.output)
    except StorageError as error:
        return f"what this user may not: {error.what.rstrip('.')}"
    if output is None:
        return "nothing: it is not there"
    if not output.is_folder:
        return f"a file of {show_bytes(output.size)}"
    if judgement.verdict.state in (State.INCONSISTENT, State.CORRUPT):
        return "what is damaged: keep them from it"
    if judgement.verdict.state in (State.UNKNOWN, State.RECOVERY_PENDING):
        return "what lies there now"
    rows, parts = judgement.rows, len(observation.parts)
    told = f"{count_of(rows, 'row')} in {count_of(parts, 'part')}, each whole"
    return told if parts else "an empty folder"

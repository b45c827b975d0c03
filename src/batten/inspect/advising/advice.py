"""What is said of an output that was judged.

It says why the output is in this state, what to do next, what not to do, and what its readers see
(decision 0039).
"""

from __future__ import annotations

from collections.abc import Iterable

from batten.errors import StorageError
from batten.inspect.advising.again import Again
from batten.inspect.advising.made_files import list_tables, tell_file_risk, tell_unmade
from batten.inspect.advising.refused import Refused
from batten.inspect.output_path import Place
from batten.ledger.facts.observation import Observation
from batten.ledger.judge import Judgement
from batten.model.rules.findings import Code, Finding, Severity
from batten.model.telling.counts import count_of
from batten.model.telling.sizes import show_bytes
from batten.model.words import State

UNRECOVERABLE = frozenset(
    {
        Code.MISSING_CONFIG,
        Code.UNREADABLE_CONFIG,
        Code.UNREADABLE_SCHEMA,
        Code.UNREADABLE_PLAN,
        Code.PLAN_GAP,
        Code.UNREADABLE_FOLDER,
        Code.UNREADABLE_REPLACING,
        Code.BEYOND_PLAN,
        Code.STRAY_FILE,
        Code.CHANGED_FILE,
        Code.LOST_DELIVERY,
        Code.LOST_TABLE,
        Code.LACKING_ROWS,
        Code.UNREADABLE_FILE,
        Code.UNREADABLE_DELIVERY,
    }
)
"""What `recover` can't mend."""


def find_blocking(findings: Iterable[Finding]) -> Finding | None:
    """The first that has to be mended by hand before `recover` can do anything."""
    return next((finding for finding in findings if finding.code in UNRECOVERABLE), None)


def name_next(
    place: Place,
    observation: Observation,
    judgement: Judgement,
    again: Again,
    refused: Refused | None = None,
) -> str:
    """The command to run, or what to do by hand; `again` is how to run the job,
    `refused` tells of its last run, where the next would be refused too."""
    match judgement.verdict.state:
        case State.NEW:
            return again.told
        case State.RUNNING:
            return f"when it has ended: {place.command('diagnose')}"
        case State.INTERRUPTED:
            return again.told if refused is None or again.elsewhere else refused.next
        case State.STALE:
            return again.told
        case State.COMPLETE:
            return place.command("show")
        case State.COMPLETE_WITH_ORPHANS:
            return place.command("clean")
        case State.RECOVERY_PENDING:
            return place.command("recover")
        case State.INCONSISTENT | State.CORRUPT:
            if again.elsewhere:
                return again.words
            blocking = find_blocking(judgement.findings)
            if blocking is None:
                return place.recover_command()
            advice = blocking.advise(place.path, observation.deliveries)
            return f"{place.show(blocking.path)}: {advice}"
        case State.UNKNOWN:
            return _look_by_hand(place, judgement.findings)


def _look_by_hand(place: Place, findings: Iterable[Finding]) -> str:
    codes = {finding.code for finding in findings}
    if Code.UNREADABLE_PLACE in codes:
        return f"make it readable for this user, then: {place.command('diagnose')}"
    if Code.LINKED_FILE in codes:
        return f"remove the link {place.path}, or have the job write where it leads; then run"
    if Code.NEWER_FORMAT in codes:
        return f"use the newer batten that wrote it: {place.command('diagnose')}"
    return f"look at {place.path} by hand"


def name_risk(place: Place, observation: Observation, judgement: Judgement) -> str:
    """What not to do."""
    items = judgement.accounts
    control = place.control
    if judgement.verdict.state is State.INTERRUPTED and list_tables(observation):
        return tell_file_risk(place, observation)
    finished = items.committed + items.filtered + items.quarantined + items.staged
    again = f"deleting {control}: {count_of(finished, 'finished item')} would be computed again"
    return {
        State.NEW: "nothing",
        State.RUNNING: f"deleting or changing anything in {place.path} or {control} meanwhile",
        State.INTERRUPTED: again if finished else "nothing",
        State.COMPLETE: f"deleting {control}: the output could not be verified or extended",
        State.COMPLETE_WITH_ORPHANS: "running the job from scratch: everything is there already",
        State.RECOVERY_PENDING: (
            "trusting it before that: a power cut could still take what is there"
            if observation.is_unsynced
            else f"deleting {control}: the replacement could not be finished"
        ),
        State.INCONSISTENT: f"using {place.path} as it is, or deleting {control}, the evidence",
        State.CORRUPT: f"using {place.path} as it is, or deleting {control}, the evidence",
        State.UNKNOWN: "deleting or overwriting what nobody has looked at",
    }[judgement.verdict.state]


def name_reason(
    place: Place,
    observation: Observation,
    judgement: Judgement,
    findings: tuple[Finding, ...],
    refused: Refused | None = None,
) -> str:
    """Why it is in its state."""
    state, items = judgement.verdict.state, judgement.accounts
    if state in (State.INCONSISTENT, State.CORRUPT, State.UNKNOWN):
        return _reason_of_damage(state, findings)
    if state is State.INTERRUPTED:
        reason = _reason_of_interruption(place, observation, judgement, findings)
        return f"the last run was refused: {refused.told}; {reason}" if refused else reason
    count = count_of(items.source, "item")
    closed = f"the accounts of {count} are closed"
    if tables := list_tables(observation):
        closed = f"it was made of {count_of(len(tables), 'table')}, whose digests are recorded"
        if observation.config is not None and observation.config.earlier_fingerprints:
            closed += "; a change of these or of the job was accepted since"
    return {
        State.NEW: "there is no output and no control folder",
        State.RUNNING: "a live process holds the lock",
        State.COMPLETE: closed,
        State.COMPLETE_WITH_ORPHANS: (
            f"{closed}; a dead run left {count_of(len(judgement.orphans), 'throwaway file')}"
        ),
        State.RECOVERY_PENDING: (
            "a sync of its folders failed; what was made is made durable before anything else"
            if observation.is_unsynced
            else "a new dataset is complete; it takes the place of the old one"
        ),
    }[state]


def _reason_of_damage(state: State, findings: tuple[Finding, ...]) -> str:
    """Names the first finding of the worst severity, and counts the others."""
    severity = {
        State.INCONSISTENT: Severity.INCONSISTENT,
        State.CORRUPT: Severity.CORRUPT,
        State.UNKNOWN: Severity.UNKNOWN,
    }[state]
    worst = [finding for finding in findings if finding.severity is severity]
    more = f"; and {count_of(len(worst) - 1, 'more finding')}" if len(worst) > 1 else ""
    return f"{worst[0].path}: {worst[0].evidence}{more}"


def _reason_of_interruption(
    place: Place, observation: Observation, judgement: Judgement, findings: tuple[Finding, ...]
) -> str:
    items = judgement.accounts
    if observation.config is None or not observation.segments:
        return "a run began and ended before it had planned what there is to do"
    undelivered = [f for f in findings if f.code in (Code.UNDELIVERED, Code.LOST_FILE)]
    if undelivered:
        reason = f"{undelivered[0].path}: {undelivered[0].evidence}"
    elif items.pending or items.staged:
        open_items = items.pending + items.staged
        reason = f"{open_items:,} of {count_of(items.source, 'item')} not published yet"
    elif unmade := tell_unmade(place, observation):
        reason = unmade
    else:
        reason = "every batch is published, but the accounts are not closed yet"
    if observation.segments[-1].is_limited:
        reason += "; the plan was limited, the source holds more"
    return reason


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

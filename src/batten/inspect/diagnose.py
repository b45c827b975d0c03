"""Names the state of an output and the one safe action. Reads only, and takes no lock."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

from batten.errors import StorageError
from batten.inspect.advising.again import Again, find_again, find_begun
from batten.inspect.advising.changed_tables import TablesSeen, look_at_tables
from batten.inspect.advising.facts_to_say import gather_facts, tell_readers
from batten.inspect.advising.in_hand import tell_in_hand
from batten.inspect.advising.last_end import (
    gather_evidence,
    list_hints,
    tell_late_failure,
    tell_refusal,
)
from batten.inspect.advising.made_files import (
    find_linked_file,
    list_held,
    list_tables,
    list_unseen,
)
from batten.inspect.advising.outlook import (
    NOTHING_TO_RUN,
    Likelihood,
    Outlook,
    foresee,
)
from batten.inspect.advising.refused import find_refused, tell_refused
from batten.inspect.advising.upstream import Behind, find_behind, find_origin, is_finalized
from batten.inspect.advising.words_of_states import Kind, say
from batten.inspect.diagnosis import Contents, Diagnosis, NextRun, Orphan
from batten.inspect.items.at_work import find_at_work
from batten.inspect.items.plan_keys import PlanKeys, list_missing_keys
from batten.inspect.kinds.landings import describe_landing, find_landing
from batten.inspect.paths.output_path import Place, find_linked_folder, has_tree, locate_output
from batten.ledger.bytes_to_write import estimate_bytes_to_write
from batten.ledger.facts.observation import Observation
from batten.ledger.facts.observe import observe_output
from batten.ledger.history.runs import find_last_log, find_last_run, find_refusal
from batten.ledger.history.submissions import list_pending
from batten.ledger.history.usage import find_usage
from batten.ledger.judge import Judgement, judge
from batten.model.disk.runs.refusals import Way
from batten.model.disk.runs.submissions import SubmissionRecord
from batten.model.disk.throwaway_names import find_staging_owner
from batten.model.rules.findings import Code, Finding
from batten.model.rules.states import VERDICTS, Ground
from batten.model.rules.usage import Usage
from batten.model.telling.commands import command
from batten.model.words import Action, State
from batten.sources.inputs import Input, look_at_input
from batten.storage.base import Entry

FindBehind = Callable[[Place, Observation], Behind | None]


def diagnose(path: str | os.PathLike[str]) -> Diagnosis:
    """Look at an output, and name its state and the one safe action.

    It only reads, takes no lock, and runs none of the job's code.

    Args:
        path: The output: a folder of parts, a file, a database, or the root of a tree.

    Returns:
        The diagnosis.

    Raises:
        UsageError: The path can't be an output. Nothing was changed.
    """
    return diagnose_place(locate_output(path))


def diagnose_place(
    place: Place, *, is_brief: bool = False, look: FindBehind = find_behind
) -> Diagnosis:
    """What is there now. `is_brief`: no input is read, for one of many outputs. `look` tells
    whether a complete one is behind what it was made of."""
    if has_tree(place):
        from batten.inspect.kinds.trees import diagnose_tree, find_tree

        if (tree := find_tree(place)) is not None:
            return diagnose_tree(place, tree)
    observation = observe_output(place.storage, place.layout)
    is_unclaimed = observation.ground in _UNCLAIMED and observation.failure is None
    if is_unclaimed and (linked := find_linked_folder(place)):
        evidence = f"a symbolic link, which parts can't be kept in; it leads to {linked}"
        found = _describe_link(place, observation, Code.LINKED_FOLDER, evidence)
        return replace(found, next=f"name that folder: {command('diagnose', linked)}")
    judgement, tables, behind = judge_inputs(place, observation, is_brief=is_brief, look=look)
    found = describe(place, observation, judgement, now_seconds=time.time(), behind=behind)
    if found.action is Action.RUN and (linked := find_linked_file(place, observation)):
        evidence = f"a symbolic link, which the file would replace; it leads to {linked}"
        return _describe_link(place, observation, Code.LINKED_FILE, evidence)
    found = replace(found, hints=(*found.hints, *tables.unknown))
    if (landing := find_landing(place, observation)) is not None:
        return describe_landing(place, landing, found)
    if found.state in _SOUND and has_tree(place):
        return _doubt(place, found)
    if found.state in (State.NEW, State.UNKNOWN):
        from batten.inspect.advising.nearby import explain_path

        return explain_path(place, found, is_brief=is_brief)
    return found


def judge_inputs(
    place: Place,
    observation: Observation,
    *,
    is_brief: bool = False,
    look: FindBehind,
) -> tuple[Judgement, TablesSeen, Behind | None]:
    """What is there; and if it is complete, whether what it was made of is still as it was."""
    judgement, tables = judge(observation), TablesSeen()
    behind = None
    if judgement.verdict.state in _MADE:
        tables = look_at_tables(place.storage, observation, is_brief=is_brief)
        behind = tables.behind
        if behind is None and not is_brief:
            behind = look(place, observation)
    if behind is not None:
        judgement = replace(judgement, verdict=VERDICTS[State.STALE])
    return judgement, tables, behind


def _doubt(place: Place, found: Diagnosis) -> Diagnosis:
    """A job's records may call an output sound, although a change of its tree was given up. Then it
    is not."""
    from batten.inspect.kinds.trees import diagnose_tree, find_given_up

    tree = find_given_up(place)
    if tree is None:
        return found
    return replace(
        diagnose_tree(place, tree),
        orphans=found.orphans,
        hints=found.hints,
        parameters=found.parameters,
        contents=found.contents,
    )


def _describe_link(place: Place, observation: Observation, code: Code, evidence: str) -> Diagnosis:
    """A run refuses it, so no run is advised."""
    finding = Finding(code=code, path=place.layout.output, evidence=evidence)
    seen = replace(observation, ground=Ground.FOREIGN, findings=(finding,))
    return describe(place, seen, judge(seen), now_seconds=time.time())


def describe(
    place: Place,
    observation: Observation,
    judgement: Judgement,
    *,
    now_seconds: float,
    behind: Behind | None = None,
) -> Diagnosis:
    """The diagnosis of what was judged; looks up hints. `behind` is what is newer than it."""
    more = behind.options if behind is not None else ()
    state = judgement.verdict.state
    items = judgement.accounts
    files = [each.target for each in observation.deliveries if each.is_file]
    needed_bytes = estimate_bytes_to_write(observation, items, files) or 0
    hints, inputs, again = _look_ahead(place, observation, state, needed_bytes)
    is_run = judgement.verdict.action is Action.RUN
    job = find_again(place, observation, *more) if state not in _UNLOGGED or is_run else Again()
    if behind is not None and behind.first and not job.elsewhere:
        job = replace(job, line="", words=f"{behind.first}; then: {job.told}")
    is_first_elsewhere = bool(job.elsewhere) or (behind is not None and bool(behind.first))
    has_refusal = state in _SOUND and not is_first_elsewhere
    refused = find_refused(place, observation) if has_refusal else None
    is_astray = bool(job.elsewhere) and (is_run or judgement.verdict.action is Action.STOP)
    is_other_way = is_run and refused is not None and bool(refused.choices)
    facts = gather_facts(
        place, observation, judgement, job, refused, behind.reason if behind is not None else ""
    )
    said = say(Kind.JOB, state, facts)
    return Diagnosis(
        state=state,
        path=place.path,
        action=Action.LOOK if is_astray else judgement.verdict.action,
        next=said.next,
        risky=said.risky,
        reason=said.why,
        orphans=tuple(_describe_orphan(place, each, now_seconds) for each in judgement.orphans),
        holder=observation.holder,
        hints=(
            *((job.warning,) if job.warning and is_run else ()),
            *((job.words,) if job.elsewhere and not is_astray else ()),
            *hints,
            *(tell_refused(refused) if refused and not is_run else ()),
            *_list_begun(place, observation, state),
        ),
        missing=find_missing(place, observation, judgement),
        findings=tuple(_show_path(place, finding) for finding in judgement.findings),
        exit_code=judgement.verdict.exit_code,
        parameters=dict(observation.config.parameters) if observation.config else {},
        readers=tell_readers(place, observation, judgement),
        contents=_describe_contents(place, observation, judgement),
        next_run=NextRun(
            inputs=inputs,
            again=_ANOTHER_WAY if is_other_way else again,
            refused=refused if is_run else None,
            retry=_tell_retry(place, observation, judgement) if refused is None else "",
        ),
    )


def _tell_retry(place: Place, observation: Observation, judgement: Judgement) -> str:
    has_failed = judgement.accounts.quarantined and judgement.verdict.state in _SOUND
    return find_again(place, observation, *Way.RETRY.options).told if has_failed else ""


def _describe_contents(place: Place, observation: Observation, judgement: Judgement) -> Contents:
    return Contents(
        items=judgement.accounts,
        parts=len(observation.parts),
        rows=judgement.rows,
        destinations=tuple(list_held(place, observation)),
        unseen=dict(list_unseen(place, observation)),
        tables=list_tables(observation),
        usage=_look_at_usage(place, observation),
        at_work=find_at_work(place.storage, observation),
        submitted=_look_at_submissions(place, observation),
    )


_UNCLAIMED = frozenset({Ground.NOTHING, Ground.FOREIGN})
_MADE = frozenset({State.COMPLETE, State.COMPLETE_WITH_ORPHANS})
_SOUND = _MADE | {State.INTERRUPTED, State.STALE}
_ANOTHER_WAY = Outlook(
    likelihood=Likelihood.NO, because="next goes another way than the run that was refused"
)
_REPLACED_OR_NOT_OURS = frozenset({State.RUNNING, State.RECOVERY_PENDING, State.UNKNOWN})
_UNLOGGED = frozenset({State.NEW, State.UNKNOWN})


def _look_ahead(
    place: Place, observation: Observation, state: State, needed_bytes: int
) -> tuple[tuple[str, ...], tuple[Input, ...], Outlook]:
    """Hints on the last run, what it read, and whether the next is likely to fail."""
    origin = find_origin(place, observation)
    storage, layout = origin.storage, origin.layout
    if state is State.COMPLETE and (refusal := find_refusal(storage, layout)):
        return (tell_refusal(refusal),), (), NOTHING_TO_RUN
    if state is State.COMPLETE and (told := tell_late_failure(find_last_log(storage, layout))):
        return (told,), (), NOTHING_TO_RUN
    if state in (State.RUNNING, State.COMPLETE):
        return (), (), NOTHING_TO_RUN
    if state in _UNLOGGED:
        return (), (), foresee(None, ())
    refusal = find_refusal(storage, layout)
    run = find_last_run(storage, layout) or refusal
    if run is None:
        return (), (), foresee(None, ())
    evidence = gather_evidence(
        place.storage,
        layout,
        run,
        needed_bytes=needed_bytes,
        refusal=refusal,
        in_hand=tell_in_hand(place, observation, run.run) if origin is place else "",
    )
    inputs = tuple(look_at_input(path) for path in (refusal or run).inputs)
    return tuple(list_hints(evidence)), inputs, foresee(evidence, inputs)


def _list_begun(place: Place, observation: Observation, state: State) -> Iterator[str]:
    """What a fresh run left that did not end, which the dataset itself knows nothing of."""
    fresh = observation.layout.fresh
    try:
        is_begun = place.storage.find(fresh.config) is not None
    except StorageError:
        return
    if is_begun and state not in _REPLACED_OR_NOT_OURS:
        where = place.show(observation.layout.fresh_folder)
        begun = find_begun(place, observation)
        if is_finalized(begun):
            # It is made anew by every run that finds it behind.
            yield f"a new dataset was begun in {where}, and not finished: it is of no use any more"
            return
        is_widened = begun is not None and begun.takes_over
        way = Way.ADD_COLUMNS if is_widened else Way.FRESH
        again = find_again(place, observation, *way.options).told
        yield f"a new dataset was begun in {where}; {again} goes on with it, if the job is the same"


def find_missing(place: Place, observation: Observation, judgement: Judgement) -> tuple[str, ...]:
    """The keys whose rows are gone with their part. Only where parts are lost is the plan's file of
    keys read, for which pyarrow is imported."""
    plan, lost = judgement.plan, judgement.lost
    if plan is None or not lost or observation.holder is not None:
        return ()
    keys = PlanKeys(place.storage, place.layout, plan)
    return tuple(list_missing_keys(keys, plan, lost, observation.claims))


def _look_at_usage(place: Place, observation: Observation) -> Usage | None:
    """Of a file that can't be read, the other checks tell."""
    with suppress(StorageError):
        return find_usage(place.storage, observation)
    return None


def _look_at_submissions(place: Place, observation: Observation) -> tuple[SubmissionRecord, ...]:
    with suppress(StorageError):
        return tuple(list_pending(place.storage, observation.layout))
    return ()


def _describe_orphan(place: Place, entry: Entry, now_seconds: float) -> Orphan:
    owner = find_staging_owner(entry.name.rpartition("/")[2])
    return Orphan(
        path=place.show(entry.name),
        bytes=entry.size,
        age_seconds=max(0, int(now_seconds - entry.modified_seconds)),
        owner=f"{owner[0]}-{owner[1]}" if owner else None,
    )


def _show_path(place: Place, finding: Finding) -> Finding:
    return Finding(
        code=finding.code,
        path=place.show_found(finding),
        evidence=finding.evidence,
        batch=finding.batch,
    )

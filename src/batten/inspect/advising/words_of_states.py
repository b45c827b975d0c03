"""What is said of a state: why it is so, what to do next, what not to do (decisions 0039, 0083).

One table for each kind of output, from the state to three sentences. The sentences are functions of
facts that were checked before: nothing is looked up here. A state that is not in the table of a
kind can't come about for it, and raises.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Generic, NamedTuple, TypeVar

from batten.model.rules.accounting import Accounts
from batten.model.rules.findings import Code
from batten.model.telling.commands import as_path, command, join_words
from batten.model.telling.counts import count_of
from batten.model.value_class import value_class
from batten.model.words import State

HALF_DONE = "its change may be half done: compare the tree with a backup"
_PATHS_TOLD_MAX = 3


class Kind(Enum):
    """What an output is, by who changes it."""

    JOB = "the output of a job"
    TREE = "a tree that transactions change"
    LANDING = "a folder that a stream is landed in"
    FOREIGN = "a file that is not batten's"


@value_class
class OutputFacts:
    """An output, and its control folder, as they are shown."""

    path: str
    control: str = ""

    def command(self, *words: str) -> str:
        return command(*words, as_path(self.path))


@value_class
class JobFacts(OutputFacts):
    """`again` is how to run the job, or another way on where its last run was `refused`;
    `elsewhere` what to do where the output is not where the job writes. `worst` is the evidence
    for the state, `blocking` what is to be mended before anything else. `undelivered` names a
    destination that lacks something, `unmade` the file that the output is to be; `has_own_file`:
    one of an earlier run is there. `behind` is what is newer than the output."""

    again: str
    refused: str = ""
    elsewhere: str = ""
    worst: str = ""
    blocking: str = ""
    codes: frozenset[Code] = frozenset()
    items: Accounts
    is_planned: bool = False
    is_limited: bool = False
    undelivered: str = ""
    unmade: str = ""
    has_own_file: bool = False
    tables: int = 0
    has_accepted_changes: bool = False
    orphans: int = 0
    is_unsynced: bool = False
    behind: str = ""


@value_class
class TreeFacts(OutputFacts):
    """`worst` is the first finding; `journal` says in which state that is, and `operations` how
    many it has. `given_up` are the paths of journals that were set aside."""

    worst: str
    journal: str
    has_journal: bool
    is_unreadable: bool
    operations: int
    given_up: tuple[str, ...]
    is_unsynced: bool


@value_class
class LandingFacts(OutputFacts):
    """`what` was landed, in words. `twice` are two files that hold the same offsets."""

    what: str
    twice: tuple[str, ...] = ()


@value_class
class StrangerFacts(OutputFacts):
    """`evidence` is of the final file, which readers may have though it is `old`; `staged` lies in
    staging. `key` names the run, ` run_date=2026-04-24`; `unasked` the processes that may write,
    for all that can be known, `pids` those that do."""

    evidence: str
    is_old: bool
    staged: tuple[str, ...]
    key: str
    unasked: str
    pids: tuple[int, ...]


Facts = TypeVar("Facts")


class Saying(NamedTuple, Generic[Facts]):
    """The three sentences."""

    why: Callable[[Facts], str]
    next: Callable[[Facts], str]
    risky: Callable[[Facts], str]


class Said(NamedTuple):
    """The same, of one output."""

    why: str
    next: str
    risky: str


def say(kind: Kind, state: State, facts: OutputFacts) -> Said:
    """What is said of an output of that kind in that state. Raises `KeyError` where that can't come
    about."""
    return Said(*(sentence(facts) for sentence in SAYINGS[kind][state]))


# Of jobs


def _why_interrupted(f: JobFacts) -> str:
    if not f.is_planned:
        reason = "a run began and ended before it had planned what there is to do"
    elif f.undelivered:
        reason = f.undelivered
    elif f.items.pending or f.items.staged:
        open_items = f.items.pending + f.items.staged
        reason = f"{open_items:,} of {count_of(f.items.source, 'item')} not published yet"
    elif f.unmade:
        earlier = "; the file that is there is of an earlier run" if f.has_own_file else ""
        reason = f"{f.unmade} is not made yet{earlier}"
    else:
        reason = "every batch is published, but the accounts are not closed yet"
    if f.is_planned and f.is_limited:
        reason += "; the plan was limited, the source holds more"
    return _after_refusal(f, reason)


def _after_refusal(f: JobFacts, reason: str) -> str:
    return f"the last run was refused: {f.refused}; {reason}" if f.refused else reason


def _why_closed(f: JobFacts) -> str:
    if not f.tables:
        return f"the accounts of {count_of(f.items.source, 'item')} are closed"
    changed = "; a change of these or of the job was accepted since"
    made = f"it was made of {count_of(f.tables, 'table')}, whose digests are recorded"
    return made + changed * f.has_accepted_changes


def _why_pending(f: JobFacts | TreeFacts) -> str:
    if f.is_unsynced:
        return "a sync of its folders failed; what was made is made durable before anything else"
    if isinstance(f, JobFacts):
        return "a new dataset is complete; it takes the place of the old one"
    if f.is_unreadable:
        return f"{f.worst}; {HALF_DONE}"
    return f"the journal is {f.journal}; {f.operations} operations"


def _risk_of_interrupted(f: JobFacts) -> str:
    if f.tables:
        unknown = f"the next run would not know {f.path} as its own, and refuse"
        return f"deleting {f.control}: {unknown}" if f.has_own_file else "nothing"
    finished = f.items.committed + f.items.filtered + f.items.quarantined + f.items.staged
    again = f"{count_of(finished, 'finished item')} would be computed again"
    return f"deleting {f.control}: {again}" if finished else "nothing"


def _look_by_hand(f: JobFacts) -> str:
    if Code.UNREADABLE_PLACE in f.codes:
        return f"make it readable for this user, then: {f.command('diagnose')}"
    if Code.LINKED_FILE in f.codes:
        return f"remove the link {f.path}, or have the job write where it leads; then run"
    if Code.NEWER_FORMAT in f.codes:
        return f"use the newer batten that wrote it: {f.command('diagnose')}"
    return f"look at {f.path} by hand"


_DAMAGED_JOB: Saying[JobFacts] = Saying(
    lambda f: f.worst,
    lambda f: f.elsewhere or f.blocking or f.command("recover", "--recompute-missing"),
    lambda f: f"using {f.path} as it is, or deleting {f.control}, the evidence",
)

OF_JOBS: dict[State, Saying[JobFacts]] = {
    State.NEW: Saying(
        lambda f: "there is no output and no control folder",
        lambda f: f.again,
        lambda f: "nothing",
    ),
    State.RUNNING: Saying(
        lambda f: "a live process holds the lock",
        lambda f: f"when it has ended: {f.command('diagnose')}",
        lambda f: f"deleting or changing anything in {f.path} or {f.control} meanwhile",
    ),
    State.INTERRUPTED: Saying(_why_interrupted, lambda f: f.again, _risk_of_interrupted),
    State.STALE: Saying(
        lambda f: _after_refusal(f, f.behind),
        lambda f: f.again,
        lambda f: "nothing: what is there stays until what replaces it is complete",
    ),
    State.COMPLETE: Saying(
        _why_closed,
        lambda f: f.command("show"),
        lambda f: f"deleting {f.control}: the output could not be verified or extended",
    ),
    State.COMPLETE_WITH_ORPHANS: Saying(
        lambda f: f"{_why_closed(f)}; a dead run left {count_of(f.orphans, 'throwaway file')}",
        lambda f: f.command("clean"),
        lambda f: "running the job from scratch: everything is there already",
    ),
    State.RECOVERY_PENDING: Saying(
        _why_pending,
        lambda f: f.command("recover"),
        lambda f: (
            "trusting it before that: a power cut could still take what is there"
            if f.is_unsynced
            else f"deleting {f.control}: the replacement could not be finished"
        ),
    ),
    State.INCONSISTENT: _DAMAGED_JOB,
    State.CORRUPT: _DAMAGED_JOB,
    State.UNKNOWN: Saying(
        lambda f: f.worst,
        _look_by_hand,
        lambda f: "deleting or overwriting what nobody has looked at",
    ),
}


# Of trees


def _compare(f: TreeFacts) -> str:
    remove = join_words("rm", "-r", *map(as_path, f.given_up))
    return f"compare {f.path} with a backup; when it is as it should be: {remove}"


def _is_given_up(f: TreeFacts) -> bool:
    return not f.has_journal and bool(f.given_up)


def _lose_change(f: TreeFacts) -> str:
    return f"deleting {f.control}: the change could not be finished or undone"


OF_TREES: dict[State, Saying[TreeFacts]] = {
    State.RUNNING: Saying(
        lambda f: "a live process changes the tree",
        lambda f: f"when it has ended: {f.command('diagnose')}",
        lambda f: f"changing anything in {f.path} or {f.control} meanwhile",
    ),
    State.COMPLETE: Saying(
        lambda f: "no change is under way; the tree is whole",
        lambda f: "nothing: the tree is whole",
        lambda f: f"changing {f.path} without a transaction while others read it",
    ),
    State.COMPLETE_WITH_ORPHANS: Saying(
        lambda f: "the tree is whole; a dead process left throwaway files",
        lambda f: f.command("clean"),
        lambda f: "nothing",
    ),
    State.RECOVERY_PENDING: Saying(_why_pending, lambda f: f.command("recover"), _lose_change),
    State.INCONSISTENT: Saying(
        lambda f: f.worst,
        lambda f: f.command("recover", "--set-aside-journal"),
        lambda f: f"deleting {f.control}, the evidence",
    ),
    State.CORRUPT: Saying(
        lambda f: f.worst,
        lambda f: f"put right what is named, then: {f.command('diagnose')}",
        lambda f: f"deleting {f.control}, or what a link in it leads to",
    ),
    State.UNKNOWN: Saying(
        lambda f: f.worst if f.has_journal else f"a journal was set aside, and {HALF_DONE}",
        lambda f: (
            _compare(f) if _is_given_up(f) else f"use the newer batten: {f.command('recover')}"
        ),
        lambda f: (
            f"using {f.path} unseen, or deleting {f.control}, the evidence"
            if f.given_up
            else _lose_change(f)
        ),
    ),
}


# Of landings


def _lose_stream(f: LandingFacts) -> str:
    return "deleting files that no job has worked on: a stream can't be read twice"


OF_LANDINGS: dict[State, Saying[LandingFacts]] = {
    State.RUNNING: Saying(
        lambda f: f.what, lambda f: "leave it alone: it goes on landing", _lose_stream
    ),
    State.COMPLETE: Saying(
        lambda f: f.what, lambda f: "the program that lands here, to land more", _lose_stream
    ),
    State.COMPLETE_WITH_ORPHANS: Saying(
        lambda f: f.what, lambda f: f.command("clean"), _lose_stream
    ),
    State.INCONSISTENT: Saying(
        lambda f: f"{' and '.join(f.twice)} hold the same offsets",
        lambda f: "move away the file that batten did not land",
        _lose_stream,
    ),
}


# Of what is not batten's


def _why_foreign(f: StrangerFacts) -> str:
    return f"{f.path}: {f.evidence}"


def _why_staged(f: StrangerFacts) -> str:
    noun = "file lies" if len(f.staged) == 1 else "files lie"
    nobody = f.unasked or "no process writes to it"
    return f"{_why_foreign(f)}; {len(f.staged):,} {noun} in staging, and {nobody}"


def _run(f: StrangerFacts) -> str:
    return f"run the job for{f.key or ' this output'}"


def _move_staged(f: StrangerFacts) -> str:
    first = "make sure that no run is at work, then " if f.unasked else ""
    count = len(f.staged)
    staged = join_words(*map(as_path, f.staged))
    if count > _PATHS_TOLD_MAX:
        staged = f"the {count_of(count, 'file')} in staging (--json lists them)"
    return f"{first}move away {staged}"


def _overwrite(f: StrangerFacts) -> str:
    return "running the job again: it would overwrite a good file"


OF_FOREIGN: dict[State, Saying[StrangerFacts]] = {
    State.NEW: Saying(
        _why_foreign,
        _run,
        lambda f: f"deleting {f.path}: it is all that readers have" if f.is_old else "nothing",
    ),
    State.INTERRUPTED: Saying(
        _why_staged,
        lambda f: f"{_move_staged(f)}, then {_run(f)}",
        lambda f: (
            f"deleting {f.path}, which readers have, or publishing what lies in staging"
            if f.is_old
            else "publishing what lies in staging: nothing says that it is whole"
        ),
    ),
    State.RUNNING: Saying(
        lambda f: f"process {', '.join(map(str, f.pids))} has a file of this run open for writing",
        lambda f: "ask again when the process has ended",
        lambda f: "starting a second run, or touching its files",
    ),
    State.COMPLETE: Saying(_why_foreign, lambda f: "nothing", _overwrite),
    State.COMPLETE_WITH_ORPHANS: Saying(_why_staged, _move_staged, _overwrite),
    State.UNKNOWN: Saying(
        _why_foreign,
        lambda f: f"look at {f.path} by hand",
        lambda f: "deleting or overwriting what nobody has looked at",
    ),
}

SAYINGS: dict[Kind, dict[State, Saying[Any]]] = {
    Kind.JOB: OF_JOBS,
    Kind.TREE: OF_TREES,
    Kind.LANDING: OF_LANDINGS,
    Kind.FOREIGN: OF_FOREIGN,
}

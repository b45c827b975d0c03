"""What an inspection can see, and what is safe to do about each."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from batten.model.disk.destinations.delivery import Delivery, find_kept
from batten.model.patterns import pattern
from batten.model.telling.commands import as_path, command
from batten.model.value_class import value_class


class Severity(Enum):
    """How bad a finding is, in rising order; the worst one decides the state."""

    NOTE = "note"
    WARNING = "warning"
    INCONSISTENT = "inconsistent"
    CORRUPT = "corrupt"
    UNKNOWN = "unknown"


_RANKS = {severity: rank for rank, severity in enumerate(Severity)}

DAMAGE = frozenset({Severity.INCONSISTENT, Severity.CORRUPT})

DOUBT = DAMAGE | {Severity.UNKNOWN}
"""Damaged, or nobody knows: no run goes on with it."""


class Code(Enum):
    """The names of findings, which users may script against."""

    NOT_A_FOLDER = "not-a-folder"
    LINKED_FOLDER = "linked-folder"
    LINKED_FILE = "linked-file"
    NOT_BATTENS = "not-battens"
    UNREADABLE_PLACE = "unreadable-place"
    NEWER_FORMAT = "newer-format"
    MISSING_CONFIG = "missing-config"
    UNREADABLE_CONFIG = "unreadable-config"
    UNREADABLE_SCHEMA = "unreadable-schema"
    UNREADABLE_PLAN = "unreadable-plan"
    UNREADABLE_LOOK = "unreadable-look"
    PLAN_GAP = "plan-gap"
    UNREADABLE_FOLDER = "unreadable-folder"
    UNREADABLE_REPLACING = "unreadable-replacing"
    UNREADABLE_RECORD = "unreadable-record"
    UNREADABLE_ROLL_UP = "unreadable-roll-up"
    ROLL_UP_DIFFERS = "roll-up-differs"
    UNREADABLE_PART = "unreadable-part"
    UNREADABLE_QUARANTINE = "unreadable-quarantine"
    UNREADABLE_COMPLETE = "unreadable-complete"
    SIZE_DIFFERS = "size-differs"
    DIGEST_DIFFERS = "digest-differs"
    LOST_PART = "lost-part"
    LOST_QUARANTINE = "lost-quarantine"
    HOLE = "hole"
    BEYOND_PLAN = "beyond-plan"
    ACCOUNTS_DIFFER = "accounts-differ"
    KEYS_DIFFER = "keys-differ"
    ROWS_DIFFER = "rows-differ"
    SCHEMA_DIFFERS = "schema-differs"
    COMPLETE_DISAGREES = "complete-disagrees"
    MISSING_RECORD = "missing-record"
    MISSING_SCHEMA = "missing-schema"
    LOST_RECORD = "lost-record"
    EARLY_PART = "early-part"
    GIVEN_UP = "given-up"
    REOPENED = "reopened"
    STAGED_DAMAGED = "staged-damaged"
    UNDELIVERED = "undelivered"
    LOST_FILE = "lost-file"
    LOST_WHOLE_TABLE = "lost-whole-table"
    CHANGED_FILE = "changed-file"
    LOST_ITEM_FILE = "lost-item-file"
    CHANGED_ITEM_FILE = "changed-item-file"
    CHANGED_LANDED = "changed-landed"
    UNREADABLE_FILES_RECORD = "unreadable-files-record"
    LOST_DELIVERY = "lost-delivery"
    LOST_TABLE = "lost-table"
    LACKING_ROWS = "lacking-rows"
    UNREADABLE_DESTINATION = "unreadable-destination"
    NOT_LOOKED_AT = "not-looked-at"
    UNREADABLE_FILE = "unreadable-file"
    UNREADABLE_DELIVERY = "unreadable-delivery"
    DAMAGED_RESULT = "damaged-result"
    DAMAGED_LOG = "damaged-log"
    CLEAR_SECRET = "clear-secret"
    FOREIGN_FILE = "foreign-file"
    STRAY_FILE = "stray-file"
    UNFINISHED_CHANGE = "unfinished-change"
    UNREADABLE_JOURNAL = "unreadable-journal"
    LOST_STAGED = "lost-staged"
    SET_ASIDE = "set-aside"


class Meaning(NamedTuple):
    """How bad a code is, and what is safe to do about it."""

    severity: Severity
    safe_action: str


_RESTORE = "restore it from a copy"
ELSEWHERE = "have the job write to another output and another destination"
_RESTORE_OR_FRESH = "restore it from a copy, or run the job with --fresh: all is computed anew"
_RESTORE_OR_RECOMPUTE = "restore it from a copy, or: batten recover --recompute-missing"

MEANINGS: dict[Code, Meaning] = {
    Code.NOT_A_FOLDER: Meaning(Severity.UNKNOWN, "look by hand; name another output"),
    Code.LINKED_FOLDER: Meaning(Severity.UNKNOWN, "name the folder that the link leads to"),
    Code.LINKED_FILE: Meaning(
        Severity.UNKNOWN, "remove the link, or have the job write where it leads"
    ),
    Code.NOT_BATTENS: Meaning(Severity.UNKNOWN, "look by hand; name another output"),
    Code.UNREADABLE_PLACE: Meaning(
        Severity.UNKNOWN, "make it readable for this user, then ask again"
    ),
    Code.NEWER_FORMAT: Meaning(Severity.UNKNOWN, "use the newer batten that wrote it"),
    Code.MISSING_CONFIG: Meaning(Severity.CORRUPT, _RESTORE_OR_FRESH),
    Code.UNREADABLE_CONFIG: Meaning(Severity.CORRUPT, _RESTORE_OR_FRESH),
    Code.UNREADABLE_SCHEMA: Meaning(Severity.CORRUPT, _RESTORE_OR_FRESH),
    Code.UNREADABLE_PLAN: Meaning(Severity.CORRUPT, _RESTORE_OR_FRESH),
    Code.UNREADABLE_LOOK: Meaning(
        Severity.CORRUPT, "run: what it is made of is looked at again, and the record made anew"
    ),
    Code.PLAN_GAP: Meaning(Severity.CORRUPT, _RESTORE_OR_FRESH),
    Code.UNREADABLE_FOLDER: Meaning(
        Severity.CORRUPT,
        "make it a folder that can be read; of a link, put what it leads to in its place",
    ),
    Code.UNREADABLE_REPLACING: Meaning(
        Severity.CORRUPT,
        "look which of the two datasets is as you want it, and move REPLACING away",
    ),
    Code.UNREADABLE_RECORD: Meaning(Severity.CORRUPT, _RESTORE_OR_RECOMPUTE),
    Code.UNREADABLE_ROLL_UP: Meaning(
        Severity.WARNING,
        "delete that object: until then the records are read, and later a run makes it anew",
    ),
    Code.ROLL_UP_DIFFERS: Meaning(
        Severity.INCONSISTENT,
        "delete that object: the records count, and a run makes it anew",
    ),
    Code.UNREADABLE_PART: Meaning(Severity.CORRUPT, _RESTORE_OR_RECOMPUTE),
    Code.UNREADABLE_QUARANTINE: Meaning(Severity.CORRUPT, _RESTORE_OR_RECOMPUTE),
    Code.UNREADABLE_COMPLETE: Meaning(Severity.CORRUPT, _RESTORE_OR_RECOMPUTE),
    Code.SIZE_DIFFERS: Meaning(Severity.CORRUPT, _RESTORE_OR_RECOMPUTE),
    Code.DIGEST_DIFFERS: Meaning(Severity.CORRUPT, _RESTORE_OR_RECOMPUTE),
    Code.LOST_PART: Meaning(Severity.INCONSISTENT, _RESTORE_OR_RECOMPUTE),
    Code.LOST_QUARANTINE: Meaning(Severity.INCONSISTENT, _RESTORE_OR_RECOMPUTE),
    Code.HOLE: Meaning(Severity.INCONSISTENT, _RESTORE_OR_RECOMPUTE),
    Code.BEYOND_PLAN: Meaning(
        Severity.INCONSISTENT, "move the file away; if it is this job's, restore the plan instead"
    ),
    Code.ACCOUNTS_DIFFER: Meaning(Severity.INCONSISTENT, _RESTORE_OR_RECOMPUTE),
    Code.KEYS_DIFFER: Meaning(Severity.INCONSISTENT, _RESTORE_OR_RECOMPUTE),
    Code.ROWS_DIFFER: Meaning(Severity.INCONSISTENT, _RESTORE_OR_RECOMPUTE),
    Code.SCHEMA_DIFFERS: Meaning(Severity.INCONSISTENT, _RESTORE_OR_RECOMPUTE),
    Code.COMPLETE_DISAGREES: Meaning(Severity.INCONSISTENT, _RESTORE_OR_RECOMPUTE),
    Code.MISSING_RECORD: Meaning(Severity.NOTE, "nothing: the next run or recover makes it anew"),
    Code.MISSING_SCHEMA: Meaning(
        Severity.NOTE, "nothing: the next run or recover makes it anew from a part"
    ),
    Code.LOST_RECORD: Meaning(Severity.INCONSISTENT, "have it made anew: batten recover"),
    Code.EARLY_PART: Meaning(Severity.NOTE, "run: it is published again when its turn comes"),
    Code.REOPENED: Meaning(Severity.NOTE, "run: its quarantined items are tried again"),
    Code.GIVEN_UP: Meaning(Severity.NOTE, "run: its items are computed again"),
    Code.STAGED_DAMAGED: Meaning(Severity.WARNING, "run: its items are computed again"),
    Code.UNDELIVERED: Meaning(Severity.NOTE, "run: it gets what it lacks"),
    Code.LOST_FILE: Meaning(Severity.WARNING, "run: it is made again"),
    Code.LOST_WHOLE_TABLE: Meaning(Severity.WARNING, "run: it is made and filled again"),
    Code.CHANGED_FILE: Meaning(Severity.INCONSISTENT, "move it away, then run: it is made again"),
    Code.LOST_ITEM_FILE: Meaning(Severity.INCONSISTENT, _RESTORE_OR_RECOMPUTE),
    Code.CHANGED_ITEM_FILE: Meaning(Severity.CORRUPT, _RESTORE_OR_RECOMPUTE),
    Code.CHANGED_LANDED: Meaning(
        Severity.CORRUPT, "restore it from a copy: a stream can't be read twice"
    ),
    Code.UNREADABLE_FILES_RECORD: Meaning(
        Severity.CORRUPT, "move it away, then run: it is made anew from the files"
    ),
    Code.LOST_DELIVERY: Meaning(
        Severity.INCONSISTENT,
        "restore that record from a copy, or move the file away, then run: it is made again",
    ),
    Code.LOST_TABLE: Meaning(
        Severity.INCONSISTENT,
        "restore it from a copy; or have all of it given again: remove what is left of it, rows "
        "and tokens, move its record in deliveries/ away, then run the job",
    ),
    Code.LACKING_ROWS: Meaning(
        Severity.INCONSISTENT,
        "restore it from a copy; or have all of it given again: remove what it has with its "
        "tokens, move its record in deliveries/ away, then run the job",
    ),
    Code.UNREADABLE_DESTINATION: Meaning(
        Severity.CORRUPT, "make it readable, or restore it from a copy; then ask again"
    ),
    Code.NOT_LOOKED_AT: Meaning(
        Severity.NOTE, "nothing: it is no fault; ask again, or look with its own programs"
    ),
    Code.UNREADABLE_FILE: Meaning(
        Severity.CORRUPT, "make it a file that can be read, or move away what is in its place"
    ),
    Code.UNREADABLE_DELIVERY: Meaning(Severity.CORRUPT, _RESTORE),
    Code.DAMAGED_RESULT: Meaning(
        Severity.WARNING,
        "delete it: the destinations have its rows, and if one is lost, the function is called "
        "again",
    ),
    Code.DAMAGED_LOG: Meaning(Severity.WARNING, "nothing: run logs are only hints"),
    Code.STRAY_FILE: Meaning(
        Severity.INCONSISTENT, "move it out of the folder, where nobody takes it for a part"
    ),
    Code.CLEAR_SECRET: Meaning(
        Severity.WARNING, "run: the record is written anew without it; then change the secret"
    ),
    Code.FOREIGN_FILE: Meaning(Severity.WARNING, "move it away if it is not yours"),
    Code.UNFINISHED_CHANGE: Meaning(Severity.WARNING, "recover: it is completed or undone"),
    Code.UNREADABLE_JOURNAL: Meaning(Severity.WARNING, "recover: it is set aside as evidence"),
    Code.LOST_STAGED: Meaning(
        Severity.INCONSISTENT,
        "restore the staged file from a copy, or: batten recover --set-aside-journal",
    ),
    Code.SET_ASIDE: Meaning(Severity.WARNING, "look at it; delete it when it is of no use"),
}


@value_class
class Finding:
    """One thing that was seen. `path` is relative to the storage; with `kind` it is the line of a
    destination of that kind. `batch` is its batch, if it is of one."""

    code: Code
    path: str
    evidence: str
    batch: int | None = None
    kind: str = ""

    @property
    def severity(self) -> Severity:
        return MEANINGS[self.code].severity

    @property
    def safe_action(self) -> str:
        return MEANINGS[self.code].safe_action

    def advise(self, output: str, deliveries: Iterable[Delivery] = ()) -> str:
        """What is safe, with the output in its command, to be pasted. `deliveries` are what its
        destinations have. A destination that keeps its rows refuses `--fresh`."""
        action, kept = self.safe_action, find_kept(deliveries)
        if action is _RESTORE_OR_FRESH and kept:
            return f"{_RESTORE}; {kept} keeps its rows, so to compute all anew {ELSEWHERE}"
        return _COMMAND.sub(lambda found: command(*found[0].split()[1:], as_path(output)), action)


_COMMAND = pattern(r"batten recover( --[a-z-]+)?")


def find_worst(findings: Iterable[Finding]) -> Severity:
    """The worst severity among the findings; `NOTE` where there are none."""
    return max((each.severity for each in findings), key=_RANKS.__getitem__, default=Severity.NOTE)


MADE_AGAIN = frozenset({Code.LOST_FILE, Code.LOST_WHOLE_TABLE})
"""What was whole at a destination and is gone: the next run makes it of what the ledger holds."""

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
        Code.ROLL_UP_DIFFERS,
        Code.CHANGED_FILE,
        Code.LOST_DELIVERY,
        Code.LOST_TABLE,
        Code.LACKING_ROWS,
        Code.UNREADABLE_FILE,
        Code.UNREADABLE_DELIVERY,
        Code.UNREADABLE_FILES_RECORD,
    }
)
"""What `recover` can't mend."""


def find_blocking(findings: Iterable[Finding]) -> Finding | None:
    """The first that has to be mended by hand before `recover` can do anything."""
    return next((finding for finding in findings if finding.code in UNRECOVERABLE), None)

"""The words of batten, one sense each."""

from __future__ import annotations

from enum import Enum, StrEnum

FORMAT_VERSION = 1
"""Version of everything on disk that this batten writes, and the newest that it reads, but for
what is named here."""

FORMAT_OF_VALUES = 2
"""That of a segment of the plan whose items are kept as plain bytes, which batten 0.1 can't
read."""

FORMAT_OF_OUTCOMES = 2
"""That of records of a batch or dataset with removed or adopted items, outcomes that batten 0.1
doesn't know."""

FORMAT_TAKING_OVER = 2
"""That of `dataset.json` of a dataset that was made of the rows of another one, which batten 0.1
would take for one that was computed anew."""

HIVE = "hive"
"""The kind of a folder of files by the values of columns."""

FILE_KINDS = frozenset({"csv", "jsonl", "parquet"})
"""The kinds of destinations that are one file."""


FILES = "files"
"""The kind of a destination that is a folder of the files of items."""


class Outcome(Enum):
    """What became of an item of the plan. Duplicates never enter the plan."""

    COMMITTED = "c"
    FILTERED = "f"
    QUARANTINED = "q"
    REMOVED = "r"
    """Gone from the source, and its rows with it."""
    ADOPTED = "a"
    """Committed, with rows that a hand-made job had made (decision 0097)."""

    @property
    def has_rows(self) -> bool:
        return self in (Outcome.COMMITTED, Outcome.ADOPTED)


class State(StrEnum):
    """What an output is found in. See `model.states` for the table that names it."""

    NEW = "NEW"
    RUNNING = "RUNNING"
    INTERRUPTED = "INTERRUPTED"
    COMPLETE = "COMPLETE"
    STALE = "STALE"
    COMPLETE_WITH_ORPHANS = "COMPLETE_WITH_ORPHANS"
    RECOVERY_PENDING = "RECOVERY_PENDING"
    INCONSISTENT = "INCONSISTENT"
    CORRUPT = "CORRUPT"
    UNKNOWN = "UNKNOWN"


class RunStatus(StrEnum):
    """How a run ended, or what a command says of itself that did not end well."""

    COMPLETE = "complete"
    NOTHING_TO_DO = "nothing-to-do"
    LIMITED = "limited"
    """Not the whole source was asked for."""
    ADOPTED = "adopted"
    """What a hand-made job had finished was taken over; the rest is still to be computed."""
    PLANNED = "planned"
    """A dry run."""
    INTERRUPTED = "interrupted"
    REFUSED = "refused"
    INCONSISTENT = "inconsistent"
    BUSY = "busy"
    FAILED = "failed"


class Action(StrEnum):
    """The one safe action in a state."""

    RUN = "run"
    LEAVE_ALONE = "leave alone"
    NOTHING = "nothing"
    CLEAN = "clean"
    RECOVER = "recover"
    STOP = "stop"
    LOOK = "look"


class Takes(Enum):
    """What a destination takes at a time."""

    DATASET = "the dataset as one thing, when that is complete"
    ROWS = "all rows of the dataset at once, when that is complete"
    BATCHES = "batches, of any number of rows"
    ITEMS = "items: its batches have one, and it gets those that have rows"
    FILES = "the files of which rows tell"

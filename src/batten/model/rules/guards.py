"""How a dataset is written if no lock keeps others away: the tables that a run carries out.

On a folder the kernel's lock says who may change a dataset, for as long as that process lives. An
object store has no such lock. A run there can be overtaken at any moment: its lease is judged over
while it still works, or a request of it arrives long after it died. So the store itself must refuse
what comes too late, and each step is made so that it can:

- what is new is put only if there is nothing of that name, so that nobody replaces it unseen;
- what takes the place of something is put only in the place of the version that was seen;
- what describes something else bears that in its name, so that it can't be taken for a description
  of what came later; if it is there already, it says the same;
- nothing that is of the dataset is ever deleted, as long as no other has taken its place.

`COMPLETE` follows from that. It bears in its name what it completes: the plan, the version of what
it says of items that may change, and the version of each part. Who reads looks for the one that
belongs to what is there. An old one means nothing any more, so none has to be withdrawn. Each table
is a sequence: a step is taken when the store has answered the one before. A test goes through all
interleavings of two runs that carry them out.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple


class Thing(Enum):
    """What is written of a dataset."""

    CONFIG = auto()
    SCHEMA = auto()
    KEYS = auto()
    VERSIONS = auto()
    VALUES = auto()
    SEGMENT = auto()
    QUARANTINE = auto()
    PART = auto()
    RECORD = auto()
    ROLL_UP = auto()
    COMPLETION = auto()
    CURRENT = auto()


class Naming(Enum):
    """What its name says."""

    BY_PLACE = auto()
    """Where in the dataset it belongs. Two runs may have different things for that place."""
    BY_CONTENT = auto()
    """What it holds, or what it describes. What is there under that name is as good."""


class Guard(Enum):
    """On which condition the store carries the change out."""

    NEW = auto()
    """There is nothing of that name."""
    SEEN = auto()
    """There is the version that was seen when it was decided on."""


class IfOther(Enum):
    """What a run does when the store says that something else is there."""

    KEEP = auto()
    """Go on: what is there serves as well."""
    ADOPT = auto()
    """Take it over if it is of the same items and the same code; else stop."""
    STOP = auto()
    """Stop: another run took over."""


class GuardedStep(NamedTuple):
    """One change."""

    thing: Thing
    naming: Naming
    guard: Guard
    if_other: IfOther


BEGINNING = (GuardedStep(Thing.CONFIG, Naming.BY_PLACE, Guard.NEW, IfOther.STOP),)
"""A new dataset: which job it is of."""

CHANGING = (GuardedStep(Thing.CONFIG, Naming.BY_PLACE, Guard.SEEN, IfOther.STOP),)
"""The job was started in another way, or a change of it was accepted."""

PINNING = (GuardedStep(Thing.SCHEMA, Naming.BY_PLACE, Guard.NEW, IfOther.STOP),)
"""The columns that the first rows have, before any part."""

PLANNING = (
    GuardedStep(Thing.KEYS, Naming.BY_CONTENT, Guard.NEW, IfOther.KEEP),
    GuardedStep(Thing.VERSIONS, Naming.BY_PLACE, Guard.NEW, IfOther.KEEP),
    GuardedStep(Thing.SEGMENT, Naming.BY_PLACE, Guard.NEW, IfOther.STOP),
)
"""One more segment of the plan. The record names the file of its keys by their digest. What is
known of its items bears that digest, too. If another run has said something else of these items,
that stands, and they count as changed."""

REVISING_FIRST = (
    GuardedStep(Thing.VALUES, Naming.BY_PLACE, Guard.NEW, IfOther.STOP),
    GuardedStep(Thing.VERSIONS, Naming.BY_PLACE, Guard.NEW, IfOther.STOP),
)
"""What is known of the items of a segment, said for the first time. A part tells of which revision
of its items it is, so one that is made of earlier ones is never taken for one of later ones."""

REVISING = (
    GuardedStep(Thing.VALUES, Naming.BY_PLACE, Guard.SEEN, IfOther.STOP),
    GuardedStep(Thing.VERSIONS, Naming.BY_PLACE, Guard.SEEN, IfOther.STOP),
)
"""The same, of items that have changed or gone."""

PUBLISHING = (
    GuardedStep(Thing.QUARANTINE, Naming.BY_CONTENT, Guard.NEW, IfOther.KEEP),
    GuardedStep(Thing.PART, Naming.BY_PLACE, Guard.NEW, IfOther.ADOPT),
    GuardedStep(Thing.RECORD, Naming.BY_CONTENT, Guard.NEW, IfOther.KEEP),
)
"""A batch for the first time. The quarantine file bears the digest of its part, the record the
version of its part."""

RETRYING = (
    GuardedStep(Thing.QUARANTINE, Naming.BY_CONTENT, Guard.NEW, IfOther.KEEP),
    GuardedStep(Thing.PART, Naming.BY_PLACE, Guard.SEEN, IfOther.STOP),
    GuardedStep(Thing.RECORD, Naming.BY_CONTENT, Guard.NEW, IfOther.KEEP),
)
"""A batch whose failed items were tried again."""

ROLLING_UP = (GuardedStep(Thing.ROLL_UP, Naming.BY_CONTENT, Guard.NEW, IfOther.KEEP),)
"""The records of a full thousand of batches are all there: what they say, in one object more. It
bears the versions of these parts."""

COMPLETING = (GuardedStep(Thing.COMPLETION, Naming.BY_CONTENT, Guard.NEW, IfOther.KEEP),)
"""The accounts closed."""

SUCCEEDING_FIRST = (GuardedStep(Thing.CURRENT, Naming.BY_PLACE, Guard.NEW, IfOther.STOP),)
"""Which generation is read and which is made, said for the first time."""

SUCCEEDING = (GuardedStep(Thing.CURRENT, Naming.BY_PLACE, Guard.SEEN, IfOther.STOP),)
"""The same, of what was seen when the generation was claimed."""

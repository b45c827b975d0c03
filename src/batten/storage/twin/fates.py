"""What may become of a request to an object store, in the twin and on the way to a real one."""

from __future__ import annotations

from enum import Enum, auto


class Fate(Enum):
    """What becomes of one request."""

    DONE = auto()
    LOST = auto()
    """It never arrives, and no answer comes."""
    UNHEARD = auto()
    """It is done, and the answer is lost."""
    LATE = auto()
    """No answer comes, and it is done when the test delivers it."""
    ERROR_500 = auto()
    """It is not done, and the store says that it is broken."""
    DONE_500 = auto()
    """It is done, and the store says that it is broken."""
    ERROR_503 = auto()
    """It is not done, and the store says that it is busy."""
    DIES_BEFORE = auto()
    """The sender dies before it asks."""
    DIES_AFTER = auto()
    """It is done, and the sender dies."""
    DIES_LATE = auto()
    """The sender dies, and it is done when the test delivers it."""

    @property
    def is_done(self) -> bool:
        """Whether it is carried out at once."""
        return self in (Fate.DONE, Fate.UNHEARD, Fate.DONE_500, Fate.DIES_AFTER)

    @property
    def is_late(self) -> bool:
        return self in (Fate.LATE, Fate.DIES_LATE)

    @property
    def is_death(self) -> bool:
        """Whether the sender dies of it."""
        return self in DEATHS

    @property
    def status(self) -> int | None:
        """What the store answers, where that says nothing of what was done."""
        return {Fate.ERROR_500: 500, Fate.DONE_500: 500, Fate.ERROR_503: 503}.get(self)


DEATHS = (Fate.DIES_BEFORE, Fate.DIES_AFTER, Fate.DIES_LATE)
MISHAPS = tuple(each for each in Fate if each is not Fate.DONE and each not in DEATHS)
"""What its sender lives through."""

"""What a run shows while it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from batten.model.value_class import value_class

if TYPE_CHECKING:
    from batten.model.rules.accounting import Accounts


@value_class
class Status:
    """How far a run is, as a function that is given as `progress=` gets it.

    Attributes:
        source: How many items the source has.
        committed: How many items lie in published parts, those of earlier runs among them.
        staged: How many more are finished and not published yet.
        quarantined: How many of the finished ones are quarantined.
        executed: For how many items this run called the job's functions.
        adopted: How many items it took over from what an earlier run had staged.
        seconds: The time since it began with the items, in seconds.
        waits: What keeps it waiting, each in a few words: a server that asks for patience, calls
            that are held back, items that are tried alone, a signal after which it ends.
        is_stopping: Whether it begins no more items, and ends when those in hand have ended.
        accounts: The accounts as they stand.
    """

    source: int
    committed: int
    staged: int
    quarantined: int
    executed: int
    adopted: int
    seconds: float
    waits: tuple[str, ...] = ()
    is_stopping: bool = False
    accounts: Accounts | None = None

    @property
    def finished(self) -> int:
        """How many items need not be done any more."""
        return self.committed + self.staged


class Progress(Protocol):
    """Shows the progress of one run. Called from the run's own thread."""

    def show(self, status: Status) -> None:
        """Show how far the run is. Called a few times a second, and when all items are done.

        Args:
            status: How far it is.
        """
        ...

    def note(self, text: str) -> None:
        """Show a line that stays: a warning, a first failure.

        Args:
            text: The line. It may hold anything, also what a terminal would obey.
        """
        ...

    def close(self) -> None:
        """End the display. What is noted later is shown by itself."""
        ...


class Silent:
    """Shows nothing."""

    def show(self, status: Status) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass

"""What a run shows while it goes on."""

from __future__ import annotations

from typing import Protocol

from batten.model.value_class import value_class


@value_class
class Status:
    """How far a run is: items of the whole dataset, and what this run did. `seconds`
    since its start."""

    source: int
    committed: int
    staged: int
    quarantined: int
    executed: int
    adopted: int
    seconds: float


class Progress(Protocol):
    """Shows the progress of one run. Called a few times a second, from the run's own thread."""

    def show(self, status: Status) -> None: ...

    def note(self, text: str) -> None:
        """A line that stays: a warning, a first failure."""
        ...

    def close(self) -> None: ...


class Silent:
    """Shows nothing."""

    def show(self, status: Status) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass

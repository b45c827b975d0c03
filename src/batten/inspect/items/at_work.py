"""Workers of other machines that are at work, as they told last (decision 0130)."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from batten.anywhere.meeting import Meeting
from batten.errors import StorageError
from batten.ledger.facts.observation import Observation
from batten.model.value_class import value_class
from batten.storage.base import Store


@value_class
class WorkerAtWork:
    """A worker of another machine, or of another process of this one.

    Attributes:
        name: What it is called.
        host: Its machine.
        pid: Its process there.
        since: When it began, by its own clock.
        tasks: How many tasks it has in hand, and `slots` how many it can have.
        slots: How many tasks it does at a time.
        oldest: When it began the oldest of them, by its own clock; empty if it has none.
        is_leaving: Whether it takes no further task.
    """

    name: str
    host: str
    pid: int
    since: str
    tasks: int
    slots: int
    oldest: str
    is_leaving: bool

    def to_json(self) -> dict[str, Any]:
        """Make the object that `--json` prints.

        Returns:
            A dict of what JSON can hold.
        """
        return {**vars(self), "oldest": self.oldest or None}

    def tell(self) -> str:
        """Say it in a line.

        Returns:
            The line.
        """
        told = f"process {self.pid} on {self.host} since {self.since}: {self.tasks} of {self.slots}"
        told += " tasks in hand" + (f", the oldest since {self.oldest}" if self.oldest else "")
        return told + (", leaving" if self.is_leaving else "")


def find_at_work(storage: Store, observation: Observation) -> tuple[WorkerAtWork, ...]:
    """Those of the run that is at work; none where there is no run, or they can't be read."""
    if observation.holder is None:
        return ()
    found = []
    with suppress(StorageError):
        meeting = Meeting(storage, observation.layout.workers)
        board = meeting.read_board()
        names = meeting.list_registers() if board is not None and not board.ended else ()
        for name, _ in sorted(names):
            seen = meeting.read_register(name)
            register = seen.register if seen is not None else None
            if board is None or register is None or register.run != board.run:
                continue
            found.append(
                WorkerAtWork(
                    name=name,
                    host=register.host,
                    pid=register.pid,
                    since=register.since,
                    tasks=len(register.begins),
                    slots=register.slots,
                    oldest=min((begun.since for begun in register.begins), default=""),
                    is_leaving=register.is_leaving,
                )
            )
    return tuple(found)

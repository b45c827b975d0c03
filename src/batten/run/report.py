"""What a run tells when it is over."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any

from batten.errors import BattenError
from batten.model.disk.destinations.delivery import ONCE
from batten.model.rules.accounting import Accounts
from batten.model.rules.usage import Usage
from batten.model.telling.commands import command, in_cell
from batten.model.telling.counts import count_of
from batten.model.value_class import value_class
from batten.model.words import RunStatus
from batten.printable import commands_in_cells, escape

if TYPE_CHECKING:
    from batten.run.checks import Check


@value_class
class Finalized:
    """A second dataset after the run.

    Attributes:
        path: The dataset.
        status: "complete" if this run made it anew, "nothing-to-do", "limited" if the first one is
            not complete and so it was left as it is, or "planned" of a dry run.
        rows: How many rows it has.
    """

    path: str
    status: RunStatus
    rows: int


@value_class
class Delivered:
    """What a destination beside the dataset has, as recorded.

    Attributes:
        kind: csv, jsonl, parquet, sqlite and so on.
        target: Names the destination, without secrets.
        batches: How many batches it has, from the first on.
        rows: How many rows these hold.
        promise: "once", or "at least once" for a destination that keeps no tokens.
    """

    kind: str
    target: str
    batches: int
    rows: int
    promise: str = ONCE


@value_class
class Report:
    """What a run tells when it is over; `batten run --json` prints it.

    Attributes:
        status: How it ended, also as a text: `report.status == "complete"`.
        path: The output.
        accounts: Of the whole dataset, all runs together; None if they are not known.
        rows: How many rows the dataset has.
        executed_items: For how many items this run called the job's functions.
        adopted_items: How many items it took over from what an earlier run had staged, or from a
            hand-made job.
        changed_items: How many planned items were found to be others than when they were planned.
        removed_items: How many planned items were found to be gone from the source.
        vanished_items: Of how many of these the rows are kept.
        seconds: How long each stage of this run took, in seconds.
        run: The name of this run.
        finalized: The datasets that finalize steps made.
        destinations: What each destination beside the dataset has.
        checks: What was checked, of a dry run.
        error: What ended the run, of a run that did not end well; otherwise None.
        beside: Where a dataset that is made anew waits until it is complete; otherwise empty.
        usage: What all calls of the dataset used, in all runs; None if no call told anything.
    """

    status: RunStatus
    path: str
    accounts: Accounts | None
    rows: int = 0
    executed_items: int = 0
    adopted_items: int = 0
    vanished_items: int = 0
    changed_items: int = 0
    removed_items: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    run: str = ""
    finalized: tuple[Finalized, ...] = ()
    destinations: tuple[Delivered, ...] = ()
    checks: tuple[Check, ...] = ()
    error: BattenError | None = None
    beside: str = ""
    usage: Usage | None = None

    @property
    def source(self) -> int:
        """How many items the source has, as far as that is known."""
        return self.accounts.source if self.accounts is not None else 0

    @property
    def quarantined(self) -> int:
        """How many items of the dataset are quarantined."""
        return self.accounts.quarantined if self.accounts is not None else 0

    def __repr__(self) -> str:
        return f"<Report {escape(self.path)}: {self.status}; {', '.join(self._count())}>"

    def _repr_html_(self) -> str:
        rows: list[tuple[str, object]] = [
            ("items", self.accounts.show() if self.accounts is not None else ""),
            ("rows", f"{self.rows:,}"),
            ("this run", f"{self.executed_items:,} executed, {self.adopted_items:,} adopted"),
            ("seconds", ", ".join(f"{name} {each:.1f}" for name, each in self.seconds.items())),
            *(("destination", f"{each.target}: {each.rows:,} rows") for each in self.destinations),
            *(("finalized", f"{each.path}: {each.status}") for each in self.finalized),
            ("see why", in_cell(command("show", self.path)) if self.quarantined else ""),
            ("error", commands_in_cells(str(self.error)) if self.error is not None else ""),
        ]
        from batten.model.telling.html import show_as_html

        return show_as_html(f"{self.path}: {self.status}", rows)

    def _count(self) -> list[str]:
        counts = [count_of(self.source, "item")]
        if self.quarantined:
            counts.append(f"{self.quarantined:,} quarantined")
        return [*counts, count_of(self.rows, "row")]

    def to_json(self) -> dict[str, Any]:
        """Make the object that `batten run --json` prints.

        Returns:
            A dict of what JSON can hold.
        """
        items = None
        if self.accounts is not None:
            items = {
                name: getattr(self.accounts, name)
                for name in (
                    "source",
                    "committed",
                    "filtered",
                    "quarantined",
                    "duplicate",
                    "pending",
                )
            }
            items["pending"] += self.accounts.staged
            items["staged"] = self.accounts.staged
            items["removed"] = self.accounts.removed
            items["adopted"] = self.accounts.adopted
        value: dict[str, Any] = {
            "status": self.status,
            "path": self.path,
            "items": items,
            "rows": self.rows,
            "executed_items": self.executed_items,
            "adopted_items": self.adopted_items,
            "vanished_items": self.vanished_items,
            "changed_items": self.changed_items,
            "removed_items": self.removed_items,
            "seconds": {name: round(seconds, 3) for name, seconds in self.seconds.items()},
            "run": self.run,
            "checks": [
                {"name": each.name, "verdict": each.verdict, "told": each.told}
                for each in self.checks
            ],
            "finalized": [dict(vars(each)) for each in self.finalized],
            "destinations": [dict(vars(each)) for each in self.destinations],
            "beside": self.beside or None,
            "usage": self.usage.to_json() if self.usage is not None else None,
        }
        if self.error is not None:
            value["error"] = self.error.to_json()
        return value

"""What a run tells when it is over."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any

from batten.errors import BattenError
from batten.model.rules.accounting import Accounts
from batten.model.value_class import value_class
from batten.model.words import RunStatus

if TYPE_CHECKING:
    from batten.run.checks import Check


@value_class
class Finalized:
    """A second dataset after the run. `status`: complete (made anew by this run), nothing-to-do,
    limited (the first is not complete, so it was left as it is) or planned (a dry run)."""

    path: str
    status: RunStatus
    rows: int


@value_class
class Delivered:
    """What a destination beside the dataset has, as recorded: its first `batches` batches."""

    kind: str
    target: str
    batches: int
    rows: int


@value_class
class Report:
    """The end of a run; `batten run --json` prints it.

    `status` is also a text: `report.status == "complete"`. `accounts` are of the whole dataset,
    all runs together; `executed_items` counts the items for which this run called the user's
    functions, `adopted_items` those it took over from what an earlier run had staged. `seconds` by
    stage, of this run. `checks` are of a dry run. `beside` is where a dataset that is made anew
    waits until it is complete: readers have the old one.
    """

    status: RunStatus
    path: str
    accounts: Accounts | None
    rows: int = 0
    executed_items: int = 0
    adopted_items: int = 0
    vanished_items: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    run: str = ""
    finalized: tuple[Finalized, ...] = ()
    destinations: tuple[Delivered, ...] = ()
    checks: tuple[Check, ...] = ()
    error: BattenError | None = None
    beside: str = ""

    @property
    def quarantined(self) -> int:
        return self.accounts.quarantined if self.accounts is not None else 0

    def to_json(self) -> dict[str, Any]:
        """The object that `batten run --json` prints."""
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
        value: dict[str, Any] = {
            "status": self.status,
            "path": self.path,
            "items": items,
            "rows": self.rows,
            "executed_items": self.executed_items,
            "adopted_items": self.adopted_items,
            "vanished_items": self.vanished_items,
            "seconds": {name: round(seconds, 3) for name, seconds in self.seconds.items()},
            "run": self.run,
            "checks": [
                {"name": each.name, "verdict": each.verdict, "told": each.told}
                for each in self.checks
            ],
            "finalized": [dict(vars(each)) for each in self.finalized],
            "destinations": [dict(vars(each)) for each in self.destinations],
            "beside": self.beside or None,
        }
        if self.error is not None:
            value["error"] = {
                "what": self.error.what,
                "safe": self.error.safe,
                "next": self.error.next,
            }
        return value

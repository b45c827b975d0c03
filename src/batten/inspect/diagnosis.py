"""The diagnosis: what `batten diagnose` prints, and what all that inspects an output gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from batten.inspect.advising.outlook import NOTHING_TO_RUN, Outlook
from batten.inspect.advising.refused import Refused
from batten.inspect.items.at_work import WorkerAtWork
from batten.model.disk.destinations.delivery import Delivery
from batten.model.disk.runs.holders import Holder
from batten.model.disk.runs.submissions import SubmissionRecord
from batten.model.rules.accounting import Accounts
from batten.model.rules.findings import Finding
from batten.model.rules.usage import Usage
from batten.model.telling.commands import in_cell
from batten.model.telling.counts import count_of
from batten.model.telling.html import show_as_html
from batten.model.value_class import value_class
from batten.model.words import Action, State
from batten.printable import escape
from batten.sources.inputs import Input


@value_class
class Orphan:
    """A file that no live run owns.

    Attributes:
        path: The file.
        bytes: Its size, in bytes.
        age_seconds: How long ago it was changed, in seconds.
        owner: Who wrote it, as "host-process"; None if its name does not tell.
    """

    path: str
    bytes: int
    age_seconds: int
    owner: str | None


NO_ITEMS = Accounts(
    source=0, committed=0, filtered=0, quarantined=0, duplicate=0, staged=0, pending=0
)


@value_class
class Contents:
    """What the output of a job holds.

    Attributes:
        items: What became of the items of the plan; of whole tables, the tables.
        parts: How many parts are published.
        rows: How many rows the parts hold; of whole tables, how many tables.
        destinations: What each destination was given.
        unseen: Why a destination, by its target, could not be looked at.
        tables: The names of the tables that a function of whole tables is given.
        usage: What all calls used, in all runs; None if no call told anything.
        submitted: Requests that vendors have in batches, or may have; their answers are to come.
        at_work: Workers of other machines that are at work.
    """

    items: Accounts = NO_ITEMS
    parts: int = 0
    rows: int = 0
    destinations: tuple[Delivery, ...] = ()
    unseen: dict[str, str] = field(default_factory=dict)
    tables: tuple[str, ...] = ()
    usage: Usage | None = None
    submitted: tuple[SubmissionRecord, ...] = ()
    at_work: tuple[WorkerAtWork, ...] = ()

    def list_submitted(self) -> list[dict[str, Any]]:
        """List what vendors have, or may have, as `--json` does.

        Returns:
            A dict of what JSON can hold for each batch; its `batch` is None until the vendor has
            said that it has it.
        """
        return [
            {
                "batch": each.batch or None,
                "requests": len(each.requests),
                "since": each.begun,
                "status": each.status or None,
                "base_url": each.base_url,
            }
            for each in self.submitted
        ]


@value_class
class NextRun:
    """What is known of the run to come.

    Attributes:
        inputs: What it reads, and whether that can be read.
        again: Whether it is likely to fail, and why.
        refused: Why the last run was refused, if this one would be too; otherwise None.
        retry: How quarantined items are tried again; empty if there are none.
    """

    inputs: tuple[Input, ...] = ()
    again: Outlook = NOTHING_TO_RUN
    refused: Refused | None = None
    retry: str = ""


NOTHING_KEPT = Contents()
NO_RUN = NextRun()


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What is at an output, as `batten diagnose` prints it.

    `state` and `action` are also texts: `state == "COMPLETE"`. No job plans trees and landed
    folders, so their `contents` are empty.

    Attributes:
        state: The state of the output.
        path: The output, as it was named.
        action: The one safe action.
        exit_code: The exit code of `batten diagnose`.
        next: The command to run, or what to do.
        risky: What not to do.
        reason: Why it is this state.
        readers: What a reader of the output sees now.
        orphans: Files that no live run owns.
        holder: Who holds the lock, or None.
        hints: What likely ended the last run, and more to know.
        missing: The keys of items whose rows are gone; of a tree, the paths that are.
        findings: All that was seen; the worst decides the state.
        parameters: The parameters of the job, as recorded.
        contents: What the output holds.
        next_run: What is known of the run to come.
    """

    state: State
    path: str
    action: Action
    exit_code: int
    next: str
    risky: str
    reason: str
    readers: str = ""
    orphans: tuple[Orphan, ...] = ()
    holder: Holder | None = None
    hints: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    parameters: dict[str, str] = field(default_factory=dict)
    contents: Contents = NOTHING_KEPT
    next_run: NextRun = NO_RUN

    def __repr__(self) -> str:
        return f"<Diagnosis {escape(self.path)}: {self.state.value}; {escape(self.next)}>"

    def _repr_html_(self) -> str:
        holds = f"{count_of(self.rows, 'row')} in {count_of(self.parts, 'part')}"
        rows: list[tuple[str, object]] = [
            ("why", self.reason),
            ("next", in_cell(self.next)),
            ("retry", "" if self.action is Action.RUN else in_cell(self.next_run.retry)),
            ("risky", self.risky),
            ("items", self.items.show() if self.items.source else ""),
            ("output", holds if self.items.source else ""),
            ("readers", f"see {self.readers}" if self.readers else ""),
            *(("hint", hint) for hint in self.hints),
        ]
        return show_as_html(f"{self.state.value}  {self.path}", rows)

    @property
    def items(self) -> Accounts:
        """What became of the items of the plan."""
        return self.contents.items

    @property
    def parts(self) -> int:
        """How many parts are published."""
        return self.contents.parts

    @property
    def rows(self) -> int:
        """How many rows the parts hold."""
        return self.contents.rows

    @property
    def destinations(self) -> tuple[Delivery, ...]:
        """What each destination was given."""
        return self.contents.destinations

    @property
    def unseen(self) -> dict[str, str]:
        """Why it is not known of a destination, by its target, that it has what it was given."""
        return self.contents.unseen

    @property
    def inputs(self) -> tuple[Input, ...]:
        """What the next run reads, and whether it can be read."""
        return self.next_run.inputs

    @property
    def again(self) -> Outlook:
        """Whether the next run is likely to fail."""
        return self.next_run.again

    def to_json(self) -> dict[str, Any]:
        """Make the object that `batten diagnose --json` prints.

        Returns:
            A dict of what JSON can hold.
        """
        holder, refused = self.holder, self.next_run.refused
        return {
            "state": self.state.value,
            "path": self.path,
            "action": self.action.value,
            "next": self.next,
            "risky": self.risky,
            "reason": self.reason,
            "items": dict(vars(self.items)),
            "parts": self.parts,
            "rows": self.rows,
            "usage": self.contents.usage.to_json() if self.contents.usage is not None else None,
            "submitted": self.contents.list_submitted(),
            "orphans": [dict(vars(orphan)) for orphan in self.orphans],
            "holder": holder and {"pid": holder.pid, "host": holder.host, "since": holder.since},
            "workers": [worker.to_json() for worker in self.contents.at_work],
            "hints": list(self.hints),
            "missing": list(self.missing),
            "parameters": dict(self.parameters),
            "readers": self.readers,
            "inputs": [
                {"path": each.path, "bytes": each.bytes, "problem": each.problem or None}
                for each in self.inputs
            ],
            "again": {"likely": self.again.likelihood.value, "because": self.again.because},
            "findings": [list_finding(finding, self) for finding in self.findings],
            "destinations": [
                {
                    "kind": each.kind,
                    "target": each.target,
                    "batches": each.batches,
                    "rows": each.rows,
                    "promise": each.promise,
                    "asked": each.target not in self.unseen,
                    "unseen": self.unseen.get(each.target),
                }
                for each in self.destinations
            ],
            "retry": self.next_run.retry or None,
            "ways": [dict(vars(each)) for each in refused.choices] if refused else [],
        }


def list_finding(finding: Finding, diagnosis: Diagnosis) -> dict[str, str]:
    """A finding of that output as the commands' JSON shows it."""
    return {
        "code": finding.code.value,
        "severity": finding.severity.value,
        "path": finding.path,
        "evidence": finding.evidence,
        "safe_action": finding.advise(diagnosis.path, diagnosis.destinations),
    }

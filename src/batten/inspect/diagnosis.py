"""The diagnosis: what `batten diagnose` prints, and what all that inspects an output gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from batten.inspect.outlook import NOTHING_TO_RUN, Outlook
from batten.inspect.refused import Refused
from batten.model.accounting import Accounts
from batten.model.findings import Finding
from batten.model.records import Delivery, Holder
from batten.model.value_class import value_class
from batten.model.words import Action, State
from batten.sources.inputs import Input


@value_class
class Orphan:
    """A file that no live run owns. `owner` is "host-process" where its name tells."""

    path: str
    bytes: int
    age_seconds: int
    owner: str | None


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What `batten diagnose` prints. `state` and `action` are also texts: `state == "COMPLETE"`.

    `next` is the command to run, `risky` what not to do, `missing` the keys whose rows are gone.
    `parameters` are the run's key, `readers` says what those who read the output see now, `inputs`
    whether the next run can read what it needs, `again` whether it is likely to fail. `tables` are
    those that a function of whole tables is given; then `items` and `rows` count these. `unseen`
    says why it is not known of a destination, by its target, that it has what it was given.
    `refused` tells of the last run, where the next would be refused too: there are several ways."""

    state: State
    path: str
    action: Action
    next: str
    risky: str
    reason: str
    items: Accounts
    parts: int
    rows: int
    orphans: tuple[Orphan, ...]
    holder: Holder | None
    hints: tuple[str, ...]
    missing: tuple[str, ...]
    findings: tuple[Finding, ...]
    destinations: tuple[Delivery, ...] = ()
    exit_code: int
    parameters: dict[str, str] = field(default_factory=dict)
    readers: str = ""
    inputs: tuple[Input, ...] = ()
    again: Outlook = NOTHING_TO_RUN
    tables: tuple[str, ...] = ()
    unseen: dict[str, str] = field(default_factory=dict)
    refused: Refused | None = None

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        holder = self.holder
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
            "orphans": [dict(vars(orphan)) for orphan in self.orphans],
            "holder": holder and {"pid": holder.pid, "host": holder.host, "since": holder.since},
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
                    "asked": each.target not in self.unseen,
                    "unseen": self.unseen.get(each.target),
                }
                for each in self.destinations
            ],
            "ways": [dict(vars(each)) for each in self.refused.choices] if self.refused else [],
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

"""What was found of one output: a value, which nothing is asked of any more.

One thing is asked for later: what a single batch says of a thousand that is rolled up (decision
0163)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from batten.errors import StorageError
from batten.ledger.facts.batches.held_claims import Claims, Recorded
from batten.model.disk.destinations.delivery import Delivery
from batten.model.disk.names import Layout
from batten.model.disk.records import Completion, Config, Segment
from batten.model.disk.runs.holders import Holder
from batten.model.rules.findings import Code, Finding
from batten.model.rules.states import Ground
from batten.model.value_class import value_class
from batten.model.words import FILE_KINDS
from batten.storage.base import Entry


@value_class
class Observation:
    """What was found of one output. Files are by batch where they are of one.

    `claims` are what records say, or footers of parts without one; with `is_vouched`, `COMPLETE`
    and the sizes of all parts agree, and records were not read. `findings` are those of reading
    alone; `failure` is the first error of the system among them, which may pass. `early` are parts
    without a record that are there while an earlier part is not. A power cut can leave them so, if
    they were published together. With `has_journal` a replacement was begun. With `is_unsynced`,
    names that could not be made durable must be made anew. In both cases nothing else was read.
    `lacks_schema`: there are parts, and what pinned their columns is gone. `placed` are the sizes
    in bytes of the output and of files that `deliveries` name, where they are files and are there.
    `versions` are those of the parts, `config_version` that of `dataset.json`, and `revised` those
    of what the plan of a store says of items that may change, by name. `lost_records`
    are batches whose record is gone, of which a thorough look finds it in a roll-up.
    """

    layout: Layout
    ground: Ground
    holder: Holder | None = None
    config: Config | None = None
    segments: tuple[Segment, ...] = ()
    has_whole_plan: bool = True
    parts: Mapping[int, int] = field(default_factory=dict)
    early: frozenset[int] = frozenset()
    recorded: Recorded = field(default_factory=Recorded)
    claims: Claims = field(default_factory=Claims)
    is_vouched: bool = False
    given_up: frozenset[int] = frozenset()
    quarantine: dict[int, int] = field(default_factory=dict)
    staged: tuple[Entry, ...] = ()
    staging: tuple[Entry, ...] = ()
    completion: Completion | None = None
    deliveries: tuple[Delivery, ...] = ()
    placed: dict[str, int] = field(default_factory=dict)
    has_journal: bool = False
    is_unsynced: bool = False
    has_complete: bool = False
    lacks_schema: bool = False
    findings: tuple[Finding, ...] = ()
    failure: StorageError | None = None
    versions: Mapping[int, str] = field(default_factory=dict)
    config_version: str = ""
    revised: Mapping[str, str] = field(default_factory=dict)
    lost_records: frozenset[int] = frozenset()

    @property
    def reopened(self) -> frozenset[int]:
        """Batches whose part is there and is about to be replaced, its quarantined items retried:
        their record was given up on purpose."""
        return frozenset(n for n in self.given_up if n in self.parts and n not in self.recorded)

    @property
    def holds_clear_secrets(self) -> bool:
        """Whether an older batten kept secrets in clear there."""
        return any(finding.code is Code.CLEAR_SECRET for finding in self.findings)

    @property
    def unseen(self) -> dict[str, str]:
        """Destinations that could not be looked at, by target, and why: all may be there."""
        return {
            each.path: each.evidence for each in self.findings if each.code is Code.NOT_LOOKED_AT
        }

    @property
    def unrecorded(self) -> list[int]:
        """Batches whose part was published by a run that was killed before it wrote the record."""
        without = set(self.claims.single).intersection(self.parts) - self.recorded
        return sorted(without - self.reopened)


def find_own_file(layout: Layout, config: Config | None) -> str | None:
    """The output itself, where it is one file that is made of the parts."""
    is_file = layout.is_inside and config is not None and config.sink in FILE_KINDS
    return layout.output if is_file else None


def list_expected(layout: Layout, config: Config | None, completion: Completion) -> dict[str, str]:
    """The kinds of the destinations of a complete dataset, by their target. An earlier batten
    recorded the first at most."""
    expected = dict(completion.destinations)
    if (own := find_own_file(layout, config)) is not None and config is not None:
        expected[own] = config.sink
    elif not expected and config is not None and config.target:
        expected[config.target] = config.sink
    return expected

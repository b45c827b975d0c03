"""What the driver asks of workers, and what they answer: small values; rows never travel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING

from batten.executors.call_rates import Sharing
from batten.jobs.step import Step
from batten.ledger.history.usage_journal import UsageJournal
from batten.model.disk.names import Layout
from batten.model.disk.records import PartDescription
from batten.model.disk.staged_names import StagedChunk
from batten.model.value_class import value_class
from batten.plan.plan import Plan
from batten.rows.declared import Declared
from batten.sources.base import Source
from batten.storage.base import Store
from batten.work.calling.calls import Failure
from batten.work.calling.most_fail import Ended
from batten.work.sealing.batch_checks import Rule

if TYPE_CHECKING:
    from batten.model.disk.items.item_names import NamePattern
    from batten.work.own_workers.lane import Lane
    from batten.work.own_workers.server import ServerState
    from batten.work.staged.item_files import ItemFiles


@value_class
class WorkerJob:
    """What all workers share: where things lie, what to do, and the fingerprints. `work` is
    that of what makes rows, and `works` are those whose chunks are of use; `fingerprint` also
    covers how they are laid out. `is_watched`: the run stops where most items fail. `is_adopting`:
    the rows are not computed, a hand-made job had made them. With `file_names` the steps make
    files, which are called so. `run` is its name, under which is kept what calls used. `lanes` lead
    to the workers of those steps, by number, that have their own. After `chunk_seconds` of work a
    worker puts aside what it has; by default as a bench does. `sharing` says with how many machines
    hosts are called."""

    storage: Store
    layout: Layout
    plan: Plan
    source: Source
    steps: Sequence[Step]
    declared: Declared
    key_column: str
    fingerprint: str
    work: str
    works: tuple[str, ...]
    has_time_limit: bool
    keeps_failures: bool
    seed: int | None = None
    worker_items_max: int | None = None
    is_watched: bool = False
    is_adopting: bool = False
    batch_rules: tuple[Rule, ...] = ()
    file_names: NamePattern | None = None
    run: str = ""
    lanes: Mapping[int, Lane] = field(default_factory=dict)
    servers: Mapping[int, ServerState] = field(default_factory=dict)
    chunk_seconds: float | None = None
    sharing: Sharing = field(default_factory=Sharing)

    def make_journal(self) -> UsageJournal:
        """Where it is kept what calls of this run used."""
        return UsageJournal(self.storage, self.layout, self.run)

    def make_item_files(self) -> ItemFiles | None:
        """What names the files of items, where the steps make files."""
        if self.file_names is None:
            return None
        from batten.work.staged.item_files import ItemFiles

        return ItemFiles(self.storage, self.layout, self.file_names)


@value_class
class Prepare:
    """Run the steps over items `start` to `stop` of a batch, for a quarter of a second or one item.

    `schema` is that of the dataset, serialized, or None while there is none. `may_pin` says that
    this batch may pin it. `condemned` are items not to be run but to be quarantined. `is_apart`:
    items that are usually taken together are taken one by one. `is_reopened`: the part of the batch
    is published, and its finished items stay as they are. After `failures_max` items that failed it
    ends early, so that the driver judges of them. `heard` is how many portions the driver had taken
    when it asked: work of which more was told is not begun on such an old word."""

    batch: int
    start: int
    stop: int
    schema: bytes | None
    may_pin: bool
    condemned: Failure | None = None
    is_apart: bool = False
    is_reopened: bool = False
    failures_max: int | None = None
    heard: int = 0


@value_class
class Seal:
    """Make the part of a batch from its staged chunks. Without a `schema` it pins one.
    `is_reopened` as in `Prepare`."""

    batch: int
    chunks: tuple[StagedChunk, ...]
    schema: bytes | None
    is_reopened: bool = False


@value_class
class Reopen:
    """Stage the finished items of a published batch as chunks again, without those of which the
    plan has a later version. What is quarantined stays so, unless it `tries_failed`."""

    batch: int
    tries_failed: bool


@value_class
class Sealed:
    """A batch whose part, and quarantine file if any, lie in `staged/`, synced.

    `described` is what the part says, which may name an earlier fingerprint; `size` and `digest`
    are of its bytes. `schema` is what the batch pinned, if it did. `first_misfit` is an item that
    failed only now, since its rows are not like those that pinned the schema. Then `ended` tells of
    all items of the batch anew. `slowest` is what its commit record says of its slowest items.
    """

    described: PartDescription
    size: int
    digest: str
    quarantine_digest: str
    schema: bytes | None
    first_misfit: Failure | None = None
    ended: Ended = ()
    slowest: str = ""

    @property
    def batch(self) -> int:
        return self.described.batch


@value_class
class Prepared:
    """Items `start` to `stop` are finished: as `chunks`, within `sealed`, or in portions told
    before; all but those that are `left`, which were given up. What was asked for beyond `stop` was
    not begun. Unless it `is_fitted`, rows may turn out not to fit the schema."""

    batch: int
    start: int
    stop: int
    left: tuple[int, ...] = ()
    chunks: tuple[StagedChunk, ...] = ()
    sealed: Sealed | None = None
    executed: int = 0
    failures: int = 0
    first_failure: Failure | None = None
    ended: Ended = ()
    is_fitted: bool = True
    seconds: float = 0.0


@value_class
class Portion:
    """Told before `Prepared` by work that has many items in hand: some of its items are staged."""

    batch: int
    chunks: tuple[StagedChunk, ...]
    executed: int
    failures: int
    first_failure: Failure | None
    ended: Ended = ()
    is_fitted: bool = True


@value_class
class Begun:
    """Told before `Prepared`: all items have been begun, so that those of another task may be."""


@value_class
class Waits:
    """Told at any time: what calls wait for, in a few words each."""

    told: tuple[str, ...]


@value_class
class Noted:
    """Told at any time: what people are to read once."""

    text: str


@value_class
class Postponed:
    """Told at any time: nothing is left to do but to wait, longer than a run may. `text` says for
    what."""

    text: str


@value_class
class Unsealable:
    """The batch could not be sealed. These staged chunks are gone or damaged, or hold a `misfit`
    that is not to be quarantined. Or, with `is_rowless`, the batch has no rows that could pin a
    schema."""

    batch: int
    damaged: tuple[StagedChunk, ...] = ()
    is_rowless: bool = False
    misfit: Failure | None = None


@value_class
class Reopened:
    """What a published batch's finished items were staged as, and which ranges are to be done
    again. `ended` tells anew of all its items, where some of them were rejected."""

    batch: int
    chunks: tuple[StagedChunk, ...]
    again: tuple[tuple[int, int], ...]
    ended: Ended = ()

    def count_again(self) -> int:
        return sum(stop - start for start, stop in self.again)


@value_class
class Served:
    """One of a step's own workers has done enough; another is to take its place."""


Task = Prepare | Seal | Reopen
Word = Begun | Portion | Waits | Noted | Postponed
Answer = Prepared | Sealed | Unsealable | Reopened | Served

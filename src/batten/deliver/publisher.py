"""Publishing: sealed batches become visible, in order, and their commit records durable.

For each batch: quarantine file, part, commit record; the syncs of folders are shared by all batches
that are ready together. What was staged goes last, when all that replaces it is durable.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from batten.errors import InconsistentError
from batten.ledger.commit_records import retire_earlier
from batten.model.disk.names import Layout
from batten.model.disk.published import fields_of
from batten.model.disk.records import CommitRecord, encode_record, version_for
from batten.model.disk.staged_names import DIGEST_CHARACTERS
from batten.model.rules.accounting import tally_outcomes
from batten.model.telling.commands import command
from batten.run.clock import utc_now
from batten.storage.base import Folder
from batten.storage.changing.publishing import create_many
from batten.storage.changing.setting_aside import set_aside_many
from batten.work.tasks import Sealed


class Publisher:
    """Publishes under the dataset's lock. A reopened batch replaces its part in one step.

    `tried` are the batches of which an earlier try may have left a marker or a quarantine file.
    Parts rest on what lies in the folder `made`, if there is one."""

    def __init__(
        self,
        storage: Folder,
        layout: Layout,
        *,
        run: str,
        tried: frozenset[int],
        made: str | None = None,
    ) -> None:
        self._made = made
        self._storage = storage
        self._layout = layout
        self._run = run
        self._tried = tried
        self._rounds = 0
        self.reopened: set[int] = set()

    def give_up(self, batches: Sequence[int]) -> None:
        """The parts of these batches are to be replaced. Their commit records become markers: until
        a new part is there, the old one stands."""
        layout = self._layout
        self._storage.ensure_folder(layout.recompute)
        set_aside_many(
            self._storage, [(layout.commit(each), layout.recomputed(each)) for each in batches]
        )
        self.reopened.update(batches)

    def publish(self, ready: Sequence[Sealed], leftovers: Iterable[str]) -> None:
        """Publish these batches, then delete what was staged for them; `leftovers` are names."""
        with self._storage.steady():
            self._publish(ready, leftovers)

    def _publish(self, ready: Sequence[Sealed], leftovers: Iterable[str]) -> None:
        failed = [each for each in ready if each.quarantine_digest]
        names = {each.batch: self._layout.quarantined(each.batch) for each in failed}
        # An earlier try's quarantine file covers the old part and the new one: it goes later.
        later = {
            batch
            for batch, name in names.items()
            if batch in self.reopened and self._storage.find(name) is not None
        }
        self._publish_quarantines([each for each in failed if each.batch not in later])
        if self._made is not None:
            self._storage.sync_names(self._made)
        for sealed in ready:
            self._publish_part(sealed)
        self._storage.sync_names(self._layout.data)
        self._publish_quarantines([each for each in failed if each.batch in later])
        create_many(
            self._storage,
            self._layout.staging,
            [
                (self._layout.commit(each.batch), encode_record(make_record(each, run=self._run)))
                for each in ready
            ],
        )
        self._rounds += 1
        tried = [each.batch for each in ready if each.batch in self.reopened | self._tried]
        retire_earlier(self._storage, self._layout, tried, run=f"{self._run}-{self._rounds}")
        for sealed in ready:
            self._storage.delete(name_staged(self._layout, sealed, "sealed"))
            if sealed.quarantine_digest:
                self._storage.delete(name_staged(self._layout, sealed, "quarantine"))
        for name in leftovers:
            self._storage.delete(name)

    def _publish_quarantines(self, ready: Sequence[Sealed]) -> None:
        """A quarantine file without its part is what a crash left of an earlier try; the part that
        comes now may have failed differently."""
        for sealed in ready:
            name = self._layout.quarantined(sealed.batch)
            staged = name_staged(self._layout, sealed, "quarantine")
            if not self._storage.publish(staged, name):
                self._storage.replace(staged, name)
        if ready:
            self._storage.sync_names(self._layout.quarantine)

    def _publish_part(self, sealed: Sealed) -> None:
        name = self._layout.part(sealed.batch)
        staged = name_staged(self._layout, sealed, "sealed")
        if self._storage.publish(staged, name):
            return
        if sealed.batch not in self.reopened:
            raise InconsistentError(
                f"{name} appeared while batch {sealed.batch} was being computed.",
                safe="It was not touched; the computed batch stays staged.",
                next="Find out what else writes there, then: "
                + command("diagnose", f"{self._storage.place}/{self._layout.output}"),
            )
        self._storage.replace(staged, name)


def name_staged(layout: Layout, sealed: Sealed, kind: str) -> str:
    """What a file of the batch is called that lies in `staged/`: "sealed" or "quarantine"."""
    digest = sealed.digest if kind == "sealed" else sealed.quarantine_digest
    return layout.staged_file(sealed.batch, kind, digest[:DIGEST_CHARACTERS])


def make_record(sealed: Sealed, *, run: str) -> CommitRecord:
    """The evidence that a batch was published."""
    return CommitRecord(
        **fields_of(sealed.described),
        size=sealed.size,
        digest=sealed.digest,
        quarantine_digest=sealed.quarantine_digest,
        run=run,
        time=utc_now(),
        slowest=sealed.slowest,
        format_version=version_for(tally_outcomes(sealed.described.outcomes).later),
    )

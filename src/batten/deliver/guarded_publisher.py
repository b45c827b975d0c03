"""Publishing to a store that has no lock: each batch by the steps of a table.

Nothing is moved and nothing of the dataset is deleted. What was staged is read and put under its
final name, on the condition that the table names. Of each batch the part decides: who finds that
another run has published it of the same items and by the same code takes that over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from batten.deliver.publisher import make_record, name_staged
from batten.deliver.rolling_up import RollingUp
from batten.ledger.commit_records import rebuild_records
from batten.ledger.guarded import carry_out, taken_over
from batten.model.disk.footer import decode_part
from batten.model.disk.names import Layout
from batten.model.disk.records import encode_record
from batten.model.rules.guards import PUBLISHING, RETRYING, GuardedStep, IfOther, Thing
from batten.run.clock import utc_now
from batten.storage.base import Put, PutAnswer, Store
from batten.storage.changing.publishing import delete
from batten.work.tasks import Sealed


class GuardedPublisher:
    """Publishes beside others that may be at work. `versions` are those of the parts that were
    there when it was decided what to do."""

    def __init__(
        self, storage: Store, layout: Layout, *, run: str, versions: Mapping[int, str]
    ) -> None:
        self._storage = storage
        self._layout = layout
        self._run = run
        self._versions = versions
        self._rolling_up = RollingUp(storage, layout, versions)
        self._waiting: set[int] = set()
        self.reopened: set[int] = set()

    def give_up(self, batches: Sequence[int]) -> None:
        """The parts of these batches are to be replaced. Until then they stand, with records."""
        self.reopened.update(batches)
        self._waiting.update(batches)

    def publish(self, ready: Sequence[Sealed], leftovers: Iterable[str]) -> None:
        """Publish these batches, then delete what was staged for them; `leftovers` are names.
        Raises `BusyError` if another run took over."""
        for sealed in ready:
            self._publish(sealed)
        for sealed in ready:
            delete(self._storage, name_staged(self._layout, sealed, "sealed"))
            if sealed.quarantine_digest:
                delete(self._storage, name_staged(self._layout, sealed, "quarantine"))
        for name in leftovers:
            delete(self._storage, name)
        self._rolling_up.make_up(self._waiting)

    def _publish(self, sealed: Sealed) -> None:
        version = ""
        for step in RETRYING if sealed.batch in self.reopened else PUBLISHING:
            if step.thing is Thing.QUARANTINE:
                sealed = self._put_quarantine(step, sealed)
            elif step.thing is Thing.PART:
                answer = self._put_part(step, sealed)
                if answer.put is Put.OTHER:
                    self._adopt(step, sealed)
                    return
                version = answer.version
            else:
                name = self._layout.commit(sealed.batch, version)
                record = encode_record(make_record(sealed, run=self._run))
                is_mine = carry_out(self._storage, step, name, record).put is not Put.OTHER
                self._waiting.discard(sealed.batch)
                self._rolling_up.take(
                    sealed.batch, version, record if is_mine else None, self._waiting
                )

    def _put_quarantine(self, step: GuardedStep, sealed: Sealed) -> Sealed:
        """The batch, with the digest of the file that is there."""
        if not sealed.quarantine_digest:
            return sealed
        data = self._load(sealed, "quarantine")
        name = self._layout.quarantined(sealed.batch, sealed.digest)
        if data is not None and carry_out(self._storage, step, name, data).put is not Put.OTHER:
            return sealed
        try:
            found = self._storage.get(name, bytes_max=None).data
        except FileNotFoundError:
            raise taken_over(self._storage, name) from None
        return replace(sealed, quarantine_digest=hashlib.sha256(found).hexdigest())

    def _put_part(self, step: GuardedStep, sealed: Sealed) -> PutAnswer:
        """`OTHER` if there is a part, and it is not known to be this one."""
        data = self._load(sealed, "sealed")
        if data is None:
            # Another run has published these bytes, and cleared away what was staged.
            return PutAnswer(Put.OTHER)
        seen = self._versions.get(sealed.batch, "")
        return carry_out(self._storage, step, self._layout.part(sealed.batch), data, seen=seen)

    def _adopt(self, step: GuardedStep, sealed: Sealed) -> None:
        """Take over the part that is there. Raises `BusyError` if it is another."""
        name = self._layout.part(sealed.batch)
        try:
            described = decode_part(self._storage.read(name, bytes_max=None))
        except FileNotFoundError:
            raise taken_over(self._storage, name) from None
        mine = sealed.described
        is_alike = (described.keys, described.fingerprint, described.revision) == (
            mine.keys,
            mine.fingerprint,
            mine.revision,
        )
        if step.if_other is not IfOther.ADOPT or not is_alike:
            raise taken_over(self._storage, name)
        rebuild_records(self._storage, self._layout, [sealed.batch], run=self._run, time=utc_now())

    def _load(self, sealed: Sealed, kind: str) -> bytes | None:
        name = name_staged(self._layout, sealed, kind)
        try:
            return self._storage.read(name, bytes_max=None)
        except FileNotFoundError:
            return None

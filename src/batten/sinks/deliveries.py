"""The record of what a destination has been given: evidence, which can prove a loss."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from batten.errors import CorruptError
from batten.model.disk.names import Layout
from batten.model.disk.records import Delivery, Unreadable, decode_record, encode_record
from batten.storage.base import Storage
from batten.storage.publishing import replace

NAME_DIGEST_CHARACTERS = 12


class DeliveryBook:
    """The record of one destination of a ledger; `now` gives the time in UTC."""

    def __init__(
        self,
        storage: Storage,
        layout: Layout,
        *,
        kind: str,
        target: str,
        run: str,
        now: Callable[[], str],
        dataset: str = "",
        adds_rows: bool = False,
    ) -> None:
        self._storage = storage
        self._layout = layout
        self.kind = kind
        self.target = target
        self._run = run
        self._now = now
        self._dataset = dataset
        self._adds_rows = adds_rows
        digest = hashlib.sha256(target.encode()).hexdigest()[:NAME_DIGEST_CHARACTERS]
        self.name = layout.delivery(f"{kind}-{digest}")

    def find(self) -> Delivery | None:
        """What was recorded last. Raises `CorruptError` where that can't be read."""
        try:
            return decode_record(Delivery, self._storage.read(self.name))
        except FileNotFoundError:
            return None
        except Unreadable as error:
            raise CorruptError(
                f"{self.name} can't be read: {error}.",
                safe="Nothing was changed.",
                next="Restore it from a copy; or move it away, if you are sure of what "
                f"{self.target} holds.",
            ) from error

    def save(
        self,
        *,
        batches: int,
        rows: int,
        content: str,
        size: int = 0,
        digest: str = "",
        replaces: str = "",
    ) -> None:
        """Record it in the place of what was recorded before; see `Delivery`."""
        record = Delivery(
            kind=self.kind,
            target=self.target,
            batches=batches,
            rows=rows,
            content=content,
            size=size,
            digest=digest,
            replaces=replaces,
            run=self._run,
            time=self._now(),
            dataset=self._dataset,
            adds_rows=self._adds_rows,
        )
        self._storage.ensure_folder(self._layout.deliveries)
        replace(self._storage, self._layout.staging, self.name, encode_record(record))

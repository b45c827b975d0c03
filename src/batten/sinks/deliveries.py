"""The record of what a destination has been given: evidence, which can prove a loss."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import field

from batten.errors import CorruptError
from batten.model.disk.destinations.delivery import Delivery
from batten.model.disk.names import Layout
from batten.model.disk.records import Unreadable, decode_record, encode_record
from batten.model.value_class import value_class
from batten.storage.base import Folder
from batten.storage.changing.publishing import replace

NAME_DIGEST_CHARACTERS = 12


@value_class
class Receiver:
    """Who is given something: a destination, as its sink describes it. `dataset` names the rows in
    tokens; with `adds_rows` each of them is a row of its own; with `has_own_keys` each has a key of
    its own. `package` brings the kind, where
    batten does not; with `is_remote` a server has it; with `lets_go` what it has makes way for a
    dataset that is made anew. Unless it `can_be_asked`, this record alone tells what it has. By
    `marks` its rows are told from those of other runs; `form` says how they stand there."""

    kind: str
    target: str
    dataset: str = ""
    adds_rows: bool = False
    has_own_keys: bool = False
    package: str = ""
    is_remote: bool = False
    lets_go: bool = False
    can_be_asked: bool = True
    marks: Mapping[str, str] = field(default_factory=dict)
    form: str = ""


class DeliveryBook:
    """The record of one destination of a ledger; `now` gives the time in UTC."""

    def __init__(
        self,
        storage: Folder,
        layout: Layout,
        receiver: Receiver,
        *,
        run: str,
        now: Callable[[], str],
    ) -> None:
        self._storage = storage
        self._layout = layout
        self._receiver = receiver
        self._run = run
        self._now = now
        digest = hashlib.sha256(self.target.encode()).hexdigest()[:NAME_DIGEST_CHARACTERS]
        self.name = layout.delivery(f"{self.kind}-{digest}")

    @property
    def kind(self) -> str:
        return self._receiver.kind

    @property
    def target(self) -> str:
        return self._receiver.target

    def find(self) -> Delivery | None:
        """What was recorded last. Raises `CorruptError` if that can't be read."""
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
        files: Mapping[str, str] | None = None,
    ) -> None:
        """Record it in the place of what was recorded before; see `Delivery`."""
        record = Delivery(
            **vars(self._receiver),
            batches=batches,
            rows=rows,
            content=content,
            size=size,
            digest=digest,
            replaces=replaces,
            files=dict(files or {}),
            run=self._run,
            time=self._now(),
        )
        self._storage.ensure_folder(self._layout.deliveries)
        replace(self._storage, self._layout.staging, self.name, encode_record(record))

    def forget(self) -> None:
        """Record that what was given is out of date. Where nothing was recorded, nothing is."""
        if (record := self.find()) is not None:
            self.save(
                batches=0,
                rows=record.rows,
                content=record.content,
                size=record.size,
                digest=record.digest,
                replaces=record.replaces,
                files=record.files,
            )

"""What destinations were given, by the records of it, and what lies there now."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from batten.errors import StorageError
from batten.ledger.facts.batches.part_footers import PublishedBatches
from batten.ledger.facts.batches.roll_up_reads import RollUpReads
from batten.ledger.facts.noted_reads import ODD_NAME
from batten.ledger.facts.observation import find_own_file, list_expected
from batten.ledger.facts.placed_files import has_item_files, list_current, look_at_files
from batten.lookup.look_at_destination import look_at_destination
from batten.model.disk.destinations.delivery import Delivery
from batten.model.disk.names import is_delivery
from batten.model.disk.records import Completion, Config, decode_record
from batten.model.rules.findings import Code
from batten.model.words import FILE_KINDS
from batten.sinks.located import locate_read
from batten.storage.base import describe_kind
from batten.storage.failures import find_obstacle
from batten.storage.relative import last_piece


class DeliveryReads(RollUpReads):
    """Reads these records, looks at the destinations, and notes what is not as it should be."""

    def _read_deliveries(self) -> tuple[Delivery, ...]:
        names = []
        for name in sorted(entry.name for entry in self._list(self.layout.deliveries)):
            if is_delivery(last_piece(name)):
                names.append(name)
            else:
                self._note(Code.FOREIGN_FILE, name, ODD_NAME)
        found = (
            self._decode(name, Code.UNREADABLE_DELIVERY, partial(decode_record, Delivery))
            for name in names
        )
        return tuple(delivery for delivery in found if delivery is not None)

    def _find_placed(
        self,
        deliveries: Iterable[Delivery],
        config: Config | None,
        completion: Completion | None,
    ) -> dict[str, int]:
        placed = {}
        targets = {delivery.target for delivery in deliveries if delivery.is_file}
        if (own := find_own_file(self.layout, config)) is not None:
            targets.add(own)
        if completion is not None:
            expected = list_expected(self.layout, config, completion)
            targets.update(target for target, kind in expected.items() if kind in FILE_KINDS)
        for target in sorted(targets):
            try:
                storage, name = locate_read(self.storage, target)
                entry = storage.find(name)
            except StorageError as error:
                if obstacle := find_obstacle(error):
                    self._note(Code.NOT_LOOKED_AT, target, f"can't be looked at: {obstacle}")
                else:
                    self._note_error(Code.UNREADABLE_FILE, target, error)
                continue
            if entry is not None and not entry.is_file:
                evidence = f"{describe_kind(entry)} lies where the file should be"
                self._note(Code.UNREADABLE_FILE, name, evidence)
            elif entry is not None:
                placed[target] = entry.size
        return placed

    def _look_at_destinations(
        self, deliveries: Iterable[Delivery], completion: Completion | None, *, is_thorough: bool
    ) -> None:
        is_closed = completion is not None
        for delivery in deliveries:
            self.findings += look_at_destination(
                self.storage, delivery, is_thorough=is_thorough, is_closed=is_closed
            )

    def _look_at_files(
        self, config: Config | None, deliveries: Iterable[Delivery], published: PublishedBatches
    ) -> None:
        if not has_item_files(config, deliveries):
            return
        current = None
        if not published.is_vouched:
            current = list_current(published.claims, published.recorded)
        try:
            self.findings += look_at_files(self.storage, self.layout, config, deliveries, current)
        except StorageError as error:
            self._note_error(Code.UNREADABLE_FOLDER, self.layout.files, error)

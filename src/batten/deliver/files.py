"""A destination that gets the files of which the ledger's rows tell, batch by batch."""

from __future__ import annotations

from collections.abc import Collection

from batten.deliver.batches import BatchRoute
from batten.errors import BATCHES_KEPT, InconsistentError
from batten.ledger.facts.placed_files import look_at_files
from batten.model.disk.published import Published
from batten.model.disk.records import Config, decode_record
from batten.model.rules.findings import DOUBT
from batten.model.telling.counts import count_of
from batten.plan.planned_items import PlannedItems
from batten.sinks.files.items import FilesDestination


class FileRoute(BatchRoute):
    """Its records say which files are an item's. So it can let go of any, and take others."""

    adds_rows = False

    def refuse_retry(self, batches: Collection[int]) -> None:
        """Files of items that are retried take their places beside the others."""

    def holds(self, batch: int) -> bool:
        return False

    def list_kept(self, batches: Collection[int]) -> list[int]:
        return []

    def can_start_anew(self) -> bool:
        return True

    def withdraw(self, batches: Collection[int]) -> None:
        super().withdraw(batches)
        if isinstance(self.destination, FilesDestination):
            for batch in batches:
                self.destination.begin_again(batch)

    def look(self, published: Collection[int], items: PlannedItems) -> None:
        super().look(published, items)
        self._refuse_damage()

    def finish(self, batches: int) -> None:
        self.take()
        if not self.is_lacking and isinstance(self.destination, FilesDestination):
            self.destination.tidy(batches)
        super().finish(batches)
        self._refuse_damage()

    def _refuse_damage(self) -> None:
        """Raises `InconsistentError` where a file is not as its batch has it, or is nobody's."""
        context, record = self._context, self._book.find()
        commits = map(self._supply.load_commit, sorted(self._published))
        current = {commit.batch: str(commit.digest) for commit in commits}
        found = look_at_files(
            context.storage,
            context.layout,
            decode_record(Config, context.storage.read(context.layout.config)),
            [] if record is None else [record],
            current,
        )
        damage = [each for each in found if each.severity in DOUBT]
        if damage:
            more = f" (and {count_of(len(damage) - 1, 'more finding')})" if damage[1:] else ""
            raise InconsistentError(
                f"{damage[0].path}: {damage[0].evidence}{more}.",
                safe=f"It was not touched; {BATCHES_KEPT}",
                next=_as_sentence(damage[0].advise(context.path)),
            )

    def _count_bytes(self, batches: int) -> int:
        if not isinstance(self.destination, FilesDestination):
            return 0
        return sum(size for batch, size in self.destination.bytes.items() if batch < batches)

    def _refuse_loss(self, commit: Published, delivered: int) -> None:
        """A lost record is made anew: the files say themselves what they are."""


def _as_sentence(advice: str) -> str:
    return f"{advice[0].upper()}{advice[1:]}"

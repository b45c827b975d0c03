"""What was staged before, and which of it the run takes over."""

from __future__ import annotations

from batten.drive.staged import find_sealed, sort_staged
from batten.model.disk.names import StagedChunk, StagedFile
from batten.plan.plan import Plan
from batten.run.context import Context
from batten.run.found_dataset import FoundDataset
from batten.work.bench import Bench
from batten.work.tasks import Sealed


class Adoption:
    """The staged files of one dataset, by batch. With `leaves_failures_out` what failed is not
    taken over, and is to be tried again. `adopted` are the batches of which there was something.

    Without a `schema` none was pinned, so no batch can be sealed for good."""

    def __init__(
        self,
        context: Context,
        dataset: FoundDataset,
        plan: Plan,
        bench: Bench,
        schema: bytes | None,
    ) -> None:
        self._storage, self._layout = context.storage, context.layout
        self._plan = plan
        self._bench = bench
        self._schema = schema
        self._fingerprints = context.list_fingerprints(dataset.fingerprint)
        self._staged = sort_staged(self._layout, dataset.observation.staged)
        self.leaves_failures_out = False
        self.adopted: set[int] = set()

    def find(self, batch: int) -> tuple[list[StagedChunk], Sealed | None]:
        """What is staged of the batch: chunks, and all of it sealed, perhaps."""
        files = self._staged.get(batch, [])
        chunks = [file for file in files if isinstance(file, StagedChunk)]
        sealed = None
        if self._schema is not None:
            found = [file for file in files if isinstance(file, StagedFile)]
            planned = self._plan.batch(batch)
            sealed = find_sealed(
                self._storage,
                self._layout,
                planned,
                found,
                self._fingerprints,
                self._plan.revision(planned),
            )
            if sealed is not None and not self._bench.staging.has_files(sealed, planned):
                sealed = None
        if self.leaves_failures_out:
            chunks, sealed = self._leave_failures_out(batch, chunks, sealed)
        if sealed is not None or chunks:
            self.adopted.add(batch)
        return chunks, sealed

    def clear_failures(self, schema: bytes | None) -> None:
        """Take failed items out of all that is staged now, since they are to be tried again.
        Whoever counts what lies there counts finished items."""
        self._schema, self.leaves_failures_out = schema, True
        self._staged = sort_staged(self._layout, self._storage.list(self._layout.staged))
        for batch in self._staged:
            self.find(batch)

    def take_leftovers(self, batch: int) -> list[str]:
        """The names of all that was staged for the batch. It is of no use once the batch is
        published."""
        return [
            self._layout.staged_chunk(file)
            if isinstance(file, StagedChunk)
            else self._layout.staged_file(file.batch, file.kind, file.digest)
            for file in self._staged.pop(batch, [])
        ]

    def _leave_failures_out(
        self, batch: int, chunks: list[StagedChunk], sealed: Sealed | None
    ) -> tuple[list[StagedChunk], Sealed | None]:
        planned, bench = self._plan.batch(batch), self._bench
        schema = bench.read_schema(self._schema)
        kept = [
            each
            for chunk in chunks
            for each in bench.staging.without_failures(planned, chunk, schema)
        ]
        if sealed is not None and sealed.quarantine_digest:
            return [*kept, *bench.reopening.keep_finished(sealed)], None
        return kept, sealed

"""The second dataset of a finalize step, before it is made."""

from __future__ import annotations

from batten.jobs.finalizer import Finalizer
from batten.model.disk.fingerprints import FINALIZED_FROM as MADE_OF
from batten.model.disk.records import Fingerprint
from batten.model.value_class import value_class
from batten.run.context import Context


@value_class
class FinalDataset:
    """The second dataset: where it will be, what makes it, and what it will be. `before` is the
    digest that batten 0.1 gave to the same. `state` stands for the first dataset, as it is read."""

    finalizer: Finalizer
    context: Context
    fingerprint: Fingerprint
    before: str
    part_rows: int
    state: str

    @property
    def made_of(self) -> str:
        return self.fingerprint.parts[MADE_OF]

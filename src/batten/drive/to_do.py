"""What a run has to do, of all that is planned."""

from __future__ import annotations

from collections.abc import Sequence

from batten.model.value_class import value_class


@value_class
class ToDo:
    """Batches to be done: those without a part, and those of which some items are computed again,
    since they have `changed` or gone, or had failed."""

    pending: Sequence[int] = ()
    to_reopen: Sequence[int] = ()
    changed: frozenset[int] = frozenset()

    @property
    def known_to_fail(self) -> frozenset[int]:
        """Those that are reopened for what had failed."""
        return frozenset(self.to_reopen) - self.changed


NOTHING = ToDo()

"""How many items lie in published parts, by outcome."""

from __future__ import annotations

from batten.ledger.facts.batches.held_claims import Claims
from batten.model.rules.accounting import Accounts, Claim, OutcomeCounts, tally_outcomes
from batten.plan.plan import Plan


class PublishedItems:
    """Counts along while batches are published and reopened."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self._counts = claims.count_all()

    @property
    def items(self) -> int:
        return self._counts.items

    def find_claim(self, batch: int) -> Claim | None:
        """What an earlier run published of the batch."""
        return self._claims.get(batch)

    def add(self, outcomes: str) -> None:
        """A batch was published."""
        self._add(tally_outcomes(outcomes), 1)

    def take_away(self, outcomes: str) -> None:
        """A published batch is reopened."""
        self._add(tally_outcomes(outcomes), -1)

    def _add(self, counts: OutcomeCounts, sign: int) -> None:
        pairs = zip(self._counts, counts, strict=True)
        self._counts = OutcomeCounts(*(had + sign * more for had, more in pairs))

    def make_accounts(self, plan: Plan, *, staged: int) -> Accounts:
        """The accounts as they stand while so many items are staged."""
        counts = self._counts
        return Accounts(
            source=plan.items - counts.removed + plan.duplicates,
            committed=counts.committed,
            filtered=counts.filtered,
            quarantined=counts.quarantined,
            duplicate=plan.duplicates,
            staged=staged,
            pending=max(0, plan.items - counts.items - staged),
            removed=counts.removed,
            adopted=counts.adopted,
        )

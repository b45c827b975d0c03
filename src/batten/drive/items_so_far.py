"""What became of the items of a run so far, as its stages count along."""

from __future__ import annotations

from batten.drive.publishing.published_items import PublishedItems
from batten.drive.stopping.failure_budget import Failures
from batten.model.value_class import value_class
from batten.work.calling.most_fail import Streak


@value_class
class ItemsSoFar:
    """Those that failed, of the whole dataset; those that ended in this run, one after the other;
    and those in published parts."""

    failures: Failures
    streak: Streak
    published: PublishedItems

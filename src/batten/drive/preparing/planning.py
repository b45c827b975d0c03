"""What there is to do, as a run plans it: what must be so before its plan may grow or change."""

from __future__ import annotations

from batten.deliver.delivering import Deliverer
from batten.drive.closing import withdraw_completion
from batten.drive.handing_out.flight import forget_crashes_with
from batten.drive.preparing.config import choose_batch_size
from batten.drive.preparing.outdated import PublishedVersions
from batten.model.disk.records import name_dataset
from batten.plan.changed_items import find_batches
from batten.plan.extending import WhoPlans, extend_plan
from batten.plan.plan import Plan
from batten.plan.planned_items import PlannedItems
from batten.plan.source_look import SourceLook
from batten.run.context import Context
from batten.run.found.changed_job_refusal import name_fresh_way
from batten.run.found.found_dataset import FoundDataset
from batten.sources.base import Source, with_reader


def plan_of(context: Context, dataset: FoundDataset) -> Plan:
    """The plan as it was found."""
    found = dataset.judgement.plan
    segments = list(found.segments) if found else []
    return Plan(context.storage, context.layout, segments, dataset.observation.revised)


def items_of(context: Context, plan: Plan) -> PlannedItems:
    return PlannedItems(plan, context.pipeline.source)


def plan_more(
    context: Context, deliverer: Deliverer, dataset: FoundDataset, plan: Plan, source: Source
) -> tuple[Plan, SourceLook]:
    """The plan with what the source has now, and what was seen; see `extend_plan`. Raises
    `RefusedError` where a destination could not let go of the rows of items that have changed."""
    published = PublishedVersions(context, dataset)

    def allow(items: set[int]) -> None:
        published.allow(find_batches(plan, items), deliverer)
        # What was in hand at crashes was something else.
        forget_crashes_with(context.storage, context.layout, items, context.run)

    return extend_plan(
        context.storage,
        context.layout,
        with_reader(
            source,
            f"{context.storage.place}/{context.layout.output}",
            name_dataset(dataset.observation.config),
            is_begun=bool(plan.segments),
        ),
        plan,
        choose_batch_size(context, dataset.observation.config),
        limit=context.options.limit,
        ways_on=name_fresh_way(context, dataset.observation),
        who=WhoPlans(
            before_change=lambda: withdraw_completion(context, dataset),
            before_revision=allow,
            published_revision=published.revision_of,
            between_blocks=context.refuse_stopped,
        ),
    )

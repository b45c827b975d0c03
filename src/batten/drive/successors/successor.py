"""What takes the place of an output: a dataset that is made beside the old one.

The old one stays as it is, for readers and for a run that goes on with it, until the new one is
complete. Then one step puts it in the old one's place. A killed one is taken up again by the next
run that makes the same, and is deleted if it can't be (decisions 0016, 0102).
"""

from __future__ import annotations

import os
from dataclasses import replace

from batten.deliver.delivering import Deliverer
from batten.drive.preparing.in_order import settle_config
from batten.ledger.generations import SeenGenerations, claim, clear_away, succeed
from batten.ledger.history.usage import carry_usage
from batten.ledger.replacement import replace_dataset
from batten.model.disk.records import Fingerprint
from batten.model.rules.findings import DOUBT, find_worst
from batten.model.value_class import value_class
from batten.model.words import State
from batten.run.checks import refuse_unfit
from batten.run.clock import utc_now
from batten.run.context import Context
from batten.run.disk_room import check_disk
from batten.run.found.changed_job import is_same_job
from batten.run.found.found_dataset import FoundDataset, look, observe_free, refuse_other_job
from batten.storage.changing.orphans import delete_staged_orphans
from batten.storage.changing.publishing import make_folders
from batten.work.submitting.settling import settle_submissions


@value_class
class Successor:
    """A dataset beside another one, as it was found. The destinations are the old one's until it
    has taken its place, so its `deliverer` has none, and at most asks those. In a store it has a
    `claim` on that place."""

    context: Context
    dataset: FoundDataset
    deliverer: Deliverer
    claim: SeenGenerations | None = None


def begin_anew(
    context: Context, deliverer: Deliverer, fingerprint: Fingerprint, work: Fingerprint
) -> Successor | None:
    """One that is computed anew. None where there is no old one, and nothing is beside which it
    could be made."""
    storage, layout = context.storage, context.layout
    observation, judgement = observe_free(context)
    refuse_other_job(context, observation, fingerprint)
    is_doubtful = find_worst(judgement.findings) in DOUBT
    if judgement.verdict.state is State.UNKNOWN or (
        observation.config is None and not observation.parts and not is_doubtful
    ):
        return None
    deliverer.refuse_fresh()
    delete_staged_orphans(storage, layout, [entry.name for entry in judgement.orphans])
    is_of_use = _is_of_use(replace(context, layout=layout.fresh), fingerprint)
    if storage.folder is None:
        return _claim(context, fingerprint, work, goes_on=bool(layout.next) and is_of_use)
    settle_submissions(context, layout)
    if not is_of_use:
        give_up_begun(context)
    if not is_doubtful:
        refuse_unfit(context, [check_disk(context, observation, judgement.accounts, is_anew=True)])
    inner = replace(context, layout=layout.fresh, is_beside=True)
    return open_successor(inner, fingerprint, work)


def give_up_begun(context: Context) -> None:
    """Delete what a killed run began beside, if it did. What its calls used is not forgotten."""
    layout = context.layout
    settle_submissions(context, layout.fresh)
    carry_usage(context.storage, layout.fresh, layout, context.run)
    context.folder.delete_tree(layout.fresh_folder)


def _is_of_use(beside: Context, fingerprint: Fingerprint) -> bool:
    """Whether what a killed run began beside can be gone on with."""
    begun, judged = observe_free(beside)
    is_same = (
        begun.config is not None
        and not begun.config.takes_over
        and is_same_job(beside, begun.config.fingerprint, fingerprint)
    )
    is_rowless = bool(begun.parts) and not judged.rows
    return is_same and not is_rowless and find_worst(judged.findings) not in DOUBT


def _claim(
    context: Context, fingerprint: Fingerprint, work: Fingerprint, *, goes_on: bool
) -> Successor:
    """The generation of a store that was begun, or a new one. What is of no use any more is deleted
    when this one has taken its place."""
    name = context.layout.next if goes_on else f"{context.run}-{os.urandom(4).hex()}"
    claimed = claim(context.storage, context.layout, name=name)
    context.layout = replace(context.layout, next=name)
    inner = replace(context, layout=context.layout.fresh, is_beside=True)
    return replace(open_successor(inner, fingerprint, work), claim=claimed)


def begin_again(context: Context, successor: Successor) -> Successor:
    """A killed run had begun it for an earlier source, so nothing is lost with what is there."""
    dataset = successor.dataset
    if context.storage.folder is None:
        return _claim(context, dataset.fingerprint, dataset.work, goes_on=False)
    give_up_begun(context)
    return open_successor(successor.context, dataset.fingerprint, dataset.work)


def open_successor(
    inner: Context,
    fingerprint: Fingerprint,
    work: Fingerprint,
    *,
    asks: Deliverer | None = None,
) -> Successor:
    """The dataset beside, as far as it is made."""
    make_folders(inner.storage, [inner.layout.control])
    dataset = look(inner, fingerprint, work)
    return Successor(context=inner, dataset=dataset, deliverer=Deliverer(inner, (), asks=asks))


def take_place(context: Context, deliverer: Deliverer, successor: Successor) -> None:
    """Put the dataset beside, which is complete, in the place of the old one."""
    if successor.claim is not None:
        succeed(context.storage, context.layout, successor.claim)
        context.layout = context.layout.fresh
        clear_away(context.storage, context.layout, context.progress.note)
        return
    storage, layout = context.folder, context.layout
    storage.ensure_folder(layout.staging)
    deliverer.open_again()
    replace_dataset(storage, layout, run=context.run, time=utc_now())
    settle_config(storage, layout)

"""Finalize: of the whole published dataset a second one is made, and put in place in one step.

It is made whole in `final.batten/fresh/`; `ledger.replacement` puts it in place, also the first
time. In a store each attempt is a generation of its own, and one write of the pointer puts it in
place (decision 0145). Its items are its rows, and its fingerprint says what it was made of and by
what: while that is the same, there is nothing to do.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from batten.errors import BattenError, RefusedError
from batten.finalize.second_dataset import FinalDataset
from batten.fingerprint.descriptions import combine
from batten.fingerprint.functions import describe_function
from batten.fingerprint.secret import Secret
from batten.jobs.finalizer import Finalizer
from batten.ledger.contents import digest_contents, find_contents
from batten.ledger.facts.observation import Observation
from batten.ledger.facts.secrecy import take_out
from batten.ledger.generations import claim, clear_away, enter, find_current, give_up, succeed
from batten.ledger.guarded import taken_over
from batten.ledger.judge import Judgement
from batten.ledger.replacement import replace_dataset, roll_forward
from batten.model.disk.fingerprints import FINALIZED_FROM as MADE_OF
from batten.model.disk.names import FIRST_GENERATION, Layout
from batten.model.disk.records import Completion
from batten.model.words import RunStatus, State
from batten.optional import ensure_optional
from batten.run.clock import utc_now
from batten.run.context import Context
from batten.run.found.found_dataset import observe_free, refuse_damaged
from batten.run.report import Finalized, Report
from batten.storage.addresses import STORES
from batten.storage.base import Store
from batten.storage.changing.orphans import delete_orphans
from batten.storage.local.folder import LocalStorage
from batten.storage.local.locking.output_lock import take_lock

PART_ROWS_MAX = 1 << 17
PART_BYTES = 1 << 26
"""A part has so many rows as the first dataset has in so many bytes, and never more than those."""


def check_finalizers(finalizers: Sequence[Finalizer]) -> None:
    """Raise before the work begins what would else be raised when it is done."""
    for finalizer in finalizers:
        described = describe_function(finalizer.function, version=finalizer.version)
        for name in described.secrets:
            Secret(name)()
        if finalizer.form != "arrow":
            ensure_optional(finalizer.form, f".finalize({finalizer.name})")
        if finalizer.store is not None:
            finalizer.store.open()
            if finalizer.store.scheme in STORES:
                ensure_optional("obstore", finalizer.shown, package='"batten[objects]"')


def finalize_all(context: Context, report: Report) -> Report:
    """Bring every second dataset up to date with the first, under whose lock this is called; of a
    dry run, say what would be done. An error that is raised carries the report."""
    context = _find_first(context)
    done: list[Finalized] = []
    for finalizer in context.pipeline.finalizers:
        try:
            done.append(_finalize(context, finalizer, report))
        except BattenError as error:
            reached = replace(report, status=RunStatus.FAILED, finalized=tuple(done))
            error.report = error.report or reached
            raise
    is_made = any(each.status == RunStatus.COMPLETE for each in done)
    return replace(
        report,
        status=RunStatus.COMPLETE if is_made else report.status,
        finalized=tuple(done),
        seconds=dict(context.seconds),
    )


def _find_first(context: Context) -> Context:
    """In a store another generation may be read by now than at the beginning of the run."""
    if context.storage.folder is not None:
        return context
    return replace(context, layout=find_current(context.storage, context.layout))


def _finalize(context: Context, finalizer: Finalizer, report: Report) -> Finalized:
    path = finalizer.shown
    if report.status == RunStatus.LIMITED:
        return Finalized(path=path, status=RunStatus.LIMITED, rows=0)
    accounts = report.accounts
    if report.status == RunStatus.PLANNED and accounts and accounts.pending + accounts.staged:
        return Finalized(path=path, status=RunStatus.PLANNED, rows=0)
    with context.timed("finalize"):
        target = _aim(context, finalizer, path)
        if report.status == RunStatus.PLANNED:
            rows = _find_up_to_date(target, *_look(target))
            status = RunStatus.PLANNED if rows is None else RunStatus.NOTHING_TO_DO
            return Finalized(path=path, status=status, rows=rows or 0)
        return _bring_up_to_date(context, target)


def _aim(context: Context, finalizer: Finalizer, path: str) -> FinalDataset:
    storage, layout, made_of = _choose_place(context, finalizer)
    contents = find_contents(context.storage, context.layout)
    if contents is None:
        raise taken_over(context.storage, context.layout.config)
    part_rows = _count_part_rows(contents.completion)
    described = describe_function(finalizer.function, version=finalizer.version)
    parts = {
        MADE_OF: made_of,
        "data": digest_contents(context.storage, context.layout, contents, context.path),
        "step": f"finalize {described.name}, given {finalizer.form}",
        "batch size": str(part_rows),
    }
    return FinalDataset(
        finalizer=finalizer,
        context=replace(
            context,
            storage=storage,
            layout=layout,
            path=path,
        ),
        fingerprint=combine(parts | described.parts, described.places),
        before=combine(parts | described.parts_before, {}).digest,
        part_rows=part_rows,
        state=contents.state,
    )


def _choose_place(context: Context, finalizer: Finalizer) -> tuple[Store, Layout, str]:
    """Where the second dataset lies, and how the first is found from there."""
    output = finalizer.output
    layout = Layout(output.name)
    if finalizer.store is not None:
        storage = finalizer.store.open()
        layout = replace(layout, is_shared=storage.folder is None)
        return storage, find_current(storage, layout), context.place
    if context.storage.folder is None:
        return LocalStorage(output.parent), layout, context.place
    first = context.pipeline.output
    folder = first.parent if first is not None else output.parent
    is_beside = os.path.abspath(output.parent) == os.path.abspath(folder)
    made_of = os.path.relpath(folder / context.layout.output, output.parent)
    return context.storage if is_beside else LocalStorage(output.parent), layout, made_of


def _refuse_overtaken(context: Context, target: FinalDataset) -> None:
    """Raises `BusyError` where another run has changed the first dataset while it was read. In a
    folder its lock is held (decision 0128)."""
    if context.storage.folder is not None:
        return
    now = find_contents(context.storage, _find_first(context).layout)
    if now is None or now.state != target.state:
        raise taken_over(context.storage, context.layout.config)


def _count_part_rows(completion: Completion) -> int:
    size = sum(completion.part_sizes)
    return max(1, min(PART_ROWS_MAX, PART_BYTES * completion.rows // max(1, size)))


def _look(target: FinalDataset) -> tuple[Observation, Judgement]:
    """What is there. Raises if it is damaged, or belongs to another."""
    context = target.context
    observation, judgement = observe_free(context)
    config = observation.config
    if not context.options.is_fresh or _is_of_another(context, observation, judgement):
        refuse_damaged(context, observation, judgement)
    found = config.fingerprint.parts.get(MADE_OF) if config is not None else target.made_of
    if found != target.made_of:
        was = f"finalized from {found}" if found is not None else "not made by finalize"
        raise RefusedError(
            f"{context.path} is another dataset, {was}, and would be replaced.",
            safe=f"Nothing was changed; {target.made_of} is complete.",
            next="Finalize into another place.",
        )
    return observation, judgement


def _is_of_another(context: Context, observation: Observation, judgement: Judgement) -> bool:
    """Whether parts lie in a store where no finalize step puts any. Nothing is set aside there, so
    they would be deleted."""
    if context.storage.folder is not None:
        return False
    is_first = context.layout.generation == FIRST_GENERATION and observation.config is None
    return judgement.verdict.state is State.UNKNOWN or (is_first and bool(observation.parts))


def _find_up_to_date(
    target: FinalDataset, observation: Observation, judgement: Judgement
) -> int | None:
    """The number of rows of what is there, if the same would be made now."""
    config = observation.config
    digests = (target.fingerprint.digest, target.before)
    is_same = config is not None and config.fingerprint.digest in digests
    is_kept = is_same and not target.context.options.is_fresh
    return judgement.rows if is_kept and observation.completion is not None else None


def _bring_up_to_date(context: Context, target: FinalDataset) -> Finalized:
    inner = target.context
    if inner.storage.folder is None:
        return _bring_up_to_date_in_store(context, target)
    storage, layout = inner.folder, inner.layout
    if storage.find(layout.control) is None:
        _look(target)
        storage.ensure_folder(layout.control)
    with take_lock(storage, layout, inner.path):
        roll_forward(storage, layout)
        observation, judgement = _look(target)
        delete_orphans(storage, [entry.name for entry in judgement.orphans])
        storage.delete_tree(layout.fresh_folder)
        if observation.config is not None and observation.holds_clear_secrets:
            storage.ensure_folder(layout.staging)
            take_out(storage, layout, observation.config)
        rows = _find_up_to_date(target, observation, judgement)
        if rows is not None:
            return Finalized(path=inner.path, status=RunStatus.NOTHING_TO_DO, rows=rows)
        from batten.finalize.making import make_second

        rows = make_second(context, target)
        _refuse_overtaken(context, target)
        storage.ensure_folder(layout.staging)
        replace_dataset(storage, layout, run=context.run, time=utc_now())
        return Finalized(path=inner.path, status=RunStatus.COMPLETE, rows=rows)


def _bring_up_to_date_in_store(context: Context, target: FinalDataset) -> Finalized:
    """What the function returns may be another each time, so no attempt goes on with parts of
    another one: a killed one is given up (decision 0145)."""
    inner = target.context
    storage, tell = inner.storage, context.progress.note
    _look(target)
    with take_lock(storage, inner.layout, inner.path):
        inner.layout = enter(storage, inner.layout, is_fresh=True, tell=tell)
        rows = _find_up_to_date(target, *_look(target))
        if rows is not None:
            give_up(storage, inner.layout, tell)
            return Finalized(path=inner.path, status=RunStatus.NOTHING_TO_DO, rows=rows)
        from batten.finalize.making import make_second

        name = f"{context.run}-{os.urandom(4).hex()}"
        claimed = claim(storage, inner.layout, name=name)
        inner.layout = replace(inner.layout, next=name)
        rows = make_second(context, target)
        _refuse_overtaken(context, target)
        succeed(storage, inner.layout, claimed)
        inner.layout = inner.layout.fresh
        clear_away(storage, inner.layout, tell)
        return Finalized(path=inner.path, status=RunStatus.COMPLETE, rows=rows)

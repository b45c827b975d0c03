"""What a vendor still has of a dataset and nobody wants any more: called off, and accounted for."""

from __future__ import annotations

import time

from batten.jobs.batch_api import BatchApi
from batten.ledger.history.submissions import forget_submission, list_submissions, tell_postponed
from batten.ledger.history.usage_journal import UsageJournal
from batten.model.disk.names import Layout
from batten.model.disk.runs.submissions import SubmissionRecord
from batten.model.disk.runs.usage_lines import LostLine
from batten.run.context import Context
from batten.vendors.openai_batches import SilentVendorError
from batten.work.submitting.exchange import (
    COLLECTS_MAX,
    FINDS_MAX,
    PAUSE_SECONDS,
    SILENCES_MAX,
    Exchange,
    NotBegunError,
    unreachable,
)


def settle_submissions(context: Context, layout: Layout) -> None:
    """When this returns the vendors have nothing of the dataset any more, and the accounts have
    what that used. Raises `InterruptedRunError` where a run is not to wait for it, and
    `StorageError` where a vendor does not answer."""
    for record in list_submissions(context.storage, layout):
        if not record.is_answered:
            _settle(context, layout, record)
    for record in list_submissions(context.storage, layout):
        forget_submission(context.storage, layout, record.token)


def _settle(context: Context, layout: Layout, record: SubmissionRecord) -> None:
    journal = UsageJournal(context.storage, layout, context.run)
    if not record.is_asked and not record.batch:
        return
    api = _find_api(context, record)
    if api is None:
        # Nobody knows the way to it any more.
        journal.write(LostLine(end=f"{record.token} given up", calls=len(record.requests)))
        journal.sync()
        return
    exchange = Exchange(context.storage, layout, journal, api)
    began, silences, told = time.monotonic(), 0, ""
    misses = 0
    while True:
        is_last_try = silences >= COLLECTS_MAX if record.batch else misses >= FINDS_MAX
        try:
            record, told = _move(exchange, record, is_last_try=is_last_try)
            misses += not record.batch
            silences = 0
        except NotBegunError:
            return
        except SilentVendorError as error:
            silences += 1
            if silences >= SILENCES_MAX:
                raise unreachable(api, error) from error
        if record.is_answered:
            break
        context.refuse_stopped()
        if api.wait_seconds is not None and time.monotonic() - began > api.wait_seconds:
            requests = len(record.requests)
            is_known = bool(record.batch)
            context.refuse_to_wait(
                tell_postponed(record.base_url, requests, record.begun, is_known=is_known)
            )
        time.sleep(min(api.poll_seconds, PAUSE_SECONDS * 2.0 ** max(silences, misses)))
    if told:
        context.progress.note(told)


def _move(
    exchange: Exchange, record: SubmissionRecord, *, is_last_try: bool
) -> tuple[SubmissionRecord, str]:
    if not record.batch:
        return exchange.find(record, is_last_try=is_last_try), ""
    if record.has_ended:
        return exchange.collect(record, is_last_try=is_last_try)
    if record.status != "cancelling":
        exchange.cancel(record)
    return exchange.look(record), ""


def _find_api(context: Context, record: SubmissionRecord) -> BatchApi | None:
    apis = (step.batch_api for step in context.pipeline.steps)
    place = (record.base_url, record.endpoint)
    return next((api for api in apis if api is not None and api.place == place), None)

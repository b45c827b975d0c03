"""Requests that a vendor has in batches: what is recorded of them (decision 0134)."""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import replace

from batten.errors import CorruptError
from batten.model.disk.bounds import RECORD_BYTES_MAX
from batten.model.disk.names import Layout, find_submission
from batten.model.disk.records import Unreadable, decode_record, encode_record
from batten.model.disk.runs.submissions import SubmissionRecord, item_of_request
from batten.model.telling.counts import count_of
from batten.storage.base import Store
from batten.storage.changing import publishing
from batten.storage.relative import last_piece


def list_submissions(storage: Store, layout: Layout) -> list[SubmissionRecord]:
    """Those that are there, the oldest first. Raises `CorruptError` for one that can't be read: it
    may stand for requests that are paid."""
    names = map(last_piece, storage.list_names(layout.submissions))
    tokens = [token for token in map(find_submission, names) if token is not None]
    found = [_load(storage, layout, token) for token in tokens]
    return sorted(found, key=lambda each: (each.begun, each.token))


def _load(storage: Store, layout: Layout, token: str) -> SubmissionRecord:
    name = layout.submission(token)
    try:
        data = storage.read(name, bytes_max=RECORD_BYTES_MAX["submission"])
        return decode_record(SubmissionRecord, data)
    except (Unreadable, FileNotFoundError) as error:
        raise CorruptError(
            f"{storage.place}/{name} can't be read: {error}.",
            safe="Nothing was changed. It names requests that a vendor may have, and may have been "
            "paid for.",
            next="Restore it from a backup. If it is lost, move it away: then these requests are "
            "asked again, and paid again.",
        ) from error


def begin_submission(storage: Store, layout: Layout, record: SubmissionRecord) -> None:
    """It is durable before the vendor hears of it."""
    publishing.make_folders(storage, [layout.submissions])
    publishing.create(
        storage, layout.staging, layout.submission(record.token), encode_record(record)
    )


def keep_submission(storage: Store, layout: Layout, record: SubmissionRecord) -> None:
    """What is known of it now, in the place of what was."""
    publishing.replace(
        storage, layout.staging, layout.submission(record.token), encode_record(record)
    )


def keep_answers(storage: Store, layout: Layout, token: str, data: bytes) -> None:
    """What the vendor answered, line by line."""
    publishing.replace(storage, layout.staging, layout.submission_answers(token), data)


def read_answers(storage: Store, layout: Layout, token: str) -> bytes:
    """What `keep_answers` kept. Raises `FileNotFoundError`."""
    return storage.read(layout.submission_answers(token), bytes_max=None)


def forget_submission(storage: Store, layout: Layout, token: str) -> None:
    """Nobody needs its answers any more. The record goes last, as it says what the other is."""
    publishing.delete(storage, layout.submission_answers(token))
    publishing.delete(storage, layout.submission(token))


def forget_settled(storage: Store, layout: Layout, is_open: Container[int]) -> None:
    """Of answered submissions, forget the requests of items that are not open any more. Should
    such an item be done again, it asks anew."""
    for record in list_submissions(storage, layout):
        if not record.is_answered:
            continue
        left = [name for name in record.requests if item_of_request(name) in is_open]
        if not left:
            forget_submission(storage, layout, record.token)
        elif len(left) < len(record.requests):
            keep_submission(storage, layout, replace(record, requests=left))


def list_pending(storage: Store, layout: Layout) -> Iterator[SubmissionRecord]:
    """Those that a vendor may still be at work on. For who only looks: passes over what can't be
    read."""
    for name in map(last_piece, storage.list_names(layout.submissions)):
        token = find_submission(name)
        if token is not None:
            with suppress(CorruptError):
                record = _load(storage, layout, token)
                if not record.is_answered:
                    yield record


def tell_postponed(base_url: str, requests: int, since: str, *, is_known: bool = True) -> str:
    """What people are told of requests that a later run collects. Until the vendor has said so, it
    is not known whether it has them."""
    has = "has" if is_known else "may have"
    return f"{base_url} {has} {count_of(requests, 'request')} in batches, since {since}"


def tell_pending(record: SubmissionRecord) -> str:
    """How far these requests are, as far as the record knows."""
    requests, where, since = len(record.requests), record.base_url, record.begun
    if not record.is_asked and not record.batch:
        told = f"{count_of(requests, 'request')} for {where}, since {since}"
        return f"{told}: no batch was asked for yet"
    told = tell_postponed(where, requests, since, is_known=bool(record.batch))
    return f"{told}: {record.status or 'asked for, and not seen yet'}"

"""Requests that a vendor has in batches, as killed runs leave them recorded."""

from __future__ import annotations

import json

from batten.crashlab.odd.records import Folder
from batten.model.disk.names import Layout
from batten.model.disk.records import encode_record
from batten.model.disk.runs.submissions import SubmissionRecord, digest_request, name_request

BASE_URL = "http://127.0.0.1:9/v1"
"""Nobody listens there."""

ENDPOINT = "/v1/chat/completions"
ITEMS = range(8)


def add_pending(folder: Folder) -> Folder:
    """With one of which nothing was asked yet, one that the vendor may have, and one that it is at
    work on."""
    ways: list[dict[str, object]] = [
        {},
        {"file": "file-1", "is_asked": True},
        {"batch": "batch-1", "status": "in_progress"},
    ]
    records = [
        _record(number, ITEMS[3 * number : 3 * number + 3], way) for number, way in enumerate(ways)
    ]
    return _add(folder, records)


def add_answered(folder: Folder) -> Folder:
    """With the answers to all, so that the job can go on without the vendor."""
    way = {"file": "file-1", "is_asked": True, "batch": "batch-1", "is_answered": True}
    record = _record(0, ITEMS, {**way, "status": "completed"})
    answers = Layout("out").submission_answers(record.token)
    lines = b"".join(map(_answer, record.requests))
    return _add({**folder, answers: lines}, [record])


def _add(folder: Folder, records: list[SubmissionRecord]) -> Folder:
    names = {Layout("out").submission(each.token): encode_record(each) for each in records}
    return {**folder, **names}


def _record(number: int, items: range, known: dict[str, object]) -> SubmissionRecord:
    names = [name_request(n, digest_request(json.dumps({"number": n}).encode()), 0) for n in items]
    given: dict[str, object] = {"run": "r", "begun": "b", "base_url": BASE_URL, **known}
    token = f"{number:024x}"
    return SubmissionRecord(token=token, endpoint=ENDPOINT, requests=names, **given)  # type: ignore[arg-type]


def _answer(name: str) -> bytes:
    body = {"said": "yes", "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    line = {"custom_id": name, "response": {"status_code": 200, "body": body}, "error": None}
    return json.dumps(line).encode() + b"\n"

"""What is done with a submission, one step at a time: handed in once, looked up, collected.

A begun batch is an unknown commit until it is found (decision 0134):

    recorded, with its token    nothing was asked: it may be forgotten
    a file is there             nothing is paid for a file: it may be forgotten
    asked                       the batch may be there or not: it is looked for, never asked again
    the batch is known          it is looked at until it has ended
    ended                       its answers are kept, and told to the accounts
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from batten.errors import FailedRunError, StorageError
from batten.jobs.batch_api import BatchApi
from batten.ledger.history.submissions import (
    begin_submission,
    forget_submission,
    keep_answers,
    keep_submission,
    read_answers,
)
from batten.ledger.history.usage_journal import UsageJournal
from batten.model.disk.names import Layout
from batten.model.disk.runs.submissions import ENDED, SubmissionRecord, item_of_request
from batten.model.disk.runs.usage_lines import UNTOLD, LostLine, UseLine
from batten.model.json_text import find_object
from batten.model.telling.counts import count_of
from batten.printable import blot
from batten.run.clock import utc_now
from batten.storage.base import Store
from batten.vendors.openai_batches import (
    BatchVendor,
    SilentVendorError,
    VendorRefusedError,
)
from batten.work.submitting.answer_lines import (
    ReadLines,
    index_lines,
    join_lines,
    read_lines,
    read_usage,
)

SILENCES_MAX = 10
"""So often in a row a vendor may give no answer that makes sense."""

PAUSE_SECONDS = 0.1
"""Until it is asked again; twice as long each time."""

COLLECTS_MAX = SILENCES_MAX - 1
"""So often may answers lack what the vendor says is there; then the lines that are there count."""

FINDS_MAX = 8
"""So often is a batch looked for before its file is deleted: a list may lag."""

_NO_ROOM = "token_limit_exceeded"
_WHY_MAX = 2000
_STATUS_MAX = 64


class NotBegunError(Exception):
    """The vendor has no such batch, and can't get it any more. `refusal` is what it said."""

    def __init__(self, refusal: str) -> None:
        super().__init__(refusal)
        self.refusal = refusal


class ClosedExchangeError(Exception):
    """The run has ended, and the ledger may be another's."""


class Exchange:
    """Between the ledger of one dataset and one vendor. Each method may raise `SilentVendorError`,
    and may then be called again. Threads may use it for different submissions at a time."""

    def __init__(
        self, storage: Store, layout: Layout, journal: UsageJournal, api: BatchApi
    ) -> None:
        self._storage, self._layout, self._journal = storage, layout, journal
        self.api = api
        self._vendor = BatchVendor(api.base_url, api.api_key)
        self._lock = threading.Lock()
        self._is_closed = False
        self._refusals: dict[str, str] = {}
        self._twins: dict[str, list[str]] = {}

    def begin(self, requests: Sequence[str], run: str) -> SubmissionRecord:
        """Record that these requests will be handed in together."""
        record = SubmissionRecord(
            token=os.urandom(12).hex(),
            run=run,
            begun=utc_now(),
            base_url=self.api.base_url,
            endpoint=self.api.endpoint,
            requests=list(requests),
        )
        with self._writing():
            begin_submission(self._storage, self._layout, record)
        return record

    def hand_in(self, record: SubmissionRecord, bodies: Mapping[str, bytes]) -> SubmissionRecord:
        """Give the vendor the requests, then ask it to begin, which is done once. Raises
        `NotBegunError`; the record is gone then."""
        if not record.file:
            data = join_lines(self._write_line(name, bodies[name]) for name in record.requests)
            try:
                file = self._vendor.upload(record.file_name, data)
            except VendorRefusedError as error:
                self.forget(record)
                raise NotBegunError(str(error)) from error
            return self._keep(record, file=file)
        record = self._keep(record, is_asked=True)
        try:
            told = self._vendor.begin(
                record.file, record.endpoint, self.api.completion_window, record.token
            )
        except VendorRefusedError as error:
            self._refusals[record.token] = str(error)
            return record
        except SilentVendorError:
            return record
        return self._take_status(record, told)

    def _write_line(self, name: str, body: bytes) -> bytes:
        head = json.dumps({"custom_id": name, "method": "POST", "url": self.api.endpoint})
        return b'%s, "body": %s}' % (head[:-1].encode(), body)

    def find(self, record: SubmissionRecord, *, is_last_try: bool) -> SubmissionRecord:
        """Whether the vendor has the batch that it was asked for; the same record if it is not seen
        yet. The last try makes sure that it can't get it later either: a request that is still
        under way finds no file. Raises `NotBegunError`."""
        refusal = self._refusals.get(record.token, "")
        is_last_try = is_last_try or bool(refusal)
        if is_last_try:
            self._shut(record, refusal)
        try:
            found = self._vendor.search(record.token, record.file)
        except VendorRefusedError as error:
            raise self._fail(record, f"it refuses to list its batches ({error})") from error
        if found:
            return self._take_status(record, self._choose(record, found))
        if not is_last_try:
            return record
        self.forget(record)
        raise NotBegunError(refusal)

    def _choose(self, record: SubmissionRecord, found: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Of batches that something between the vendor and this run has asked for twice, one is
        taken. The others are called off, and nobody knows what they cost."""
        live = [each for each in found if each["status"] != "failed"] or found
        self._twins[record.token] = others = [each["id"] for each in live[1:]]
        for batch in others:
            lost = LostLine(end=f"{record.token} twice {batch}"[:200], calls=len(record.requests))
            self._journal.write(lost)
        if others:
            # Once one is recorded as taken, nobody looks for the others again.
            self._journal.sync()
        for batch in others:
            self._vendor.cancel(batch)
        return live[0]

    def _shut(self, record: SubmissionRecord, refusal: str) -> None:
        try:
            self._vendor.delete_file(record.file)
        except VendorRefusedError as error:
            if not refusal:
                why = f"it is not in the list, but can still begin, as its file stays ({error})"
                raise self._fail(record, why) from error

    def look(self, record: SubmissionRecord) -> SubmissionRecord:
        """How far the vendor is."""
        try:
            told = self._vendor.look(record.batch)
            told = told or next(iter(self._vendor.search(record.token, record.file)), None)
        except VendorRefusedError as error:
            raise self._fail(record, f"it refuses to tell of it ({error})") from error
        if told is None:
            raise self._fail(record, "it knows of no such batch")
        return self._take_status(record, told)

    def cancel(self, record: SubmissionRecord) -> None:
        """Nobody wants the answers any more."""
        self._vendor.cancel(record.batch)

    def collect(
        self, record: SubmissionRecord, *, is_last_try: bool
    ) -> tuple[SubmissionRecord, str]:
        """Keep the answers, and tell the accounts what they used. The record, and what people are
        to be told; empty if all is as it should be."""
        try:
            record, told = self._look_again(record, is_last_try=is_last_try)
            files = [
                self._read(record, told.get(name), is_last_try=is_last_try)
                for name in ("output_file_id", "error_file_id")
            ]
        except VendorRefusedError as error:
            raise self._fail(record, f"it refuses to give its answers ({error})") from error
        found = read_lines(frozenset(record.requests), [*files, *_read_errors(record, told)])
        if len(found.lines) < _count_expected(record, told):
            if not is_last_try:
                raise SilentVendorError("its files lack answers that it says are there")
            self._check_lacking(record, told, found, has_files=any(files))
        lines = join_lines(found.lines.values())
        with self._writing():
            keep_answers(self._storage, self._layout, record.token, lines)
            self._tell_usage(record, found)
        kept = self._keep(record, is_answered=True)
        return kept, _tell_oddness(record, found, len(self._twins.get(record.token, ())))

    def _check_lacking(
        self,
        record: SubmissionRecord,
        told: Mapping[str, Any],
        found: ReadLines,
        *,
        has_files: bool,
    ) -> None:
        """Raises `FailedRunError` where answers are there, by what the vendor says, and are not
        given: a file that was cut off, a page, or another's file. They may be paid."""
        done = min(_count_done(told), len(record.requests))
        if done > len(found.lines):
            why = f"it says that {done} are answered, and gives {len(found.lines)}"
            raise self._fail(record, why)
        if has_files and not found.lines:
            raise self._fail(record, "its files of answers hold none to these requests")

    def _look_again(
        self, record: SubmissionRecord, *, is_last_try: bool
    ) -> tuple[SubmissionRecord, dict[str, Any]]:
        """What it says of a batch that has ended. Some of its machines may not know that yet."""
        told = self._vendor.look(record.batch)
        if told is not None and told["status"] == record.status:
            return record, told
        if not is_last_try:
            raise SilentVendorError("it does not say twice in the same way how the batch ended")
        if told is None or told["status"] not in ENDED:
            raise self._fail(record, f"it said {record.status}, and says so no more")
        return self._take_status(record, told), told

    def _read(self, record: SubmissionRecord, file: Any, *, is_last_try: bool) -> bytes:
        if not isinstance(file, str) or not file:
            return b""
        data = self._vendor.read_file(file, len(record.requests))
        if data is None and is_last_try:
            raise self._fail(record, "it does not have the file of its answers")
        if data is None:
            raise SilentVendorError("it knows of no file that it names itself")
        return data

    def _tell_usage(self, record: SubmissionRecord, found: ReadLines) -> None:
        untold = 0
        for name, raw in found.lines.items():
            try:
                used = read_usage(find_object(raw) or {}, self.api.usage)
            except Exception as error:
                raise FailedRunError(
                    f"usage= of .map_batch_api() failed for an answer: {error!r}.",
                    safe="The answers lie at the vendor, and nothing is asked again.",
                    next="Mend the function, then run the same command again.",
                ) from error
            untold += bool(used.obstacle)
            if used.amounts:
                answer = name_answer(record.token, name)
                item = item_of_request(name)
                line = UseLine(item=item, attempt="", used=used.amounts, answer=answer)
                self._journal.write(line)
        # Of an answer that never came nobody knows whether it was paid.
        missing = len(record.requests) - len(found.lines) if record.status == "completed" else 0
        unknown = {" doubled": len(found.doubled), " missing": missing, UNTOLD: untold}
        for why, calls in unknown.items():
            if calls:
                self._journal.write(LostLine(end=f"{record.token}{why}", calls=calls))
        self._journal.sync()

    def load_answers(self, record: SubmissionRecord) -> dict[str, bytes]:
        """The line of each request that has one."""
        return dict(index_lines(read_answers(self._storage, self._layout, record.token)))

    def forget(self, record: SubmissionRecord) -> None:
        """Nothing was paid for it, or all is told."""
        with self._writing():
            forget_submission(self._storage, self._layout, record.token)

    def _take_status(self, record: SubmissionRecord, told: Mapping[str, Any]) -> SubmissionRecord:
        status = str(told["status"])[:_STATUS_MAX]
        why = _tell_errors(told) if status == "failed" else ""
        if (record.batch, record.status, record.why) == (told["id"], status, why):
            return record
        return self._keep(record, batch=told["id"], status=status, why=why)

    def _keep(self, record: SubmissionRecord, **known: Any) -> SubmissionRecord:
        record = replace(record, **known)
        with self._writing():
            keep_submission(self._storage, self._layout, record)
        return record

    def close(self) -> None:
        """The run ends, and its lock may go: a thread that is still at work writes nothing more."""
        with self._lock:
            self._is_closed = True

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock:
            if self._is_closed:
                raise ClosedExchangeError
            yield

    def _fail(self, record: SubmissionRecord, why: str) -> FailedRunError:
        held = count_of(len(record.requests), "request")
        name, batch = self._layout.submission(record.token), record.batch or record.token
        return FailedRunError(
            f"{record.base_url} does not give back batch {batch} with {held}: {why}.",
            safe="What it answered may be paid for, so nothing is asked again by itself.",
            next="Run again with the key and the address with which it was begun. To have these "
            f"requests asked and paid again, move {name} away.",
        )


def name_answer(token: str, request: str) -> str:
    """What the accounts call an answer, by which it is paid once."""
    return f"{token}/{request}"


def is_for_want_of_room(record: SubmissionRecord) -> bool:
    """Whether the batch failed since the vendor has as much of this customer as it takes."""
    return _NO_ROOM in record.why


def _count_expected(record: SubmissionRecord, told: Mapping[str, Any]) -> int:
    """How many answers there are at least."""
    return len(record.requests) if record.status == "completed" else _count_done(told)


def _count_done(told: Mapping[str, Any]) -> int:
    """How many requests the vendor says that it has answered; 0 if it does not say."""
    counts = told.get("request_counts")
    done = counts.get("completed") if isinstance(counts, dict) else None
    return done if type(done) is int else 0


def _read_errors(record: SubmissionRecord, told: Mapping[str, Any]) -> list[bytes]:
    """A batch that failed as a whole may name lines: then these failed, and the others did not."""
    lines = []
    for error in _list_errors(told) if record.status == "failed" else ():
        number = error.get("line")
        if type(number) is int and 1 <= number <= len(record.requests):
            line = {"custom_id": record.requests[number - 1], "response": None, "error": error}
            lines.append(json.dumps(line).encode())
    return [join_lines(lines)]


def _list_errors(told: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    errors = told.get("errors")
    data = errors.get("data") if isinstance(errors, dict) else None
    return [each for each in data if isinstance(each, dict)] if isinstance(data, list) else []


def _tell_errors(told: Mapping[str, Any]) -> str:
    """What it says of the batch as a whole."""
    whole = [each for each in _list_errors(told) if type(each.get("line")) is not int]
    texts = [": ".join(str(each[n]) for n in ("code", "message") if each.get(n)) for each in whole]
    return blot("; ".join(filter(None, texts)))[:_WHY_MAX]


def _tell_oddness(record: SubmissionRecord, found: ReadLines, twins: int) -> str:
    told = []
    if twins:
        told.append(f"{count_of(twins, 'twin')} that was begun for the same requests, called off")
    if doubled := len(found.doubled):
        told.append(f"{count_of(doubled, 'request')} with two different answers: the first counts")
    if found.strange:
        told.append(f"{count_of(found.strange, 'line')} that belong to no request, passed over")
    return f"Batch {record.batch} has {' and '.join(told)}." if told else ""


def unreachable(api: BatchApi, error: SilentVendorError) -> StorageError:
    """What ends a run whose vendor does not answer."""
    return StorageError(
        f"{api.base_url} does not answer, {SILENCES_MAX} times in a row: {error}.",
        safe="What was handed in is recorded, and is not handed in again.",
        next="When it answers again, run the same command again.",
    )

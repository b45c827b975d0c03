"""Calls that wait for a vendor's batch: their requests are gathered, handed in, and answered.

Lives in the event loop; what asks the vendor or writes runs in threads. All that has to outlive a
kill is in the ledger. A run that begins anew asks for the same, and finds it there: the requests of
an item that are known are never handed in again.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from batten.errors import BattenError, FailedRunError
from batten.jobs.batch_api import BatchApi
from batten.jobs.structure import AnswerError
from batten.ledger.history.submissions import list_submissions, tell_postponed
from batten.model.disk.runs.submissions import SubmissionRecord, digest_request, name_request
from batten.model.json_text import find_object
from batten.model.telling.counts import count_of
from batten.vendors.openai_batches import SilentVendorError
from batten.work.submitting.answer_lines import (
    BatchLineError,
    is_not_done,
    read_usage,
    take_body,
)
from batten.work.submitting.exchange import (
    COLLECTS_MAX,
    FINDS_MAX,
    PAUSE_SECONDS,
    SILENCES_MAX,
    Exchange,
    NotBegunError,
    is_for_want_of_room,
    name_answer,
    unreachable,
)
from batten.work.submitting.in_thread import in_thread
from batten.work.tasks import Noted, Postponed, Word, WorkerJob
from batten.work.usage import Teller, current_teller

GATHER_SECONDS = 0.3
"""Requests wait so long for others, once all items in hand wait for answers."""

BYTES_MAX = 190_000_000
"""OpenAI takes 200 MB in one file."""

NOT_DONE_MAX = 10
"""So often is a request asked again that the vendor did not come to."""


@dataclass(kw_only=True)
class _Submission:
    """As this run knows it; `lines` when it was answered. `is_settled`: it was looked at once, so
    that there is nothing to do but wait. `misses`: so often it was looked for in vain."""

    record: SubmissionRecord
    bodies: Mapping[str, bytes] = field(default_factory=dict)
    lines: dict[str, bytes] | None = None
    is_settled: bool = False
    misses: int = 0


class AskAgainError(Exception):
    """The vendor does not have the request, and an earlier run had made it."""


@dataclass(kw_only=True)
class _Ask:
    name: str
    body: bytes
    answer: asyncio.Future[_Submission]


class Submitter:
    """For the steps of one vendor and endpoint. `count_in_hand` says how many items are in hand,
    `tell` tells the driver."""

    def __init__(
        self,
        job: WorkerJob,
        api: BatchApi,
        draining: asyncio.Event,
        count_in_hand: Callable[[], int],
        tell: Callable[[Word], None],
    ) -> None:
        self._job, self._api = job, api
        self._exchange = Exchange(job.storage, job.layout, job.make_journal(), api)
        self._draining = draining
        self._count_in_hand = count_in_hand
        self._tell = tell
        self._asked: Counter[tuple[int, str]] = Counter()
        self._known: dict[str, _Submission] = {}
        self._live: list[_Submission] = []
        self._waiting: dict[str, _Ask] = {}
        self._gathered: dict[str, _Ask] = {}
        self._asked_at = self._moved_at = time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []
        self._error: BaseException | None = None
        self._unbegun = 0
        self._take_up()
        self._begin(self._gather())

    def _take_up(self) -> None:
        """What earlier runs have handed in. What was not asked for can't be there."""
        places = {step.batch_api.place for step in self._job.steps if step.batch_api is not None}
        for record in list_submissions(self._job.storage, self._job.layout):
            place = record.base_url, record.endpoint
            # Where the answers came from changes no row.
            is_own = record.is_answered and place not in places and place[1] == self._api.endpoint
            if place not in places and not record.is_answered and record.is_asked:
                raise _tell_stranded(self._job, record)
            if place != self._api.place and not is_own:
                continue
            if not record.is_asked and not record.batch:
                self._exchange.forget(record)
                continue
            submission = _Submission(record=record)
            if record.is_answered:
                submission.lines = self._exchange.load_answers(record)
            for name in record.requests:
                self._known[name] = submission
            if not record.is_answered:
                self._live.append(submission)
                self._begin(self._see_through(submission))

    def _begin(self, doing: Any) -> None:
        task = asyncio.get_running_loop().create_task(doing)
        self._tasks.append(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.remove(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if not isinstance(error, BattenError):
            # Whatever it is, it is no item's failure.
            error = _tell_unexpected(self._api, error)
        self._error = self._error or error
        for ask in (*self._waiting.values(), *self._gathered.values()):
            if not ask.answer.done():
                ask.answer.set_exception(error)

    def close(self) -> None:
        """When all work has ended: what threads still hear of the vendor is not written down."""
        self._exchange.close()

    def list_waits(self) -> list[str]:
        """What calls wait for, in a few words."""
        waits = []
        for each in self._live:
            status = each.record.status or "being handed in"
            held = count_of(len(each.record.requests), "request")
            waits.append(f"{held} in a batch: {status}")
        return waits

    async def call(self, api: BatchApi, row: Any) -> Any:
        """The row that the vendor's answer gives."""
        teller = current_teller()
        if teller is None:
            raise RuntimeError("a request for a batch was made outside of an item")
        asked, structure = api.request(row), api.structure
        for left in range(structure.repairs if structure is not None else 0, -1, -1):
            answer = await self._answer(api, teller, asked)
            if structure is None:
                made = api.parse(answer, row) if api.parse is not None else answer
                return await made if inspect.isawaitable(made) else made
            try:
                return structure.read(answer)
            except AnswerError as error:
                if not left or error.is_final:
                    raise
                asked = structure.repair(asked, error)
        raise RuntimeError("no answer was asked for")

    async def _answer(self, api: BatchApi, teller: Teller, asked: Any) -> Any:
        """The body of the vendor's answer, of which the accounts know what it used."""
        body = json.dumps(asked, allow_nan=False).encode()
        if not body.startswith(b"{"):
            raise TypeError("request_fn gives no dict: it is to give the body of a request")
        name, submission = await self._ask(teller.item, body)
        line = find_object((submission.lines or {})[name]) or {}
        used = dict(read_usage(line, api.usage).amounts)
        if used:
            teller.tell(used, name_answer(submission.record.token, name))
        return take_body(line)

    async def _ask(self, item: int, body: bytes) -> tuple[str, _Submission]:
        """The submission that has a line for the request; its name there. Asked again where the
        vendor did not come to it."""
        digest, not_done = digest_request(body), 0
        while not_done < NOT_DONE_MAX:
            name = name_request(item, digest, self._asked[item, digest])
            self._asked[item, digest] += 1
            try:
                submission = await self._wait(name, body)
            except AskAgainError:
                submission = await self._wait(name, body)
            record, raw = submission.record, (submission.lines or {}).get(name)
            if raw is not None and not is_not_done(find_object(raw) or {}):
                return name, submission
            if raw is None and record.status == "completed":
                raise BatchLineError("the batch is completed, and has no answer to this request")
            if raw is None and record.status == "failed":
                if not is_for_want_of_room(record):
                    raise BatchLineError(f"the batch failed: {record.why or 'it is not said why'}")
                # What the vendor has is to end first.
                not_done -= bool(self._live)
                await asyncio.sleep(self._api.poll_seconds)
            not_done += 1
        raise BatchLineError(f"{NOT_DONE_MAX} batches ended before this request was done")

    async def _wait(self, name: str, body: bytes) -> _Submission:
        if self._error is not None:
            raise self._error
        known = self._known.get(name)
        if known is not None and known.lines is not None:
            return known
        ask = _Ask(name=name, body=body, answer=asyncio.get_running_loop().create_future())
        (self._waiting if known is None else self._gathered)[name] = ask
        self._asked_at = time.monotonic()
        return await ask.answer

    @property
    def _is_quiet(self) -> bool:
        """Whether all items in hand wait for answers, so that no further request is to come."""
        waits = sum(not each.answer.done() for each in self._gathered.values())
        return self._count_in_hand() <= waits + len(self._waiting)

    async def _gather(self) -> None:
        """Hand in what waits, as full as may be."""
        while not self._draining.is_set():
            await asyncio.sleep(GATHER_SECONDS / 3)
            if not self._waiting and self._api.wait_seconds is None:
                continue
            is_still = time.monotonic() - self._asked_at >= GATHER_SECONDS
            if len(self._waiting) >= self._api.max_requests or (is_still and self._is_quiet):
                while self._waiting:
                    await self._hand_in_some()
                self._check_waited()

    async def _hand_in_some(self) -> None:
        bodies: dict[str, bytes] = {}
        size = 0
        for name, ask in self._waiting.items():
            size += len(ask.body) + len(name) + 200
            if bodies and (len(bodies) >= self._api.max_requests or size > BYTES_MAX):
                break
            bodies[name] = ask.body
        record = await in_thread(self._exchange.begin, list(bodies), self._job.run)
        submission = _Submission(record=record, bodies=bodies)
        for name in bodies:
            self._known[name] = submission
            self._gathered[name] = ask = self._waiting.pop(name)
            ask.body = b""
        self._live.append(submission)
        self._moved_at = time.monotonic()
        self._begin(self._see_through(submission))

    async def _see_through(self, submission: _Submission) -> None:
        """Until its answers are here."""
        silences = 0
        while submission.lines is None:
            try:
                await self._advance(submission, silences)
            except NotBegunError as refused:
                self._take_back(submission, refused.refusal)
                return
            except SilentVendorError as error:
                silences += 1
                if silences >= SILENCES_MAX:
                    raise unreachable(self._api, error) from error
                await self._pause(silences)
            else:
                silences = 0
        self._live.remove(submission)
        self._moved_at = time.monotonic()
        for name in submission.record.requests:
            ask = self._gathered.pop(name, None)
            if ask is not None and not ask.answer.done():
                ask.answer.set_result(submission)

    async def _pause(self, times: int) -> None:
        await asyncio.sleep(min(PAUSE_SECONDS * 2.0**times, max(self._api.poll_seconds, 0.01)))

    async def _advance(self, submission: _Submission, silences: int) -> None:
        record, exchange = submission.record, self._exchange
        if not record.batch and record.is_asked:
            is_last = submission.misses >= FINDS_MAX
            submission.record = await in_thread(exchange.find, record, is_last_try=is_last)
            if not submission.record.batch:
                submission.misses += 1
                await self._pause(submission.misses)
        elif not record.batch:
            submission.record = await in_thread(exchange.hand_in, record, submission.bodies)
        elif not record.has_ended:
            self._unbegun = 0
            if submission.is_settled:
                await asyncio.sleep(self._api.poll_seconds)
            submission.record = await in_thread(exchange.look, record)
            if submission.record.status != record.status:
                self._moved_at = time.monotonic()
            submission.is_settled = not submission.record.has_ended
            submission.bodies = {}
        else:
            submission.is_settled = False
            is_last = silences >= COLLECTS_MAX
            submission.record, told = await in_thread(exchange.collect, record, is_last_try=is_last)
            submission.bodies = {}
            submission.lines = await in_thread(exchange.load_answers, record)
            if told:
                self._tell(Noted(text=told))

    def _take_back(self, submission: _Submission, refusal: str) -> None:
        """The vendor does not have it. If it refused, the run ends: that is no item's failure. Else
        its items ask again."""
        if refusal:
            raise FailedRunError(
                f"{self._api.base_url} refuses the batch: {refusal}.",
                safe="Everything that was finished is kept, and what it has is recorded.",
                next="Mend what it says, then run the same command again.",
            )
        self._unbegun += 1
        if self._unbegun >= SILENCES_MAX:
            raise unreachable(self._api, SilentVendorError("it begins no batch"))
        self._live.remove(submission)
        for name in submission.record.requests:
            self._known.pop(name, None)
            ask = self._gathered.pop(name, None)
            body = submission.bodies.get(name)
            if ask is None or ask.answer.done():
                continue
            if body is None:
                ask.answer.set_exception(AskAgainError())
            else:
                ask.body = body
                self._waiting[name] = ask

    def _check_waited(self) -> None:
        """Whether there is nothing to do but wait, for so long that the run is to end."""
        most = self._api.wait_seconds
        if most is None or not self._live or not all(each.is_settled for each in self._live):
            return
        if time.monotonic() - self._moved_at < most:
            return
        self._moved_at = math.inf
        requests = sum(len(each.record.requests) for each in self._live)
        since = min(each.record.begun for each in self._live)
        self._tell(Postponed(text=tell_postponed(self._api.base_url, requests, since)))


def _tell_stranded(job: WorkerJob, record: SubmissionRecord) -> FailedRunError:
    held = count_of(len(record.requests), "request")
    name = job.layout.submission(record.token)
    has = "has" if record.batch else "may have"
    return FailedRunError(
        f"{record.base_url} {has} {held} in a batch for {record.endpoint}, and the job asks "
        "another.",
        safe="Everything that was finished is kept. Nothing is asked again, as that is paid.",
        next="Give the address and the endpoint with which it was begun, until it is collected. "
        f"To have these requests asked and paid again, move {job.storage.place}/{name} away.",
    )


def _tell_unexpected(api: BatchApi, error: BaseException) -> FailedRunError:
    unexpected = FailedRunError(
        f"What {api.base_url} answered was not understood: {type(error).__name__}: {error}.",
        safe="Everything that was finished is kept, and what it has is recorded.",
        next="Run the same command again. If it ends so again, please report it.",
    )
    unexpected.__cause__ = error
    return unexpected

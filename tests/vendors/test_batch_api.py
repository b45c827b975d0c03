"""Requests that go through a vendor's batches: each handed in once, whatever the vendor does."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.vendors.asking import ITEMS, parse, pipeline, request

import batten
from batten.ledger.history.submissions import list_submissions
from batten.ledger.history.usage_journal import UsageJournal
from batten.model.disk.names import Layout
from batten.storage.local.folder import LocalStorage
from batten.work.submitting.exchange import ClosedExchangeError, Exchange

if TYPE_CHECKING:
    from conftest import JobFolder, VendorServer


pytestmark = pytest.mark.usefixtures("in_folder")


def run(job: batten.Pipeline, *, warns: bool = False, **options: Any) -> batten.Report:
    with pytest.warns(batten.QuarantinedWarning) if warns else nullcontext():
        return job.run(progress=False, **options)


def hand_in(vendor: VendorServer) -> None:
    """A run that does not wait, and a vendor that takes its time."""
    vendor.stall()
    with pytest.raises(batten.InterruptedRunError, match="8 requests in batches, since"):
        run(pipeline(vendor, wait_seconds=0))


def rows() -> list[str]:
    return batten.open("out").to_arrow().column("text").to_pylist()


def check_whole(vendor: VendorServer, report: batten.Report, *, times: int = 1) -> None:
    assert rows() == [f"ITEM {n}" for n in range(ITEMS)]
    check_paid(vendor, report)
    assert max(vendor.begun.values()) == 1
    assert max(vendor.handed_in.values()) == times


def check_paid(vendor: VendorServer, report: batten.Report) -> None:
    assert report.usage is not None
    assert report.usage.total["input_tokens"] == vendor.tokens
    assert report.usage.calls_lost == 0
    assert not list_submissions(LocalStorage(Path.cwd()), Layout("out"))


def test_rows_are_made_of_answers(vendor: VendorServer) -> None:
    report = run(pipeline(vendor))
    check_whole(vendor, report)
    assert len(vendor.batches) == 1
    assert report.usage is not None
    assert report.usage.kept["output_tokens"] == 6 * ITEMS
    assert vendor.keys == {"Bearer sk-test-0123456789abcdef"}
    written = b"".join(p.read_bytes() for p in Path.cwd().rglob("*") if p.is_file())
    assert b"sk-test" not in written


ONE_REQUEST = (
    "POST /files",
    "POST /batches",
    "GET /batches/{id}",
    "GET /batches",
    "GET /files/{id}/content",
)


FATES: tuple[str | int, ...] = ("lost", "dropped", "nonsense", 429)
POINTS = [(asked, fate) for asked in ONE_REQUEST for fate in FATES]
POINTS += [("GET /batches/{id}", 500), ("GET /batches/{id}", 404), ("GET /files/{id}/content", 404)]


@pytest.mark.parametrize(("asked", "fate"), POINTS)
def test_an_answer_is_lost_once(vendor: VendorServer, asked: str, fate: str | int) -> None:
    """Whether or not the deed was done, nothing is handed in twice."""
    vendor.expect(asked, fate)
    if asked == "GET /batches":
        vendor.expect("POST /batches", "lost")
    check_whole(vendor, run(pipeline(vendor)))


def test_a_lost_batch_is_found_page_by_page(vendor: VendorServer) -> None:
    other = {"status": "completed", "metadata": None, "input_file_id": "another", "created_at": 1}
    vendor.batches = {f"old-{n}": {"id": f"old-{n}", **other} for n in range(4)}
    vendor.expect("POST /batches", "lost")
    vendor.lag = 2
    check_whole(vendor, run(pipeline(vendor)))
    assert len(vendor.batches) == 5


def test_what_was_never_begun_is_begun_once(vendor: VendorServer) -> None:
    vendor.expect("POST /batches", "dropped", "dropped")
    check_whole(vendor, run(pipeline(vendor)))
    assert vendor.asked["POST /batches"] == 3
    assert vendor.asked["DELETE /files/{id}"] == 2


def test_a_vendor_that_is_gone_ends_the_run(vendor: VendorServer) -> None:
    vendor.expect("GET /batches/{id}", *["dropped"] * 10)
    with pytest.raises(batten.StorageError, match="does not answer") as caught:
        run(pipeline(vendor))
    assert "not handed in again" in caught.value.safe
    check_whole(vendor, run(pipeline(vendor)))


@pytest.mark.parametrize("asked", ["GET /batches", "GET /batches/{id}", "GET /files/{id}/content"])
def test_a_vendor_that_refuses_to_tell(vendor: VendorServer, asked: str) -> None:
    """Nobody knows what it did, so nothing is asked again by itself."""
    vendor.expect(asked, 403)
    if asked == "GET /batches":
        vendor.expect("POST /batches", "lost")
    with pytest.raises(batten.FailedRunError, match="does not give back batch"):
        run(pipeline(vendor))
    check_whole(vendor, run(pipeline(vendor)))


def test_a_run_that_has_ended_writes_nothing_more(vendor: VendorServer) -> None:
    api = pipeline(vendor).steps[0].batch_api
    assert api is not None
    storage, layout = LocalStorage(Path.cwd()), Layout("out")
    storage.ensure_folder(layout.staging)
    exchange = Exchange(storage, layout, UsageJournal(storage, layout, "run"), api)
    record = exchange.begin(["0-0123456789abcdef01234567-0"], "run")
    exchange.close()
    with pytest.raises(ClosedExchangeError):
        exchange.hand_in(record, dict.fromkeys(record.requests, b"{}"))
    assert not list_submissions(storage, layout)[0].file
    assert not vendor.batches


def test_a_vendor_that_forgot_a_batch(vendor: VendorServer) -> None:
    """It may have been paid, so nothing is asked again by itself."""
    hand_in(vendor)
    vendor.go_on()
    forgotten = dict(vendor.batches)
    vendor.batches.clear()
    with pytest.raises(batten.FailedRunError, match="does not give back batch batch_1") as caught:
        run(pipeline(vendor))
    assert "out.batten/submissions" in caught.value.next
    vendor.batches.update(forgotten)
    check_whole(vendor, run(pipeline(vendor)))


@pytest.mark.parametrize("asked", ["POST /files", "POST /batches"])
def test_a_refused_batch_is_no_items_failure(vendor: VendorServer, asked: str) -> None:
    vendor.expect(asked, 401)
    with pytest.raises(batten.FailedRunError, match=r"refuses the batch: HTTP 401: as was drawn"):
        run(pipeline(vendor))
    assert not vendor.begun
    check_whole(vendor, run(pipeline(vendor)))


def test_a_vendor_that_has_no_room_is_asked_again(vendor: VendorServer) -> None:
    vendor.outcomes.extend(["no room"] * 12)
    job = pipeline(vendor, max_requests=4, concurrency=100, retries=0)
    vendor.outcomes.appendleft("slow")
    check_whole(vendor, run(job))


def shuffle(lines: list[Any]) -> list[Any]:
    return lines[::-1]


def double(lines: list[Any]) -> list[Any]:
    return [*lines, *lines]


def forget(lines: list[Any]) -> list[Any]:
    return lines[1:]


def talk_nonsense(lines: list[Any]) -> list[Any]:
    strange = {"custom_id": "9-0-0", "response": {"status_code": 200, "body": {}}}
    return [b"{", b"[]", b"null", strange, {"custom_id": 3}, *lines, b'{"custom_id": "torn']


def fail_one(lines: list[Any]) -> list[Any]:
    busy = {"status_code": 503, "body": {"error": {"message": "busy"}}}
    return [{**lines[0], "response": busy}, *lines[1:]]


@pytest.mark.parametrize("change", [shuffle, double, talk_nonsense])
def test_lines_as_they_come(vendor: VendorServer, change: Callable[[Any], Any]) -> None:
    vendor.outcomes.append(change)
    check_whole(vendor, run(pipeline(vendor)))


@pytest.mark.parametrize("change", [forget, fail_one])
def test_what_failed_goes_into_another_batch(
    vendor: VendorServer, change: Callable[[Any], Any]
) -> None:
    vendor.outcomes.append(change)
    report = run(pipeline(vendor))
    assert rows() == [f"ITEM {n}" for n in range(ITEMS)]
    assert len(vendor.batches) == 2
    assert sum(vendor.begun.values()) == ITEMS + 1
    assert report.usage is not None
    # Nobody can tell what a line that never came has used.
    assert report.usage.total["input_tokens"] == vendor.tokens - (TOKENS_OF_ONE)


TOKENS_OF_ONE = 16


@pytest.mark.parametrize("outcome", ["expired", "failed", "no room"])
def test_what_was_not_done_is_asked_again(vendor: VendorServer, outcome: str) -> None:
    vendor.outcomes.append(outcome)
    check_whole(vendor, run(pipeline(vendor)))
    assert len(vendor.batches) == 2


def test_another_answer_to_the_same_request_is_told(
    vendor: VendorServer, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer_twice(lines: list[Any]) -> list[Any]:
        other = json.loads(json.dumps(lines[0]))
        other["response"]["body"]["choices"][0]["message"]["content"] = "another"
        return [*lines, other]

    vendor.outcomes.append(answer_twice)
    report = run(pipeline(vendor))
    assert rows() == [f"ITEM {n}" for n in range(ITEMS)]
    assert report.usage is not None
    assert report.usage.calls_lost == 1


def test_a_bad_item_is_tried_in_further_batches_and_quarantined(vendor: VendorServer) -> None:
    usual = vendor.answer
    vendor.answer = lambda body: 500 if "item 3" in str(body) else usual(body)
    report = run(pipeline(vendor), warns=True)
    assert report.accounts is not None
    assert report.accounts.quarantined == 1
    assert len(vendor.batches) == 3
    check_paid(vendor, report)
    vendor.answer = usual
    check_whole_again(vendor, run(pipeline(vendor), retry_quarantined=True))


def check_whole_again(vendor: VendorServer, report: batten.Report) -> None:
    assert rows() == [f"ITEM {n}" for n in range(ITEMS)]
    check_paid(vendor, report)


def test_a_parse_that_fails_is_paid(vendor: VendorServer) -> None:
    def parse_badly(answer: Any, number: int) -> dict[str, Any]:
        if number == 2:
            raise ValueError("nonsense")
        return parse(answer, number)

    report = run(pipeline(vendor, parse=parse_badly, retries=1), warns=True)
    check_paid(vendor, report)
    assert report.usage is not None
    assert report.usage.quarantined["input_tokens"] == 2 * TOKENS_OF_ONE
    assert report.usage.kept["input_tokens"] == 7 * TOKENS_OF_ONE


def test_one_run_hands_in_and_another_collects(vendor: VendorServer) -> None:
    vendor.stall()
    job = pipeline(vendor, wait_seconds=0)
    for _ in range(2):
        with pytest.raises(batten.InterruptedRunError, match="8 requests in batches") as caught:
            run(job)
        assert "later; it collects" in caught.value.next
        assert caught.value.report.usage is None
    vendor.go_on()
    check_whole(vendor, run(pipeline(vendor)))
    assert len(vendor.batches) == 1


def test_as_many_batches_as_it_takes(vendor: VendorServer) -> None:
    check_whole(vendor, run(pipeline(vendor, max_requests=3, concurrency=100)))
    assert len(vendor.batches) == 3


def test_steps_before_and_after(vendor: VendorServer) -> None:
    job = (
        batten.from_range(ITEMS)
        .flat_map(lambda n: [n, n] if n % 2 else [n])
        .map_batch_api(
            request, parse=parse, base_url=vendor.base_url, poll_seconds=0.01, concurrency=100
        )
        .map(lambda row: {"text": row["text"].lower()})
        .write_parquet("out")
    )
    run(job)
    assert rows() == [f"item {n}" for n in range(ITEMS) for _ in range(1 + n % 2)]
    assert len(vendor.begun) == ITEMS * 3 // 2


def test_a_dataset_that_is_made_anew_calls_off_what_is_left(vendor: VendorServer) -> None:
    hand_in(vendor)
    vendor.looks = 1
    report = run(pipeline(vendor), fresh=True)
    check_whole(vendor, report, times=2)
    assert vendor.batches["batch_1"]["status"] == "cancelled"


def test_what_nobody_wants_any_more_is_called_off_at_the_end(vendor: VendorServer) -> None:
    def ask_otherwise(number: int) -> dict[str, Any]:
        return {**request(number), "temperature": 0}

    hand_in(vendor)
    vendor.looks = 1
    source = batten.from_range(ITEMS).map_batch_api(
        ask_otherwise, parse=parse, base_url=vendor.base_url, poll_seconds=0.01
    )
    job = source.options(batch_size=3).write_parquet("out")
    check_whole(vendor, run(job, accept_change=True))
    assert vendor.batches["batch_1"]["status"] == "cancelled"


def test_a_budget_reckons_with_what_the_vendor_has(vendor: VendorServer) -> None:
    """Three of 16 tokens fit into 60. Until one has ended, it is the only one."""
    limits = {"input_tokens": 60}
    with pytest.raises(batten.InterruptedRunError, match="budget"):
        run(pipeline(vendor), budget=limits)
    assert vendor.tokens == 3 * TOKENS_OF_ONE
    assert sorted(vendor.begun) == sorted(set(vendor.begun))
    check_whole(vendor, run(pipeline(vendor), budget={"input_tokens": 8 * TOKENS_OF_ONE}))


def test_a_budget_reckons_with_what_an_earlier_run_handed_in(vendor: VendorServer) -> None:
    hand_in(vendor)
    vendor.go_on()
    usage = {"input_tokens": 5 * TOKENS_OF_ONE}
    # All eight are there already, so they are taken, whatever the budget says.
    check_whole(vendor, run(pipeline(vendor), budget=usage))


def test_a_signal_ends_a_run_that_waits(vendor: VendorServer, job: JobFolder) -> None:
    program = f"""
        def request(n):
            return {{"messages": [{{"role": "user", "content": f"item {{n}}"}}]}}

        def parse(answer, n):
            return {{"text": answer["choices"][0]["message"]["content"]}}

        pipeline = batten.from_range(8).map_batch_api(
            request, parse=parse, base_url={vendor.base_url!r}, poll_seconds=0.01
        ).write_parquet("out")
    """
    job.write(program)
    vendor.stall()
    vendor.watch = lambda number, when: started[0].send_signal(signal.SIGTERM)
    command = [str(Path(sys.executable).with_name("batten")), "run", "job.py", "--json"]
    started: list[subprocess.Popen[str]] = []
    watch, vendor.watch = vendor.watch, lambda number, when: None
    process = subprocess.Popen(command, cwd=job.path, stdout=subprocess.PIPE, text=True)
    started.append(process)
    vendor.watch = lambda n, when: watch(n, when) if (n, when) == (4, "after") else None
    told = json.loads(process.communicate()[0])
    assert process.returncode == 75
    assert "batten run job.py" in told["error"]["next"]
    found = batten.diagnose(job.path / "out")
    [waiting] = found.to_json()["submitted"]
    assert (waiting["batch"], waiting["requests"]) == ("batch_1", 8)
    assert waiting["base_url"] == vendor.base_url
    assert found.action == "run"
    vendor.watch = lambda number, when: None
    vendor.go_on()
    assert job.run("--json").json["items"]["committed"] == 8
    assert max(vendor.begun.values()) == 1

"""A vendor that talks nonsense, forgets for a while, or lies: nothing is asked or paid twice."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.vendors.asking import ITEMS, pipeline

import batten
from batten.ledger.history.submissions import list_submissions
from batten.model.disk.names import Layout
from batten.storage.local.folder import LocalStorage
from batten.vendors.openai_batches import JSON_BYTES_MAX

if TYPE_CHECKING:
    from conftest import VendorServer

KEY = "sk-test-0123456789abcdef"
LOOKED_AT = "GET /batches/{id}"
LISTED = "GET /batches"
CONTENT = "GET /files/{id}/content"


pytestmark = pytest.mark.usefixtures("in_folder")


def run(job: batten.Pipeline) -> batten.Report:
    return job.run(progress=False)


def check_whole(vendor: VendorServer, report: batten.Report, *, untold: int = 0) -> None:
    assert batten.open("out").to_arrow().column("text").to_pylist() == [
        f"ITEM {n}" for n in range(ITEMS)
    ]
    assert report.usage is not None
    assert report.usage.total["input_tokens"] == vendor.tokens
    assert (report.usage.calls_lost, report.usage.calls_untold) == (untold, untold)
    assert not list_submissions(LocalStorage(Path.cwd()), Layout("out"))
    assert max(vendor.begun.values()) == 1
    assert max(vendor.handed_in.values()) == 1


def put(**changed: Any) -> Callable[[bytes], bytes]:
    """The answer with other fields; those that are "" are left out."""

    def change(data: bytes) -> bytes:
        told = {**json.loads(data), **changed}
        return json.dumps({name: value for name, value in told.items() if value != ""}).encode()

    return change


def strip(data: bytes) -> bytes:
    """A list that tells of each batch no more than that it is there."""
    told = json.loads(data)
    told["data"] = [{"id": each["id"], "status": each["status"]} for each in told["data"]]
    return json.dumps(told).encode()


@pytest.mark.parametrize("harm", ["\n", "\u20ac"])
def test_a_key_that_can_not_be_sent_is_not_shown(
    harm: str, vendor: VendorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VENDOR_KEY", KEY + harm)
    with pytest.raises(batten.UsageError, match="VENDOR_KEY") as caught:
        run(pipeline(vendor))
    assert KEY not in "".join(traceback.format_exception(caught.value))
    written = b"".join(p.read_bytes() for p in Path.cwd().rglob("*") if p.is_file())
    assert KEY.encode() not in written


def test_a_vendor_that_repeats_the_key_in_what_it_says(vendor: VendorServer) -> None:
    def tell(lines: list[Any]) -> list[Any]:
        error = {"code": "bad", "message": f"no such key: {KEY}"}
        return [{**each, "response": None, "error": error} for each in lines]

    vendor.outcomes.extend([tell] * 2)
    vendor.answer = lambda body: 500
    with pytest.warns(batten.QuarantinedWarning):
        run(pipeline(vendor, retries=1))
    written = b"".join(p.read_bytes() for p in Path.cwd().rglob("*") if p.is_file())
    assert KEY.encode() not in written


@pytest.mark.parametrize("asked", ["POST /files", "POST /batches", LOOKED_AT, CONTENT])
def test_a_refusal_that_repeats_the_key(asked: str, vendor: VendorServer) -> None:
    vendor.expect(asked, 401)
    with pytest.raises(batten.FailedRunError, match="as was drawn up") as caught:
        run(pipeline(vendor))
    assert KEY not in "".join(traceback.format_exception(caught.value))
    written = b"".join(p.read_bytes() for p in Path.cwd().rglob("*") if p.is_file())
    assert KEY.encode() not in written


@pytest.mark.parametrize("name", ["\ud800", None, "x" * 5000])
@pytest.mark.parametrize("asked", ["POST /files", "POST /batches"])
def test_a_name_that_is_none(name: Any, asked: str, vendor: VendorServer) -> None:
    vendor.expect(asked, put(id=name))
    check_whole(vendor, run(pipeline(vendor)))


@pytest.mark.parametrize("status", ["\ud800", "", 7, "x" * 5000])
def test_a_status_that_is_none(status: Any, vendor: VendorServer) -> None:
    vendor.expect("POST /batches", put(status=status))
    vendor.expect(LOOKED_AT, put(status=status), put(status=status))
    check_whole(vendor, run(pipeline(vendor)))


def test_a_batch_that_is_anothers(vendor: VendorServer) -> None:
    """Some gateways give an answer that they keep."""
    vendor.expect("POST /batches", put(id="batch_77", input_file_id="file-77", metadata={}))
    check_whole(vendor, run(pipeline(vendor)))


def test_an_answer_without_end(vendor: VendorServer) -> None:
    vendor.expect(LOOKED_AT, *[lambda data: data + b" " * JSON_BYTES_MAX] * 10)
    with pytest.raises(batten.StorageError, match="too large"):
        run(pipeline(vendor))
    check_whole(vendor, run(pipeline(vendor)))


def test_answers_that_are_not_there_for_a_while(vendor: VendorServer) -> None:
    vendor.expect(CONTENT, *[404] * 6)
    check_whole(vendor, run(pipeline(vendor)))


def test_answers_that_are_gone(vendor: VendorServer) -> None:
    """They may have been paid, so nothing is asked again by itself."""
    vendor.expect(CONTENT, *[404] * 10)
    with pytest.raises(batten.FailedRunError, match="does not give back batch batch_1"):
        run(pipeline(vendor))
    check_whole(vendor, run(pipeline(vendor)))


@pytest.mark.parametrize(
    "change",
    [
        put(status="in_progress", output_file_id="", request_counts=""),
        put(status="expired", output_file_id="", error_file_id="", request_counts=""),
    ],
)
def test_an_older_state_of_a_batch_that_has_ended(
    change: Callable[[bytes], bytes], vendor: VendorServer
) -> None:
    vendor.expect(LOOKED_AT, "", "", *[change] * 6)
    check_whole(vendor, run(pipeline(vendor)))


def test_an_ended_batch_that_is_not_known_for_a_while(vendor: VendorServer) -> None:
    vendor.expect(LOOKED_AT, "", "", *[404] * 6)
    check_whole(vendor, run(pipeline(vendor)))


@pytest.mark.parametrize("status", [429, 503])
def test_a_vendor_that_never_begins_a_batch_ends_the_run(status: int, vendor: VendorServer) -> None:
    vendor.expect("POST /batches", *[status] * 30)
    with pytest.raises(batten.StorageError, match="begins no batch"):
        run(pipeline(vendor))
    vendor.trouble.clear()
    check_whole(vendor, run(pipeline(vendor)))


@pytest.mark.parametrize("answer", [403, lambda data: b"<html>", lambda data: b'{"deleted":false}'])
def test_requests_that_can_not_be_deleted_are_not_handed_in_anew(
    answer: Any, vendor: VendorServer
) -> None:
    """The batch that was asked for could still begin."""
    vendor.expect("POST /batches", "dropped")
    vendor.expect("DELETE /files/{id}", *[answer] * 20)
    with pytest.raises(batten.BattenError, match=r"does not (give back|answer)"):
        run(pipeline(vendor))
    assert vendor.asked["POST /batches"] == 1


def test_a_list_that_lags_for_long(vendor: VendorServer) -> None:
    vendor.expect("POST /batches", "lost")
    vendor.lag = 7
    check_whole(vendor, run(pipeline(vendor)))


def test_a_list_that_says_little(vendor: VendorServer) -> None:
    """Each batch is asked for by its name then."""
    vendor.expect("POST /batches", "lost")
    vendor.expect(LISTED, strip)
    check_whole(vendor, run(pipeline(vendor)))


def test_a_vendor_that_never_says_whose_a_batch_is(vendor: VendorServer) -> None:
    """What is not told apart is not taken for missing."""
    vendor.expect("POST /batches", "lost")
    vendor.expect(LISTED, *[strip] * 40)
    vendor.expect(LOOKED_AT, *[put(input_file_id="", metadata="")] * 40)
    with pytest.raises(batten.StorageError, match="of which file"):
        run(pipeline(vendor))
    vendor.trouble.clear()
    check_whole(vendor, run(pipeline(vendor)))


def test_another_address_gets_nothing_that_the_first_has(vendor: VendorServer) -> None:
    vendor.stall()
    with pytest.raises(batten.InterruptedRunError):
        run(pipeline(vendor, wait_seconds=0))
    there = vendor.address("other")
    with pytest.raises(batten.BattenError, match="has 8 requests in a batch"):
        run(pipeline(vendor, base_url=there))
    assert not vendor.account("other").asked
    vendor.go_on()
    check_whole(vendor, run(pipeline(vendor)))


@pytest.mark.parametrize("told", [-1, float("nan"), "5", 10**400])
def test_what_is_no_number_takes_no_other_number_with_it(told: Any, vendor: VendorServer) -> None:
    usual = vendor.answer

    def answer(body: Any) -> Any:
        made = usual(body)
        return {**made, "usage": {**made["usage"], "completion_tokens": told}}

    vendor.answer = answer
    check_whole(vendor, run(pipeline(vendor)), untold=0 if told == "5" else ITEMS)


async def awaited(*given: Any) -> dict[str, Any]:
    return {}


@pytest.mark.parametrize(
    "given", [{"max_requests": 10**9}, {"usage": awaited}, {"request_fn": awaited}]
)
def test_what_can_not_be_is_refused_by_its_name(given: dict[str, Any]) -> None:
    [name] = given
    usual: dict[str, Any] = {
        "request_fn": lambda number: {},
        "parse": lambda answer, number: answer,
    }
    with pytest.raises(batten.UsageError, match=name.removesuffix("_fn")):
        batten.from_range(1).map_batch_api(**{**usual, **given})

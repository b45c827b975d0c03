"""A vendor that says that answers are there, and gives others, or not all: they may be paid, so
nothing is asked again by itself. What is asked twice on the way is called off, and counted."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.vendors.asking import ITEMS, parse, request

import batten
from batten.ledger.history.submissions import list_submissions
from batten.model.disk.names import Layout
from batten.storage.local.folder import LocalStorage
from batten.vendors.openai_batches import JSON_BYTES_MAX

if TYPE_CHECKING:
    from conftest import VendorServer

CONTENT = "GET /files/{id}/content"
LOOKED_AT = "GET /batches/{id}"


pytestmark = pytest.mark.usefixtures("in_folder")


def run(vendor: VendorServer, items: int = ITEMS) -> batten.Report:
    step = batten.from_range(items).map_batch_api(
        request, parse=parse, base_url=vendor.base_url, poll_seconds=0.01
    )
    return step.write_parquet("out").run(progress=False)


def check_rows(items: int = ITEMS) -> None:
    texts = batten.open("out").to_arrow().column("text").to_pylist()
    assert texts == [f"ITEM {n}" for n in range(items)]
    assert not list_submissions(LocalStorage(Path.cwd()), Layout("out"))


def check_paid_once(vendor: VendorServer, report: batten.Report) -> None:
    check_rows(len(vendor.charged))
    assert report.usage is not None
    assert report.usage.total["input_tokens"] == vendor.tokens
    assert report.usage.calls_lost == 0
    assert max(vendor.begun.values()) == 1


def cut_half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def of_another(data: bytes) -> bytes:
    return data.replace(b'"custom_id": "', b'"custom_id": "77')


def in_capitals(data: bytes) -> bytes:
    return re.sub(rb'"custom_id": "[^"]*"', lambda found: found[0].replace(b"-0", b"-O"), data)


def empty(data: bytes) -> bytes:
    return b""


def as_page(data: bytes) -> bytes:
    return b"<html><body>Sign in to the network</body></html>"


COUNTED = [cut_half, of_another, in_capitals, empty, as_page]
"""Where nobody says how many there are, what is cut off can't be told from what never came."""


@pytest.mark.parametrize(
    ("change", "has_counts"),
    [*((change, True) for change in COUNTED), (of_another, False), (as_page, False)],
)
def test_answers_that_are_said_to_be_there(
    change: Callable[[bytes], bytes], has_counts: bool, vendor: VendorServer
) -> None:
    def forget_counts(data: bytes) -> bytes:
        return data if has_counts else data.replace(b"request_counts", b"counts")

    vendor.expect(CONTENT, *[change] * 10)
    vendor.expect(LOOKED_AT, *[forget_counts] * 40)
    with pytest.raises(batten.FailedRunError, match="does not give back batch batch_1") as caught:
        run(vendor)
    assert "nothing is asked again" in caught.value.safe
    vendor.trouble.clear()
    check_paid_once(vendor, run(vendor))


def test_what_is_cut_off_for_a_while_is_read_again(vendor: VendorServer) -> None:
    vendor.expect(CONTENT, *["cut"] * 6)
    check_paid_once(vendor, run(vendor))


def test_a_file_without_end_fills_no_memory(vendor: VendorServer) -> None:
    vendor.expect(CONTENT, *[lambda data: data + b"\n" * JSON_BYTES_MAX] * 10)
    with pytest.raises(batten.StorageError, match="too large"):
        run(vendor, items=1)
    check_paid_once(vendor, run(vendor, items=1))


def forget_one(lines: list[Any]) -> list[Any]:
    return lines[1:]


def test_an_answer_that_never_comes_is_a_call_that_may_be_paid(vendor: VendorServer) -> None:
    vendor.outcomes.append(forget_one)
    report = run(vendor)
    check_rows()
    assert len(vendor.batches) == 2
    check_between(vendor, report, lost=1)


def check_between(vendor: VendorServer, report: batten.Report, *, lost: int) -> None:
    """What the vendor charged lies between what is known, and that with the bound."""
    usage = report.usage
    assert usage is not None
    assert usage.calls_lost == lost
    known, bound = usage.total["input_tokens"], usage.lost_at_most["input_tokens"]
    assert known < vendor.tokens <= known + bound


def test_a_batch_that_was_asked_for_twice_on_the_way(
    vendor: VendorServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both bear the token. One is taken, and what the other cost is counted as lost."""
    vendor.expect("POST /batches", "twice")
    report = run(vendor)
    check_rows()
    assert len(vendor.batches) == 2
    assert vendor.asked["POST /batches/{id}/cancel"] == 1
    check_between(vendor, report, lost=ITEMS)


@pytest.mark.parametrize("status", ["cancelled", "canceled", "CANCELLED", "Expired"])
def test_what_somebody_called_off_half_way(status: str, vendor: VendorServer) -> None:
    """Answers that are there are taken, and the rest is asked again."""
    vendor.outcomes.append(status)
    check_paid_once(vendor, run(vendor))
    assert len(vendor.batches) == 2

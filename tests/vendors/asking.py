"""A job of a few requests that go through a vendor's batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import batten

if TYPE_CHECKING:
    from tests.vendors.conftest import VendorServer

ITEMS = 8


def request(number: int) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": f"item {number}"}]}


def parse(answer: Any, number: int) -> dict[str, Any]:
    return {"text": answer["choices"][0]["message"]["content"]}


def pipeline(vendor: VendorServer, **options: Any) -> batten.Pipeline:
    given = {"poll_seconds": 0.01, "parse": parse, "api_key": batten.Secret("VENDOR_KEY")}
    source = batten.from_range(ITEMS)
    step = source.map_batch_api(request, **{"base_url": vendor.base_url, **given, **options})
    return step.options(batch_size=3).write_parquet("out")

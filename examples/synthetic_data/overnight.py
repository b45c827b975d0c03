"""The same rows by the vendor's batch interface, at half the price: `batten run overnight.py`.

With LATER set, a run hands in what there is to be asked, collects what was answered, and ends: run
it again the next day.
"""

from __future__ import annotations

import os
from typing import Any

from synthesize import (
    RECORDS,
    Row,
    draw_customer,
    find_cost,
    flatten,
    is_good,
    make_request,
    read_pairs,
)

import batten

POLL_SECONDS = float(os.environ.get("POLL_SECONDS", "60"))


def take(completion: Any, customer: Row) -> Row:
    return customer | {"pairs": read_pairs(completion)}


def find_price(completion: Any) -> Row:
    """What an answer used; in a batch it costs half."""
    used = completion["usage"]
    return {
        "input_tokens": used["prompt_tokens"],
        "output_tokens": used["completion_tokens"],
        "cost": find_cost(used) / 2,
    }


pipeline = (
    batten.from_range(RECORDS)
    .map(draw_customer)
    .map_batch_api(
        make_request,
        parse=take,
        base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"),
        api_key=batten.Secret("OPENAI_API_KEY") if "OPENAI_API_KEY" in os.environ else None,
        usage=find_price,
        poll_seconds=POLL_SECONDS,
        wait_seconds=0 if "LATER" in os.environ else None,
        retries=5,
    )
    .flat_map(flatten)
    .filter(is_good)
    .options(batch_size=100, quarantine_max=20)
    .write_parquet("overnight/")
)

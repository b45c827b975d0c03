"""Questions of a shop's customers with answers, to train on: `batten run synthesize.py`.

Records are drawn from samplers; questions and answers come from a chat model behind any endpoint
that speaks OpenAI's protocol: OPENAI_BASE_URL, OPENAI_API_KEY, OPENAI_MODEL.
"""

from __future__ import annotations

import json
import os
import random
from decimal import Decimal
from typing import Any

import httpx2
import pyarrow as pa

import batten

RECORDS = int(os.environ.get("RECORDS", "400"))
CONCURRENCY = int(os.environ.get("CONCURRENCY", "100"))
MODEL = os.environ.get("OPENAI_MODEL", "stand-in")

DOLLARS_IN, DOLLARS_OUT = Decimal("0.0000004"), Decimal("0.0000016")
"""What a token costs."""

SEED = "shop 1"
PROBLEMS = {
    "kettle": ("the lid does not close", "it leaks", "it switches itself off"),
    "headphones": ("one side is silent", "they hurt after an hour", "they won't pair"),
    "backpack": ("a seam came apart", "it is smaller than in the picture"),
    "desk lamp": ("it flickers", "the switch is stuck", "it came without a bulb"),
}
MOODS = {"calm": 6, "in a hurry": 3, "angry": 2, "joking": 1}
TEST_SHARE = 0.1
QUALITY_MIN = 3

INSTRUCTIONS = """\
You write training data for the help desk of a shop. The user's message describes a customer as
JSON. Answer with one JSON object and nothing else: {"pairs": [{"question": …, "answer": …,
"quality": …}, …]}, with three questions that this customer may ask, in that customer's mood, the
answer of a kind and competent clerk, and how good you find the answer, from 1 to 5."""

Row = dict[str, Any]


def draw_customer(number: int) -> Row:
    """A customer with an order; the same for the same number, whenever and wherever."""
    draw = random.Random(f"{SEED}, {number}")
    product = draw.choice(list(PROBLEMS))
    return {
        "order": 100_000 + number,
        "product": product,
        "problem": draw.choice(PROBLEMS[product]),
        "mood": draw.choices(list(MOODS), list(MOODS.values()))[0],
        "days_since_delivery": min(int(draw.expovariate(1 / 14)), 90),
    }


class AskModel:
    """Adds `pairs`, as the model writes them. One serves the whole run and keeps its connections.

    Where the model is and who pays for it is read here, not at the top of the file: values that
    the functions use belong to the dataset's fingerprint, and these change no results."""

    def __init__(self) -> None:
        key = os.environ.get("OPENAI_API_KEY")
        self.client = httpx2.AsyncClient(
            base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            limits=httpx2.Limits(max_connections=None),
            timeout=None,  # the step has one
        )

    async def __call__(self, customer: Row) -> Row:
        response = await self.client.post("/chat/completions", json=make_request(customer))
        response.raise_for_status()
        completion = response.json()
        batten.usage(completion, cost=find_cost(completion["usage"]))
        return customer | {"pairs": read_pairs(completion)}

    async def aclose(self) -> None:
        await self.client.aclose()


def make_request(customer: Row) -> dict[str, Any]:
    """What the model is asked; the same for the same customer."""
    messages = [
        {"role": "system", "content": INSTRUCTIONS},
        {"role": "user", "content": json.dumps(customer)},
    ]
    return {"model": MODEL, "messages": messages, "response_format": {"type": "json_object"}}


def find_cost(used: dict[str, int]) -> Decimal:
    """In dollars. It is told before the answer is read: nonsense is paid for as well."""
    return DOLLARS_IN * used["prompt_tokens"] + DOLLARS_OUT * used["completion_tokens"]


def read_pairs(completion: Any) -> list[Row]:
    """The pairs in the model's answer; raises `ValueError` for any other, and it is asked again."""
    choice = completion["choices"][0]
    if choice["finish_reason"] == "length":
        raise ValueError("the model's answer was cut off")
    content = json.loads(choice["message"]["content"])
    pairs = content.get("pairs") if isinstance(content, dict) else None
    if not isinstance(pairs, list) or not pairs:
        raise ValueError("the model's answer has no pairs")
    return [read_pair(pair) for pair in pairs]


def read_pair(pair: Any) -> Row:
    types = {"question": str, "answer": str, "quality": int}
    if not isinstance(pair, dict) or any(type(pair.get(name)) is not types[name] for name in types):
        raise ValueError(f"the model wrote a pair that is none: {pair!r}")
    if not pair["question"].strip() or not 1 <= pair["quality"] <= 5:
        raise ValueError(f"the model wrote a pair that cannot be: {pair!r}")
    return {name: pair[name] for name in types}


def flatten(customer: Row) -> list[Row]:
    """A row for each pair."""
    facts = {name: value for name, value in customer.items() if name != "pairs"}
    return [facts | pair for pair in customer["pairs"]]


def is_good(row: Row) -> bool:
    return row["quality"] >= QUALITY_MIN and len(row["answer"]) >= 20


def split(table: pa.Table) -> pa.Table:
    """Each question once, the first wins; and whether the row is to train on or to test with.

    All rows of a customer are on the same side, and stay there when more are drawn."""
    table = table.append_column("row", pa.array(range(table.num_rows)))
    firsts = table.group_by("question").aggregate([("row", "min")])["row_min"]
    table = table.take(firsts.sort()).drop_columns(["row"])
    sides = ["test" if is_test(key.as_py()) else "train" for key in table["key"]]
    return table.append_column("split", pa.array(sides))


def is_test(key: int) -> bool:
    return random.Random(f"{SEED}, side of {key}").random() < TEST_SHARE


def estimate_tokens(customer: Row) -> int:
    return (len(INSTRUCTIONS) + len(str(customer))) // 4 + 300


pipeline = (
    batten.from_range(RECORDS)
    .map(draw_customer)
    .map(
        AskModel,
        concurrency=CONCURRENCY,
        retries=5,
        timeout_seconds=60,
        limits=batten.Limits(
            requests_per_minute=60_000, tokens_per_minute=40_000_000, tokens=estimate_tokens
        ),
    )
    .flat_map(flatten)
    .filter(is_good)
    .options(batch_size=100, quarantine_max=20)
    .write_parquet("conversations/")
    .finalize(split, into="training/")
)

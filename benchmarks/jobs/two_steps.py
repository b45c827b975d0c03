"""Two steps of which one is slower: decoding in four workers, and a model in one. With `alone`, the
slower one alone."""

import time

import batten


class Model:
    def __call__(self, row: dict[str, object]) -> dict[str, object]:
        time.sleep(0.02)
        return row


def decode(number: int) -> dict[str, object]:
    time.sleep(0.06)
    return {"number": number, "pixels": bytes(100_000)}


def drop(row: dict[str, object]) -> dict[str, object]:
    return {"number": row["number"]}


def begin(number: int) -> dict[str, object]:
    return {"number": number, "pixels": bytes(100_000)}


def pipeline(way: str, items: int) -> object:
    start = batten.from_range(items)
    decoded = start.map(begin) if way == "alone" else start.map(decode, concurrency=4)
    return decoded.map(Model, concurrency=1).map(drop).write_parquet("out")

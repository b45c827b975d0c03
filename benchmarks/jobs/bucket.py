"""Parts of 8 MiB that don't compress, into a bucket."""

import random

import batten

ITEMS, BYTES = 128, 1 << 16


def make(number: int) -> dict[str, bytes]:
    return {"made": random.Random(number).randbytes(BYTES)}


def pipeline(address: str, batches: int) -> object:
    made = batten.from_range(batches * ITEMS).map(make)
    return made.options(batch_size=ITEMS).write_parquet(address)

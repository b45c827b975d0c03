"""The least that a function can do."""

import batten


def measure(number: int) -> dict[str, object]:
    return {"double": number * 2, "name": f"item {number % 100}"}


def pipeline(items: int, batch_size: int = 0) -> object:
    made = batten.from_range(items).map(measure)
    if batch_size:
        made = made.options(batch_size=batch_size)
    return made.write_parquet("trivial")

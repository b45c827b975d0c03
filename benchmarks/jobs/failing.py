"""Ten of eleven items fail."""

import batten


def measure(number: int) -> dict[str, int]:
    if number % 11:
        raise ValueError(f"no video stream in {number}")
    return {"number": number}


def pipeline(items: int) -> object:
    made = batten.from_range(items).map(measure).options(batch_size=11, stop_when=None)
    return made.write_parquet("failing")

"""As many items as a file says, so that the job stays the same while it grows."""

from pathlib import Path

import batten


def measure(number: int) -> dict[str, object]:
    return {"double": number * 2}


def pipeline(batch_size: int) -> object:
    items = int(Path(__file__).with_name("items").read_text())
    made = batten.from_range(items).map(measure).options(batch_size=batch_size)
    return made.write_parquet("growing")

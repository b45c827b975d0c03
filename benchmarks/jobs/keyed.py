"""Lines of JSON, each with a key."""

import batten


def measure(line: dict[str, object]) -> dict[str, object]:
    return {"length": len(str(line["text"]))}


def pipeline(lines: str, batch_size: int = 0) -> object:
    made = batten.from_jsonl(lines, key="name").map(measure)
    if batch_size:
        made = made.options(batch_size=batch_size)
    return made.write_parquet("keyed")

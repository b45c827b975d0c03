"""Lines of JSON, each with a key."""

import batten


def measure(line: dict[str, object]) -> dict[str, object]:
    return {"length": len(str(line["text"]))}


def pipeline(lines: str) -> object:
    return batten.from_jsonl(lines, key="name").map(measure).write_parquet("keyed")

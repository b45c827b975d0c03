"""Items of 5 milliseconds, asleep or at work."""

import time

import batten

SECONDS = 0.005


def sleep(number: int) -> dict[str, object]:
    time.sleep(SECONDS)
    return {"number": number}


def spin(number: int) -> dict[str, object]:
    until = time.thread_time() + SECONDS
    while time.thread_time() < until:
        pass
    return {"number": number}


def pipeline(kind: str, items: int, batch_size: int = 0) -> object:
    made = batten.from_range(items).map({"sleep": sleep, "spin": spin}[kind])
    if batch_size:
        made = made.options(batch_size=batch_size)
    return made.write_parquet("slow")

"""Adds a byte to a file for each item that is begun."""

import os
import time
from pathlib import Path

import batten

_LEDGER = os.open(Path(__file__).with_name("ledger"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)


def measure(number: int, seconds: float) -> dict[str, object]:
    os.write(_LEDGER, b".")
    until = time.perf_counter() + seconds
    if seconds > 0.01:
        time.sleep(seconds)
    while time.perf_counter() < until:
        pass
    return {"number": number}


class Quick:
    def __call__(self, number: int) -> dict[str, object]:
        return measure(number, 0.0002)


class Slow:
    def __call__(self, number: int) -> dict[str, object]:
        return measure(number, 0.25)


def pipeline(kind: str, items: int) -> object:
    function = {"quick": Quick, "slow": Slow}[kind]
    return batten.from_range(items).map(function).write_parquet("counted")

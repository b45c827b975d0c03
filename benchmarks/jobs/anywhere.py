"""Items that sleep, done by several machines together. None begins before all are there."""

import os
import time
from pathlib import Path

import batten

GATE, LOG = Path("gate"), Path("ended.log")


def doze(number: int) -> dict[str, int]:
    while not GATE.exists():
        time.sleep(0.005)
    time.sleep(0.05)
    with LOG.open("a") as log:
        log.write(f"{time.monotonic()}\n")
    return {"number": number}


pipeline = (
    batten.from_range(int(os.environ["ITEMS"]))
    .map(doze)
    .options(batch_size=40)
    .write_parquet("anywhere")
)

"""Items that sleep, done by several machines together. None begins before all are there."""

import os
import time
from pathlib import Path

import batten

GATE, LOG, BEGUN = Path("gate"), Path("ended.log"), Path("begun")


def doze(number: int) -> dict[str, int]:
    if not GATE.exists():
        BEGUN.mkdir(exist_ok=True)
        (BEGUN / str(os.getpid())).touch()
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

"""Who reads topics with read_committed all the while: a process of its own.

It sees each row once, batches whole, and in the order of the plan, whatever is killed meanwhile.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from confluent_kafka import KafkaException

from batten.crashlab.servers.broker import read_topic

Seen = list[tuple[str, str]]
"""The batch and the key of each row, as its headers name them."""


class Watcher:
    """It goes on until it has seen all batches of the topic that it was told last."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def watch(self, topic: str, batches: Sequence[Sequence[int]]) -> None:
        """Read the topic over and over, from now on. `batches` has the keys of their rows."""
        stream = self._process.stdin
        if stream is None:
            raise RuntimeError("there is nobody to tell")
        stream.write(json.dumps([topic, batches]) + "\n")
        stream.flush()

    def ask(self) -> int:
        """How often it looked until all was there. Raises `AssertionError` for what no reader is to
        see."""
        told = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not told.strip().isdecimal():
            raise AssertionError(told or "nobody reads any more")
        return int(told)


@contextmanager
def watching(servers: str) -> Iterator[Watcher]:
    with subprocess.Popen(
        [sys.executable, __file__, servers],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Watcher(process)
        finally:
            process.kill()


def _read(servers: str, topic: str) -> Seen:
    headers = [dict(each.headers()) for each in read_topic(servers, topic)]
    return [(each["batten-batch"].decode(), each["batten-key"].decode()) for each in headers]


def _find_fault(found: Seen, seen: int, batches: Sequence[Sequence[int]]) -> str:
    """What no reader is to see, in words."""
    rows = [(str(batch), str(key)) for batch, keys in enumerate(batches) for key in keys]
    ends = {sum(map(len, batches[:count])) for count in range(len(batches) + 1)}
    is_fine = found == rows[: len(found)] and len(found) in ends and len(found) >= seen
    return "" if is_fine else f"after {seen} rows: {found}"


def _watch_until_all(servers: str, topic: str, batches: Sequence[Sequence[int]]) -> str:
    looks = seen = 0
    while seen < sum(map(len, batches)):
        try:
            found = _read(servers, topic)
        except (TimeoutError, KafkaException):
            continue  # The broker was killed, and comes back.
        if fault := _find_fault(found, seen, batches):
            return fault
        looks, seen = looks + 1, len(found)
    return str(looks)


def main() -> None:
    for line in sys.stdin:
        print(_watch_until_all(sys.argv[1], *json.loads(line)), flush=True)


if __name__ == "__main__":
    main()

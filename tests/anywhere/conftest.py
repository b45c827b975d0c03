"""Processes of `batten work`, each as if on a machine of its own, that see one folder or bucket."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

SECONDS_MAX = 120.0

JOB = """
import os, pathlib, time
import batten

def work(number):
    while number >= {gate_at} and not pathlib.Path("gate").exists():
        time.sleep(0.01)
    with open("done.log", "a") as log:
        log.write(f"{{number}} {{os.environ.get('WHO', '')}}\\n")
    {body}
    return {{"number": number, "square": number * number}}

made = batten.from_range({items}).map(work).options(batch_size={batch_size}{options})
pipeline = made.write_parquet("{output}")
"""


class Machines:
    """`start` gives a process; what each prints is kept in a file of its own."""

    def __init__(self, folder: Path, output: str = "out/rows") -> None:
        self.folder, self.output = folder, output
        self.seconds_max = SECONDS_MAX
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def write(
        self,
        items: int,
        *,
        gate_at: int = 10**9,
        body: str = "pass",
        options: str = "",
        batch_size: int = 10,
    ) -> None:
        text = JOB.format(
            items=items,
            gate_at=gate_at,
            body=body,
            options=options,
            output=self.output,
            batch_size=batch_size,
        )
        (self.folder / "job.py").write_text(text)

    def start(
        self,
        who: str,
        *options: str,
        environment: Mapping[str, str] | None = None,
        gone_after: float = 2.0,
        job: str = "job.py",
        within: Sequence[str] = (),
    ) -> subprocess.Popen[bytes]:
        words = ["work", job, "--jobs", "2", "--gone-after", str(gone_after), *options]
        with (self.folder / f"{who}.out").open("ab") as out:
            process = subprocess.Popen(
                [*within, sys.executable, "-m", "batten", *words],
                cwd=self.folder,
                env={**os.environ, "WHO": who, **(environment or {})},
                stdout=out,
                stderr=out,
            )
        self._running[who] = process
        return process

    def told(self, who: str) -> str:
        return (self.folder / f"{who}.out").read_text()

    def open_gate(self) -> None:
        (self.folder / "gate").touch()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + self.seconds_max
        while not condition():
            if time.monotonic() > until:
                told = {who: self.told(who)[-2000:] for who in self._running}
                raise TimeoutError(f"it did not come about: {told}")
            time.sleep(0.02)

    def has_begun(self, who: str) -> bool:
        """Whether it has computed an item, or something told so."""
        return who in self.who_did().values()

    def who_did(self) -> dict[int, str]:
        """The last of each item."""
        return {int(line.split()[0]): line.split()[1] for line in self._lines()}

    def count_done(self) -> Counter[int]:
        return Counter(int(line.split()[0]) for line in self._lines())

    def _lines(self) -> list[str]:
        try:
            return (self.folder / "done.log").read_text().splitlines()
        except FileNotFoundError:
            return []

    def end(self, who: str) -> int:
        return self._running[who].wait(self.seconds_max)

    def has_ended(self, who: str) -> bool:
        return self._running[who].poll() is not None

    def claims(self) -> list[int]:
        """The processes whose registers say that they have begun something."""
        found = []
        for path in (self.folder / f"{self.output}.batten/workers").glob("*.json"):
            register = json.loads(path.read_text())
            if path.name != "board.json" and register["begins"]:
                found.append(register["pid"])
        return found

    def numbers(self, output: str = "out/rows") -> list[int]:
        """Of all rows."""
        parts = sorted((self.folder / output).glob("*.parquet"))
        return [n for part in parts for n in pq.read_table(part)["number"].to_pylist()]

    def parts(self, output: str = "out/rows") -> dict[str, bytes]:
        return {part.name: part.read_bytes() for part in (self.folder / output).glob("*.parquet")}

    def batten(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "batten", *words],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )

    def stop_all(self) -> None:
        for process in self._running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()


@pytest.fixture
def new_machines(tmp_path: Path) -> Iterator[Callable[[str], Machines]]:
    """In a folder of that name, which is made."""
    made: list[Machines] = []

    def make(name: str) -> Machines:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        made.append(Machines(folder))
        return made[-1]

    try:
        yield make
    finally:
        for each in made:
            each.stop_all()


@pytest.fixture
def machines(new_machines: Callable[[str], Machines]) -> Machines:
    return new_machines(".")

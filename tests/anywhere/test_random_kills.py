"""Workers on two machines, each of which sees no process and no network of the other; they are
killed, stopped and woken at random, and their clocks are two hours apart."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from batten.model.words import State

ITEMS = int(os.environ.get("BATTEN_KILLED_ITEMS", "1500"))
"""1,500 take about a minute. Ten times as many are tried before a release."""
SECONDS = float(os.environ.get("BATTEN_KILLED_SECONDS", "inf"))
"""So long something happens to workers; then they do what is left undisturbed. Ten minutes with
eight: BATTEN_KILLED_SECONDS=600 BATTEN_KILLED_ITEMS=40000 pytest -m crash -s -k 8 (this file).
On a busy machine a tenth of the items lasts as long."""
PATIENCE_SECONDS = 600.0
ITEM_SECONDS = 0.004 if math.isinf(SECONDS) else 0.1
ITEMS_A_ROUND = max(30, ITEMS // 500)
BATCHES = 150
ISOLATED = ("unshare", "--net", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")

SHIFT = """
import os, time
shift, true_time = float(os.environ["SHIFT"]), time.time
time.time = lambda: true_time() + shift
"""


def is_isolable() -> bool:
    try:
        return not subprocess.run([*ISOLATED, "true"], capture_output=True, check=False).returncode
    except OSError:
        return False


class Fleet:
    """At most so many workers, of which one at least is at work."""

    def __init__(self, machines: Any, size: int, draw: random.Random) -> None:
        self._machines, self._size, self._draw = machines, size, draw
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self._stopped: set[str] = set()
        self._started = 0
        self.acts: Counter[str] = Counter()
        (machines.folder / "sitecustomize.py").write_text(SHIFT)

    def start(self) -> None:
        """On the two machines by turns."""
        self._started += 1
        machine = self._started % 2
        rename = ("sh", "-c", f'hostname machine-{machine} && exec "$@"', "sh")
        who = f"worker-{self._started}"
        path = os.pathsep.join([str(self._machines.folder), *sys.path])
        shift = {"SHIFT": str(3600 * (1 - 2 * machine)), "PYTHONPATH": path}
        self._workers[who] = self._machines.start(
            who, environment=shift, gone_after=3.0, within=(*ISOLATED, *rename)
        )

    def disturb(self) -> None:
        """Something happens to one of them."""
        self._forget_ended()
        # The lock of a run that is stopped is held until it is killed or woken.
        at_work = [
            who for who in sorted(self._workers.keys() - self._stopped) if not self._is_run(who)
        ]
        act = self._draw.choice(("kill", "stop", "wake", "start"))
        self.acts[act] += 1
        if act == "kill" and self._workers:
            who = self._draw.choice(sorted(self._workers))
            self._workers.pop(who).kill()
            self._stopped.discard(who)
        elif act == "stop" and at_work:
            who = self._draw.choice(at_work)
            self._signal(who, signal.SIGSTOP)
            self._stopped.add(who)
        elif act == "wake" and self._stopped:
            self.wake(self._draw.choice(sorted(self._stopped)))
        elif len(self._workers) < self._size:
            self.start()
        if not self._workers.keys() - self._stopped:
            self.start()

    def wake(self, who: str) -> None:
        self._signal(who, signal.SIGCONT)
        self._stopped.discard(who)

    def wake_all(self) -> None:
        for who in sorted(self._stopped):
            self.wake(who)

    def end(self) -> list[int]:
        return [self._machines.end(who) for who in sorted(self._workers)]

    def has_any_at_work(self) -> bool:
        self._forget_ended()
        return bool(self._workers.keys() - self._stopped)

    def _forget_ended(self) -> None:
        for who, worker in list(self._workers.items()):
            if worker.poll() is not None:
                del self._workers[who]
                self._stopped.discard(who)

    def _signal(self, who: str, number: signal.Signals) -> None:
        """To the process itself, which `unshare` began."""
        for child in self._children(who):
            os.kill(child, number)

    def _children(self, who: str) -> list[int]:
        pid = self._workers[who].pid
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]

    def _is_run(self, who: str) -> bool:
        """Whether the lock names it, by its namespace of processes; also while nobody has it."""
        lock = self._machines.folder / "out/rows.batten/lock"
        try:
            holder = json.loads(lock.read_text())["pid_namespace"]
        except (FileNotFoundError, ValueError):
            return True
        return holder in [os.readlink(f"/proc/{child}/ns/pid") for child in self._children(who)]


@pytest.mark.crash
@pytest.mark.skipif(not is_isolable(), reason="namespaces can't be had here")
@pytest.mark.parametrize("size", [2, 4, 8])
def test_no_row_is_lost_or_doubled(machines: Any, size: int, seeded: random.Random) -> None:
    machines.write(ITEMS, body=f"time.sleep({ITEM_SECONDS})", batch_size=ITEMS // BATCHES)
    machines.seconds_max = PATIENCE_SECONDS
    fleet = Fleet(machines, size, seeded)
    for _ in range(size):
        fleet.start()
    began = time.monotonic()
    while (done := len(machines.who_did())) < ITEMS and time.monotonic() < began + SECONDS:
        wanted = min(ITEMS, done + ITEMS_A_ROUND)
        machines.wait_until(
            lambda wanted=wanted: len(machines.who_did()) >= wanted or not fleet.has_any_at_work()
        )
        if len(machines.who_did()) < ITEMS:
            fleet.disturb()
    seconds = time.monotonic() - began
    fleet.wake_all()
    fleet.start()
    assert set(fleet.end()) == {0}
    assert machines.numbers() == list(range(ITEMS))
    assert machines.batten("verify", "out/rows").returncode == 0
    found = machines.batten("diagnose", "out/rows").stdout.split()[0]
    assert found in (State.COMPLETE, State.COMPLETE_WITH_ORPHANS)
    repeated = sum(count - 1 for count in machines.count_done().values())
    again = f"{repeated} of {ITEMS} items were done again"
    print(f"{size} workers, disturbed for {seconds:.0f} s: {again}; {dict(fleet.acts)}")

"""What calls cost is what a server charged, however often the run was killed: what was told is in
the accounts, and what was in flight is counted apart, with its bound."""

from __future__ import annotations

import json
import random
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.tracing import needs_tracing

import batten
from batten import Usage
from batten.crashlab.faults import Fault, KillAfter, KillBefore, TearWrite, Victims
from batten.crashlab.sweeping import Experiment, Trail, disturb, sweep
from batten.executors.marks import read_in_flight
from batten.inspect.show import show
from batten.model.disk.runs.usage_lines import Amount

pytestmark = needs_tracing

ITEMS = 14
TOKENS = 10
FAILS_ONCE, FAILS = 5, 9

PROGRAM = """
import asyncio
import json
import os
import urllib.request
import batten

{define} ask(number):
    answer = {answer}
    batten.usage(answer, cost=answer["charged"])
    return {{"text": answer["text"][0]}}

def post(number):
    folder = "-".join(os.getcwd().split("/")[-3:])
    url = f"http://127.0.0.1:{port}/{{folder}}/{{number}}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({{}}))
    with opener.open(url, timeout=30) as answer:
        return json.load(answer)

pipeline = (
    batten.from_range({items}).map(ask, retries=1{options}).write_parquet("features/")
    .options(batch_size=4)
)

if __name__ == "__main__":
    pipeline.run(executor="threads", jobs=3, progress=False)
"""

HANG_SECONDS = 600.0
"""On a busy machine a run may take many times as long as it needs."""

PARTS = range(1, 5)
KILLED_TWICE = 60
"""In each part of each way: a thousand killed runs in all, and a part can be gone on with."""

FAULTS = [KillBefore, KillAfter, TearWrite]

BATTEN = [str(Path(sys.executable).with_name("batten")), "run", "job.py", "--quiet"]

WAYS = {
    "processes": ("def", "post(number)", "", [*BATTEN, "--jobs", "2"]),
    "awaited": ("async def", "await asyncio.to_thread(post, number)", ", concurrency=4", BATTEN),
    "threads": ("def", "post(number)", "", [sys.executable, "job.py"]),
}


class Charging:
    """A server that is paid by the call. It counts what it charged, by the folder of the job."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._charged: dict[str, list[tuple[int, Decimal]]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def charged(self, folder: Path) -> list[Decimal]:
        return [cost for _, cost in self._list(folder)]

    def charged_by_key(self, folder: Path) -> dict[int, list[Decimal]]:
        by_key: dict[int, list[Decimal]] = {}
        for number, cost in self._list(folder):
            by_key.setdefault(number, []).append(cost)
        return by_key

    def _list(self, folder: Path) -> list[tuple[int, Decimal]]:
        with self._lock:
            return list(self._charged.get("-".join(folder.parts[-3:]), ()))

    def answer(self, folder: str, number: int) -> dict[str, object]:
        """The dearest item is the first one. One gives nonsense at its first try, one always."""
        cost = Decimal("0.3") if number == 0 else Decimal("0.1") + Decimal(number) / 1000
        with self._lock:
            charged = self._charged.setdefault(folder, [])
            is_first = not any(each == number for each, _ in charged)
            charged.append((number, cost))
        is_nonsense = number == FAILS or (number == FAILS_ONCE and is_first)
        usage = {"prompt_tokens": TOKENS, "completion_tokens": number}
        return {"usage": usage, "charged": float(cost), "text": [] if is_nonsense else ["a"]}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _make_handler(self) -> type[BaseHTTPRequestHandler]:
        charging = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                _, folder, number = self.path.split("/")
                data = json.dumps(charging.answer(folder, int(number))).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments: object) -> None:
                return

        return Handler


@pytest.fixture(scope="module")
def server() -> Iterator[Charging]:
    made = Charging()
    yield made
    made.close()


def experiment(server: Charging, way: str) -> Experiment:
    define, answer, options, command = WAYS[way]
    program = PROGRAM.format(
        define=define, answer=answer, options=options, items=ITEMS, port=server.port
    )

    def prepare(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "job.py").write_text(textwrap.dedent(program))

    return Experiment(
        prepare=prepare,
        command=lambda folder: command,
        folders=lambda folder: [folder / "features", folder / "features.batten"],
        check=partial(check_done, server),
        check_always=partial(check_accounts, server),
        # A script that ends with failed items ends well.
        done_codes=frozenset({0 if way == "threads" else 3}),
        is_forked=True,
        timeout_seconds=HANG_SECONDS,
    )


def check_accounts(server: Charging, folder: Path, trail: Trail) -> None:
    """No told cost is lost or invented, and what is missing was in flight."""
    charged = server.charged(folder)
    usage = batten.diagnose(folder / "features").contents.usage
    if usage is None:
        return  # Nothing was told yet. What is lost is told of when something was.
    told = Decimal(usage.total.get("cost", 0))
    untold = sum(charged, Decimal(0)) - told
    calls = Decimal(usage.total.get("input_tokens", 0)) / TOKENS
    assert 0 <= len(charged) - calls <= usage.calls_lost + usage.damaged_lines, (charged, usage)
    assert untold >= 0, (charged, usage)


def check_done(server: Charging, folder: Path, trail: Trail) -> None:
    usage = batten.diagnose(folder / "features").contents.usage
    assert usage is not None
    untold = sum(server.charged(folder), Decimal(0)) - Decimal(usage.total["cost"])
    assert 0 <= untold <= Decimal(usage.lost_at_most["cost"]), usage
    killed = sum(run.was_triggered for run in trail.runs)
    assert killed or usage.calls_lost == 0
    check_kept(usage)


def check_kept(usage: Usage) -> None:
    """The answers in the dataset are those of one call for each item."""
    answered = [n for n in range(ITEMS) if n != FAILS]
    assert usage.kept["input_tokens"] == TOKENS * len(answered)
    assert usage.kept["output_tokens"] == sum(answered)
    assert usage.quarantined["input_tokens"] == TOKENS * 2
    assert usage.quarantined["output_tokens"] == FAILS * 2


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sample", [3, pytest.param(None, marks=pytest.mark.crash, id="all")])
def test_the_accounts_are_what_the_server_charged(
    way: str, sample: int | None, server: Charging, tmp_path: Path, seeded: random.Random
) -> None:
    disturb(
        experiment(server, way),
        tmp_path / f"{way}-{sample}",
        seeded=seeded,
        faults=FAULTS,
        sample=sample,
    )


@pytest.mark.parametrize("part", [0, *(pytest.param(n, marks=pytest.mark.crash) for n in PARTS)])
@pytest.mark.parametrize("way", WAYS)
def test_by_key_the_accounts_are_what_the_server_charged_in_a_thousand_killed_runs(
    way: str, part: int, server: Charging, tmp_path: Path, seeded: random.Random
) -> None:
    """Each is killed, killed again when it goes on, and runs to its end."""
    watched = ByKey(server)
    plain = experiment(server, way)
    report = sweep(
        replace(plain, check=watched.check_done, check_always=watched.check_always),
        tmp_path / f"again-{way}-{part}",
        faults=FAULTS,
        sample=KILLED_TWICE if part else 1,
        seed=seeded.getrandbits(32),
        is_twice=True,
        jobs=4,
    )
    report.raise_on_failures()
    sys.stderr.write(f"{watched}\n")
    assert watched.killed >= report.hit


class ByKey:
    """Compares by key what the server charged with what the accounts have. A call may be missing
    there only for a kill at which its item was in hand."""

    def __init__(self, server: Charging) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._in_hand: dict[Path, dict[str, frozenset[int]]] = {}
        self.killed = self.charged = self.told = self.bound = 0

    def __str__(self) -> str:
        return (
            f"{self.killed} killed runs: {self.charged} calls charged, {self.told} told, "
            f"{self.charged - self.told} lost of at most {self.bound} in flight"
        )

    def check_always(self, folder: Path, trail: Trail) -> None:
        check_accounts(self._server, folder, trail)
        marks = (folder / "features.batten" / "runs").glob("*.inflight")
        for path in marks if trail.last.was_triggered else ():
            in_hand = frozenset(read_in_flight(path.read_bytes()))
            with self._lock:
                self._in_hand.setdefault(folder, {})[path.name] = in_hand

    def check_done(self, folder: Path, trail: Trail) -> None:
        check_done(self._server, folder, trail)
        ends = self._in_hand.get(folder, {}).values()
        charged = self._server.charged_by_key(folder)
        told = list_told(folder)
        missing = 0
        for number, costs in charged.items():
            used = told.get(number, {})
            lost = len(costs) - Decimal(used.get("input_tokens", 0)) / TOKENS
            assert 0 <= lost <= sum(number in each for each in ends), (number, costs, used)
            assert sum(costs) - Decimal(used.get("cost", 0)) == lost * costs[0], (number, used)
            missing += int(lost)
        assert set(told) <= set(charged)
        if len(trail.runs) < 3:
            return  # A disturbed run that came to its end is not the last.
        with self._lock:
            calls = sum(map(len, charged.values()))
            self.killed += sum(run.was_triggered for run in trail.runs)
            self.charged += calls
            self.told += calls - missing
            self.bound += sum(map(len, ends))


def list_told(folder: Path) -> dict[int, Mapping[str, Amount]]:
    """What `batten show --usage` tells, by key."""
    used = show(folder / "features", lists_usage=True).used
    assert used is not None
    return {int(str(each.key)): each.used for each in used}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_worker_is_killed_while_it_tells(
    fault: Callable[..., Fault], server: Charging, tmp_path: Path, seeded: random.Random
) -> None:
    """The run goes on, and the item is asked for again."""
    disturb(
        experiment(server, "processes"),
        tmp_path / f"worker-{fault.__name__}",
        seeded=seeded,
        faults=[partial(fault, victims=Victims.CALLER, path="*.usage")],
        sample=1,
    )

"""Jobs to disturb, what becomes of them undisturbed, and what must hold of an output at any moment.

Runs are the finished command, seen from outside: exit codes, JSON, files.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import batten
from batten.crashlab.sweeping import Experiment, Trail
from batten.crashlab.tracing.system_calls import CHANGING, CallKind
from batten.inspect.verifying.verify import verify

BATTEN = str(Path(sys.executable).with_name("batten"))
JOB = "job.py"
OUTPUT = "features"
CONTROL = "features.batten"

UNHARMED = frozenset(
    {"NEW", "INTERRUPTED", "COMPLETE", "COMPLETE_WITH_ORPHANS", "RECOVERY_PENDING"}
)
"""What may be found wherever a run was stopped. RUNNING is not: nobody is left."""

EXIT_ENVIRONMENT = 7

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A job, and what plain reckoning says of its results. `parts` are the bytes that a run makes
    which nobody disturbs, in a folder of its own."""

    program: str
    files: Mapping[str, str]
    rows: list[Row]
    accounts: Mapping[str, int]
    quarantined: frozenset[str]
    parts: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def done_code(self) -> int:
        return 3 if self.quarantined else 0

    def prepare(self, folder: Path) -> None:
        """Fill the folder with the job and its files."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / JOB).write_text(textwrap.dedent(self.program))
        for name, text in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def command(self, jobs: int) -> list[str]:
        return [BATTEN, "run", JOB, "--jobs", str(jobs), "--quiet", "--json"]

    def experiment(
        self,
        jobs: int,
        *,
        other_codes: frozenset[int] = frozenset(),
        kinds: frozenset[CallKind] = CHANGING,
    ) -> Experiment:
        """Disturbed runs may be killed, or end with one of `other_codes`."""
        return Experiment(
            prepare=self.prepare,
            command=lambda folder: self.command(jobs),
            folders=lambda folder: [folder / OUTPUT, folder / CONTROL],
            check=lambda folder, trail: self.check_done(folder),
            check_always=partial(self.check_trail, codes=other_codes | {self.done_code}),
            done_codes=frozenset({self.done_code}),
            kinds=kinds,
            is_forked=True,
            is_seen_whole=True,
        )

    def check_trail(self, folder: Path, trail: Trail, *, codes: frozenset[int]) -> None:
        last = trail.last
        was_killed = last.returncode < 0 and last.fault is not None
        assert was_killed or last.returncode in codes, f"exit {last.returncode}"
        assert "Traceback" not in last.stderr, last.stderr
        if last.returncode == EXIT_ENVIRONMENT:
            assert len(last.stderr.splitlines()) == 3, last.stderr
        self.check_unharmed(folder)

    def read_parts(self, folder: Path) -> dict[str, bytes]:
        return read_parts(folder)

    def check_unharmed(self, folder: Path, before: Mapping[str, bytes] | None = None) -> None:
        """What must hold whenever nobody is at work; `before` are the parts there were."""
        diagnosis = batten.diagnose(folder / OUTPUT)
        assert diagnosis.state in UNHARMED, diagnosis
        if read_parts(folder) != before:
            self.check_prefix(folder)

    def check_prefix(self, folder: Path) -> None:
        """A plain reader sees whole parts, the first ones of the plan, and nothing else."""
        parts = read_parts(folder)
        assert list(parts) == list(self.parts)[: len(parts)]
        for name, data in parts.items():
            assert data == self.parts[name], f"{name} is not that of an undisturbed run"

    def check_done(self, folder: Path) -> None:
        """What must hold when a run says that it is done, disturbed or not."""
        assert read_parts(folder) == self.parts
        diagnosis = batten.diagnose(folder / OUTPUT)
        assert diagnosis.state == "COMPLETE", diagnosis
        assert {name: getattr(diagnosis.items, name) for name in self.accounts} == self.accounts
        assert read_quarantined(folder) == self.quarantined
        verification = verify(folder / OUTPUT)
        assert verification.is_sound, verification
        left = [*(folder / CONTROL / "staging").iterdir(), *(folder / CONTROL / "staged").iterdir()]
        assert left == []


def read_parts(folder: Path) -> dict[str, bytes]:
    """The bytes of all files in the output, each read whole as Parquet as well, in order."""
    output = folder / OUTPUT
    if not output.exists():
        return {}
    parts = {path.name: path.read_bytes() for path in sorted(output.iterdir())}
    for name in parts:
        pq.read_table(output / name)
    return parts


def read_rows(folder: Path) -> list[Row]:
    rows: list[Row] = []
    for path in sorted((folder / OUTPUT).iterdir()):
        rows += pq.read_table(path).to_pylist()
    return rows


def read_quarantined(folder: Path) -> frozenset[str]:
    """The keys of all quarantined items."""
    keys: list[str] = []
    for path in sorted((folder / CONTROL / "quarantine").iterdir()):
        keys += pq.read_table(path).column("key").to_pylist()
    assert len(set(keys)) == len(keys)
    return frozenset(keys)


def _run_undisturbed(subject: Subject, folder: Path) -> Subject:
    """The subject with the parts that it makes; they hold what plain reckoning says."""
    subject.prepare(folder)
    done = subprocess.run(subject.command(1), cwd=folder, capture_output=True, check=False)
    assert done.returncode == subject.done_code, done.stderr
    assert read_rows(folder) == subject.rows
    whole = Subject(**{**vars(subject), "parts": read_parts(folder)})
    assert len(whole.parts) > 2
    whole.check_done(folder)
    return whole


def _accounts(**counts: int) -> dict[str, int]:
    names = ("source", "committed", "filtered", "quarantined", "duplicate", "pending")
    return {name: counts.get(name, 0) for name in names}


def _cheap() -> Subject:
    items = 14
    return Subject(
        program=f"""
            import batten

            def square(number):
                return {{"square": number * number}}

            pipeline = (
                batten.from_range({items}).map(square).write_parquet("features/")
                .options(batch_size=4)
            )
        """,
        files={},
        rows=[{"key": number, "square": number * number} for number in range(items)],
        accounts=_accounts(source=items, committed=items),
        quarantined=frozenset(),
    )


def _dear() -> Subject:
    """Items of five milliseconds, so that several chunks make a batch."""
    numbers = range(22)
    texts = {f"text{number:02}.txt": f"{number} " * number for number in numbers}
    filtered = [number for number in numbers if number % 7 == 3]
    failing = [number for number in numbers if number in (1, 12, 13)]
    done = [number for number in numbers if number not in {*filtered, *failing}]
    return Subject(
        program="""
            import time
            import batten

            def number_of(path):
                return int(path.stem.removeprefix("text"))

            def is_wanted(path):
                return number_of(path) % 7 != 3

            def measure(path):
                time.sleep(0.005)
                number = number_of(path)
                for line in range(number % 3):
                    yield {"line": line, "size": len(path.read_text())}
                if number in (1, 12, 13):
                    raise ValueError("this one fails for good")

            pipeline = (
                batten.from_files("texts/*.txt").filter(is_wanted).flat_map(measure)
                .write_parquet("features/").options(batch_size=6)
            )
        """,
        files={f"texts/{name}": text for name, text in texts.items()},
        rows=[
            {"key": name, "line": line, "size": len(texts[name])}
            for number, name in enumerate(texts)
            if number in done
            for line in range(number % 3)
        ],
        accounts=_accounts(
            source=len(numbers),
            committed=sum(number % 3 > 0 for number in done),
            filtered=len(filtered) + sum(number % 3 == 0 for number in done),
            quarantined=len(failing),
        ),
        quarantined=frozenset(f"text{number:02}.txt" for number in failing),
    )


def _awaited() -> Subject:
    """Calls that end in another order than they began, over more time than they may stay in
    memory."""
    items, failing = 16, (2, 11)
    answered = [number for number in range(items) if number not in failing]
    return Subject(
        program=f"""
            import asyncio
            import batten

            async def ask(number):
                await asyncio.sleep(number * 7 % {items} / 20)
                if number in {failing}:
                    raise ValueError("this one fails for good")
                return {{"answer": number * number}}

            pipeline = (
                batten.from_range({items}).map(ask, concurrency={items})
                .write_parquet("features/").options(batch_size=6)
            )
        """,
        files={},
        rows=[{"key": number, "answer": number * number} for number in answered],
        accounts=_accounts(source=items, committed=len(answered), quarantined=len(failing)),
        quarantined=frozenset(map(str, failing)),
    )


@pytest.fixture(scope="session")
def cheap(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """Items that cost nothing: they travel as whole batches."""
    return _run_undisturbed(_cheap(), tmp_path_factory.mktemp("cheap"))


@pytest.fixture(scope="session")
def dear(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """Items that travel in chunks; some are filtered, some give several rows, some fail."""
    return _run_undisturbed(_dear(), tmp_path_factory.mktemp("dear"))


@pytest.fixture(scope="session")
def awaited(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """Calls of an async function: chunks have gaps, and some calls fail."""
    return _run_undisturbed(_awaited(), tmp_path_factory.mktemp("awaited"))


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the finished command in a folder and goes on. All that it starts hold its standard
    error, so that `communicate` returns when the last of them has ended."""
    started: list[subprocess.Popen[str]] = []

    def run(folder: Path, *arguments: str) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [BATTEN, *arguments],
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate(timeout=60)


@pytest.fixture
def subject(request: pytest.FixtureRequest) -> Subject:
    """The one whose name is the parameter."""
    found: Subject = request.getfixturevalue(request.param)
    return found

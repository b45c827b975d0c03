"""A crash or a failure at each named step of every command that writes: what is left is understood,
and the same command again ends as if nothing had been.

The steps are asked for by environment variables, so this needs no tracing."""

from __future__ import annotations

import random
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

import batten
from batten.crashlab.kept_templates import ForkedCommands
from batten.crashlab.tracing.laboratory import CommandEnd
from batten.storage.changing.steps import STEPS

if TYPE_CHECKING:
    from conftest import Subject

EXIT_ENVIRONMENT = 7
EXPORTED = "rows.parquet"
MOMENTS = ("before", "after")
ERRORS = ("ENOSPC", "EIO", "EACCES")

ELSEWHERE = {
    *(step for step in STEPS if step.startswith(("file.", "folder."))),
    "append",
    "set_attributes",
    "link",
    "make_link",
    "publish_directory.create",
    "publish_directory.sync",
    "publish_directory.rename",
    "publish.rename",
    "stage.discard",
}
"""Of calls that tell what they used (tests/crash/test_usage.py), of the cache
(tests/cache/test_kills.py) and of transactions (tests/transaction), of what is called from Python
alone (tests/storage/test_atomic.py), of filesystems without hard links
(tests/storage/test_local.py), and after a write that failed."""


def leave_finished(subject: Subject, folder: Path) -> None:
    subject.prepare(folder)
    batten_in(folder, *subject.command(2)[1:])


def leave_to_recover(subject: Subject, folder: Path) -> None:
    """Without two commit records, and with orphans."""
    leave_finished(subject, folder)
    control = folder / "features.batten"
    (control / "COMPLETE").unlink()
    for number in (0, 2):
        (control / "commits" / f"{number:06}.json").unlink()
    (control / "staging" / "part-000001.parquet.elsewhere-1-0a1b2c3d4e5f6071").write_bytes(
        b"half of it"
    )


def leave_other(subject: Subject, folder: Path) -> None:
    """Finished by another function than the job has now."""
    subject.prepare(folder)
    job = folder / "job.py"
    text = job.read_text()
    job.write_text(text.replace("len(", "1 + len("))
    batten_in(folder, *RUN)
    job.write_text(text)


RUN = ("run", "job.py", "--jobs", "2", "--quiet", "--json")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What is there before, and the command that is disturbed."""

    subject: str
    prepare: Callable[[Subject, Path], None]
    command: Sequence[str]


SCENARIOS = {
    "whole batches": Scenario(
        subject="cheap", prepare=lambda subject, folder: subject.prepare(folder), command=RUN
    ),
    "chunks": Scenario(
        subject="dear", prepare=lambda subject, folder: subject.prepare(folder), command=RUN
    ),
    "failed items again": Scenario(
        subject="dear", prepare=leave_finished, command=(*RUN, "--retry-quarantined")
    ),
    "anew": Scenario(subject="dear", prepare=leave_other, command=(*RUN, "--fresh")),
    "recover": Scenario(
        subject="dear", prepare=leave_to_recover, command=("recover", "features", "--json")
    ),
    "export": Scenario(
        subject="cheap", prepare=leave_finished, command=("export", "features", EXPORTED)
    ),
}


_forked = ForkedCommands()


def batten_in(folder: Path, *arguments: str, **variables: str) -> CommandEnd:
    command = [sys.executable, "-m", "batten", *arguments]
    return _forked.run(command, folder, timeout_seconds=120, **variables)


class Bench:
    """One scenario: its state before, copied for each trial, and the steps of its command."""

    def __init__(self, scenario: Scenario, subject: Subject, workspace: Path) -> None:
        self.scenario = scenario
        self.subject = subject
        self._workspace = workspace
        self._template = workspace / "template"
        scenario.prepare(subject, self._template)
        folder = self._fill("counted")
        counted = workspace / "steps"
        done = batten_in(folder, *scenario.command, BATTEN_COUNT_STEPS=str(counted))
        assert done.returncode in (0, subject.done_code), done.stderr
        self._parts_before = subject.read_parts(self._template)
        self.steps = [line.split(" ")[0] for line in counted.read_text().splitlines()]
        self.check_ended(folder)

    def _fill(self, name: str) -> Path:
        folder = self._workspace / re.sub(r"\W", "-", name)
        shutil.copytree(self._template, folder)
        return folder

    def try_one(self, variable: str, value: str, second: str | None = None) -> None:
        """Disturb it once, and the rerun at `second`; the next one must end well."""
        told = f"{variable}={value}" + (f", then {second}" if second else "")
        folder = self._fill(told)
        for at in filter(None, (value, second)):
            ended = batten_in(folder, *self.scenario.command, **{variable: at})
            codes = {0, self.subject.done_code, EXIT_ENVIRONMENT, -9}
            assert ended.returncode in codes, (told, ended.returncode, ended.stderr)
            assert "Traceback" not in ended.stderr, (told, ended.stderr)
            self.subject.check_unharmed(folder, self._parts_before)
        again = batten_in(folder, *self.scenario.command)
        assert again.returncode in (0, self.subject.done_code), (told, again.stderr)
        try:
            self.check_ended(folder)
        except AssertionError as error:
            raise AssertionError(f"after {told}") from error
        shutil.rmtree(folder)

    def check_ended(self, folder: Path) -> None:
        if self.scenario.command[0] == "recover":
            assert batten.diagnose(folder / "features").action in ("run", "nothing")
            batten_in(folder, *RUN)
        self.subject.check_done(folder)
        if self.scenario.command[0] == "export":
            whole = pq.read_table(folder / EXPORTED)
            assert whole.num_rows == len(self.subject.rows)


MakeBench = Callable[[str], Bench]


@pytest.fixture(scope="session")
def bench_of(cheap: Subject, dear: Subject, tmp_path_factory: pytest.TempPathFactory) -> MakeBench:
    subjects = {"cheap": cheap, "dear": dear}

    @cache
    def make(name: str) -> Bench:
        scenario = SCENARIOS[name]
        return Bench(scenario, subjects[scenario.subject], tmp_path_factory.mktemp("steps"))

    return make


def test_every_named_step_is_one_of_some_command(bench_of: MakeBench) -> None:
    taken = {step for name in SCENARIOS for step in bench_of(name).steps}
    assert taken | ELSEWHERE == set(STEPS)


SIZES = [pytest.param(1), pytest.param(None, marks=pytest.mark.crash, id="all")]


def choose(steps: int, sample: int | None, seeded: random.Random) -> list[int]:
    numbers = range(1, steps + 1)
    return list(numbers) if sample is None else seeded.sample(numbers, min(sample, steps))


@pytest.mark.parametrize("sample", SIZES)
@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_at_a_step(
    bench_of: MakeBench, name: str, sample: int | None, seeded: random.Random
) -> None:
    """All of them before each step: what a kill after one leaves, a kill before the next does."""
    bench = bench_of(name)
    for number in choose(len(bench.steps), sample, seeded):
        moment = "before" if sample is None else seeded.choice(MOMENTS)
        bench.try_one("BATTEN_CRASH_AT", f"{number}:{moment}")
    if sample is None:
        bench.try_one("BATTEN_CRASH_AT", f"{len(bench.steps)}:after")


@pytest.mark.parametrize("sample", [1, pytest.param(60, marks=pytest.mark.crash)])
@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_at_a_step_and_again_in_the_rerun(
    bench_of: MakeBench, name: str, sample: int, seeded: random.Random
) -> None:
    bench = bench_of(name)
    for number in choose(len(bench.steps), sample, seeded):
        bench.try_one("BATTEN_CRASH_AT", f"{number}", str(seeded.randint(1, len(bench.steps))))


@pytest.mark.parametrize("sample", SIZES)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_step_fails(
    bench_of: MakeBench, name: str, sample: int | None, seeded: random.Random
) -> None:
    """Each with one error; steps of one name, of which there are many, with each of them."""
    bench = bench_of(name)
    tried: Counter[str] = Counter()
    for number in choose(len(bench.steps), sample, seeded):
        step = bench.steps[number - 1]
        error = ERRORS[tried[step] % len(ERRORS)] if sample is None else seeded.choice(ERRORS)
        tried[step] += 1
        bench.try_one("BATTEN_FAIL_AT", f"{number}:{error}")

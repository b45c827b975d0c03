"""The finished command that writes files, killed around every system call, and again in the rerun;
calls that fail: readers see the old file or the new one, and the next run is done."""

from __future__ import annotations

import errno
import random
import sys
import textwrap
from functools import partial
from pathlib import Path

import pytest
from tests.tracing import needs_tracing

import batten
from batten.crashlab.faults import Fail
from batten.crashlab.promises import UNHARMED
from batten.crashlab.sweeping import DISK_FAILURES, Experiment, Trail, disturb, sweep
from batten.crashlab.tracing.laboratory import run_traced
from batten.crashlab.tracing.system_calls import CallKind

pytestmark = needs_tracing

BATTEN = str(Path(sys.executable).with_name("batten"))
EXIT_ENVIRONMENT = 7
OUTPUTS = ("rows.csv", "far/rows.jsonl")

JOB = """
    import batten

    def square(number):
        return {"square": number * number}

    def pipeline(items: int = 10):
        made = batten.from_range(items).map(square).options(batch_size=4)
        return made.write_csv("rows.csv").write_jsonl("far/rows.jsonl")

"""


def expected(items: int) -> dict[str, bytes]:
    rows = [(number, number * number) for number in range(items)]
    csv = '"key","square"\n' + "".join(f"{key},{square}\n" for key, square in rows)
    lines = (f'{{"key": {key}, "square": {square}}}\n' for key, square in rows)
    return {"rows.csv": csv.encode(), "far/rows.jsonl": "".join(lines).encode()}


def prepare(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.py").write_text(textwrap.dedent(JOB))


def check_always(folder: Path, trail: Trail, *, codes: frozenset[int]) -> None:
    last = trail.last
    assert (last.returncode < 0 and last.fault is not None) or last.returncode in codes
    assert "Traceback" not in last.stderr, last.stderr
    for name, data in expected(10).items():
        path = folder / name
        assert not path.exists() or path.read_bytes() == data, name
    state = batten.diagnose(folder / "rows.csv").state
    assert state in UNHARMED, state


def check_done(folder: Path, trail: Trail) -> None:
    for name, data in expected(10).items():
        assert (folder / name).read_bytes() == data
    assert batten.diagnose(folder / "rows.csv").state == "COMPLETE"
    assert [path.name for path in (folder / "far").iterdir()] == ["rows.jsonl"]
    assert list((folder / "rows.csv.batten" / "staging").iterdir()) == []


def experiment(*, other_codes: frozenset[int] = frozenset()) -> Experiment:
    return Experiment(
        prepare=prepare,
        command=lambda folder: [
            *(BATTEN, "run", "job.py", "--jobs", "1", "--quiet", "--json"),
        ],
        folders=lambda folder: [folder / "rows.csv", folder / "rows.csv.batten", folder / "far"],
        check=check_done,
        check_always=partial(check_always, codes=other_codes | {0}),
        is_forked=True,
        is_seen_whole=True,
    )


@pytest.mark.parametrize("sample", [2, pytest.param(None, marks=pytest.mark.crash)])
@pytest.mark.parametrize("is_twice", [True, pytest.param(False, marks=pytest.mark.crash)])
def test_killed_around_any_call(
    sample: int | None, is_twice: bool, tmp_path: Path, seeded: random.Random
) -> None:
    disturb(
        experiment(),
        tmp_path,
        seeded=seeded,
        sample=sample,
        is_twice=is_twice,
        twice_max=150,
    )


@pytest.mark.parametrize("sample", [2, pytest.param(None, marks=pytest.mark.crash)])
def test_a_call_fails(sample: int | None, tmp_path: Path, seeded: random.Random) -> None:
    report = sweep(
        experiment(other_codes=frozenset({EXIT_ENVIRONMENT})),
        tmp_path / "sweep",
        faults=DISK_FAILURES,
        sample=sample,
        seed=seeded.getrandbits(32),
    )
    report.raise_on_failures()


def test_a_file_elsewhere_whose_sync_failed_is_made_anew(tmp_path: Path) -> None:
    """What is beside the ledger is made anew by name; another folder has no lock to note it by."""
    prepare(tmp_path)
    runs = [
        run_traced(
            experiment().command(tmp_path),
            folders=experiment().folders(tmp_path),
            working_folder=tmp_path,
            fault=fault,
        )
        for fault in (
            Fail(1, path="*/far", error=errno.EIO, kinds=frozenset({CallKind.SYNC})),
            None,
        )
    ]
    assert [run.returncode for run in runs] == [7, 0]
    check_done(tmp_path, Trail(tuple(runs)))
    made = [call.target for call in runs[1].calls if call.kind is CallKind.RENAME]
    assert str(tmp_path / "far" / "rows.jsonl") in made

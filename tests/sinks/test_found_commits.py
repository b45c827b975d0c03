"""A run is killed just after a destination shows what it gave it, and before that is durable. What
the next run takes for done, it syncs before it says so: else a power cut would take it back."""

from __future__ import annotations

import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.tracing import needs_tracing

from batten.crashlab.faults import Fault, KillAfter
from batten.crashlab.tracing.laboratory import (
    Traced,
    run_traced,
)
from batten.crashlab.tracing.system_calls import CallKind, TracedCall

if TYPE_CHECKING:
    from conftest import Lab, MakeLab

pytestmark = needs_tracing

BATTEN = str(Path(sys.executable).with_name("batten"))
JOB = """
    import batten

    def name(number):
        return {"name": f"n{number}"}

    made = batten.from_range(6).map(name).options(batch_size=3)
    pipeline = made.write_parquet("rows")
"""


def trace(lab: Lab, fault: Fault | None = None) -> Traced:
    return run_traced(
        [BATTEN, "run", "job.py", "--jobs", "1", "--quiet"],
        folders=[lab.folder],
        working_folder=lab.folder / "of job",
        fault=fault,
    )


def prepare(make_lab: MakeLab, folder: Path, case: Case) -> Lab:
    (folder / "of job").mkdir(parents=True)
    lab = make_lab(folder)
    given = (case.call or lab.call).replace(', ledger="rows"', "")
    (folder / "of job" / "job.py").write_text(textwrap.dedent(JOB).rstrip() + given + "\n")
    if case.has_wal:
        lab.ask("PRAGMA journal_mode = WAL")
    return lab


@dataclass(frozen=True, kw_only=True)
class Case:
    """`last` is the kind of the call with which a batch is there, and its path; `synced` must be
    synced by who finds it there."""

    call: str = ""
    last: tuple[CallKind, str]
    synced: str
    has_wal: bool = False


CASES = {
    "delta": [Case(last=(CallKind.LINK, "*/_delta_log/*"), synced="table/_delta_log")],
    "iceberg": [Case(last=(CallKind.UNLINK, "*/catalogue.db-journal"), synced=".")],
    "sqlite": [
        Case(last=(CallKind.UNLINK, "*/base.db-journal"), synced="."),
        Case(last=(CallKind.WRITE, "*/base.db-wal"), synced="base.db-wal", has_wal=True),
        Case(
            call='.write_jsonl("../far/rows.jsonl")',
            last=(CallKind.RENAME, "*/far/*"),
            synced="far",
        ),
    ],
}


@pytest.mark.parametrize("make_lab", CASES, indirect=True)
def test_what_a_killed_run_committed_is_synced_before_it_counts(
    make_lab: MakeLab, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    kind = request.node.callspec.params["make_lab"]
    for number, case in enumerate(CASES[kind]):
        check(case, make_lab, tmp_path / str(number))


def check(case: Case, make_lab: MakeLab, folder: Path) -> None:
    kind, path = case.last
    lab = prepare(make_lab, folder / "undisturbed", case)
    counting = KillAfter(1, kinds=frozenset({kind}), path=path)
    last = sum(map(counting.applies_to, trace(lab).calls))
    lab = prepare(make_lab, folder / "killed", case)
    killed = trace(lab, KillAfter(last, kinds=frozenset({kind}), path=path))
    assert killed.returncode < 0
    assert killed.hit
    again = trace(lab)
    assert again.returncode == 0, again.stderr
    assert not any(map(counting.applies_to, again.calls)), "it was given again"
    target = str((lab.folder / case.synced).resolve())
    assert target in [each.path for each in before_complete(again) if each.kind is CallKind.SYNC]


def before_complete(run: Traced) -> list[TracedCall]:
    end = next(each.number for each in run.calls if each.target.endswith("rows.batten/COMPLETE"))
    return [each for each in run.calls if each.number < end]

"""A sweep finds the programs that lose data, and passes those that do not."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tests.tracing import needs_tracing

from batten.crashlab.faults import Fail, Fault, KillAfter, KillBefore, TearWrite
from batten.crashlab.sweeping import Experiment, Trail, run_trail, sweep

pytestmark = needs_tracing

MakeScript = Callable[[str], list[str]]
KILLS: list[Callable[[int], Fault]] = [KillBefore, KillAfter, TearWrite]

WHOLE = b"0123456789"

ATOMIC = """
    if not os.path.exists("out/final"):
        file = os.open("out/new", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.write(file, b"01234")
        os.write(file, b"56789")
        os.fsync(file)
        os.close(file)
        os.rename("out/new", "out/final")
        os.fsync(os.open("out", os.O_RDONLY))
"""
IN_PLACE = """
    if not os.path.exists("out/final"):
        file = os.open("out/final", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.write(file, b"01234")
        os.write(file, b"56789")
        os.fsync(file)
"""
SLOW_ONCE = """
    if os.path.basename(os.getcwd()) == "undisturbed":
        os.mkdir("seldom")
        for number in range(29):
            os.mkdir(f"seldom/{number}")
            os.mkdir(f"out/{number}")
    open("out/new", "wb").write(b"0123456789")
    os.rename("out/new", "out/final")
"""
CARELESS = """
    file = os.open("out/new", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    try:
        os.write(file, b"0123456789")
    except OSError:
        pass
    os.rename("out/new", "out/final")
"""
# Every run that is killed leaves a mark in `out`; a run that finds two of them gives up for ever.
FRAGILE = """
    marks = [name for name in os.listdir("out") if name.startswith("mark")]
    if len(marks) == 2:
        sys.exit("given up")
    os.mkdir(f"out/mark{len(marks)}")
    open("out/new", "wb").write(b"0123456789")
    os.rename("out/new", "out/final")
    for name in [*marks, f"mark{len(marks)}"]:
        os.rmdir("out/" + name)
"""


def experiment(command: list[str], *, is_forked: bool = False) -> Experiment:
    def prepare(folder: Path) -> None:
        (folder / "out").mkdir()

    def check(folder: Path, trail: Trail) -> None:
        content = (folder / "out" / "final").read_bytes()
        assert content == WHOLE, f"{content!r} after {trail.last.fault}"

    return Experiment(
        prepare=prepare,
        command=lambda folder: command,
        folders=lambda folder: [folder / "out"],
        check=check,
        is_forked=is_forked,
    )


def test_a_program_that_is_safe_passes(script: MakeScript, tmp_path: Path) -> None:
    report = sweep(experiment(script(ATOMIC)), tmp_path / "sweep", faults=KILLS, seed=1)

    report.raise_on_failures()
    assert report.points == 6 + 6 + 2
    assert report.hit == report.points
    assert [path.name for path in (tmp_path / "sweep").iterdir()] == ["undisturbed"]


@pytest.mark.parametrize("is_forked", [False, True])
def test_a_program_that_writes_in_place_is_found(
    script: MakeScript, is_forked: bool, tmp_path: Path
) -> None:
    python, *options, path = script(IN_PLACE)
    subject = experiment(
        [python, path] if is_forked else [python, *options, path], is_forked=is_forked
    )
    report = sweep(subject, tmp_path / "sweep", faults=KILLS, seed=1)

    found = {failure.faults for failure in report.failures}
    # After it was opened, and until its last byte was written.
    assert found == {
        (fault,)
        for fault in (
            *(KillBefore(2), KillBefore(3), KillAfter(1), KillAfter(2)),
            *(TearWrite(1), TearWrite(2)),
        )
    }
    with pytest.raises(AssertionError, match=r"(?s)seed 1.*KillBefore"):
        report.raise_on_failures()
    failure = report.failures[0]
    again = run_trail(subject, tmp_path / "again", failure.faults)
    assert again.problem == failure.problem
    assert (failure.folder / "out" / "final").read_bytes() != WHOLE


def test_of_two_kills_that_leave_the_same_one_is_tried(script: MakeScript, tmp_path: Path) -> None:
    subject = replace(experiment(script(IN_PLACE)), is_seen_whole=True)
    report = sweep(subject, tmp_path / "sweep", faults=KILLS, seed=1)

    assert report.points == 1 + 4 + 2
    # All moments at which its file is not whole.
    assert {failure.faults for failure in report.failures} == {
        (fault,) for fault in (KillAfter(1), KillAfter(2), TearWrite(1), TearWrite(2))
    }


def test_a_sample_goes_on_where_a_run_makes_fewer_calls_than_were_counted(
    script: MakeScript, tmp_path: Path
) -> None:
    """As where a server answers sooner. One point of four is reached."""
    python, *_, path = script(SLOW_ONCE)
    subject = experiment([python, path], is_forked=True)
    for seed in range(4):
        report = sweep(subject, tmp_path / f"seed{seed}", faults=KILLS, sample=1, seed=seed)
        report.raise_on_failures()
        assert report.hit == 1


def test_a_sample_ends_where_no_point_is_reached(script: MakeScript, tmp_path: Path) -> None:
    subject = replace(experiment(script(SLOW_ONCE)), folders=lambda folder: [folder / "seldom"])
    report = sweep(subject, tmp_path / "sweep", faults=[KillBefore], sample=1, seed=1)
    assert (report.points, report.hit) == (30, 0)


def test_a_program_that_ignores_errors_is_found(script: MakeScript, tmp_path: Path) -> None:
    full = [partial(Fail, error=errno.ENOSPC)]

    found = sweep(experiment(script(CARELESS)), tmp_path / "careless", faults=full, seed=1)
    assert [failure.trail.last.fault for failure in found.failures] == [Fail(2, error=errno.ENOSPC)]
    sweep(experiment(script(ATOMIC)), tmp_path / "atomic", faults=full, seed=1).raise_on_failures()


def test_nothing_is_told_after_what_was_hit(script: MakeScript, tmp_path: Path) -> None:
    subject = experiment(script(ATOMIC))
    once, lasting = (Fail(2, error=errno.ENOSPC, times=times) for times in (1, None))
    runs = run_trail(subject, tmp_path / "once", [once]).trail.runs
    assert ([call.number for call in runs[0].calls], runs[1].calls) == ([1, 2], ())
    assert runs[0].hits == runs[0].calls[1:]
    assert len(run_trail(subject, tmp_path / "undisturbed", []).trail.last.calls) == 6
    for_ever = run_trail(subject, tmp_path / "for ever", [lasting]).trail.runs[0]
    assert [call.number for call in for_ever.hits] == [2]


def test_only_a_second_kill_finds_a_recovery_that_is_unsafe(
    script: MakeScript, tmp_path: Path
) -> None:
    subject = experiment(script(FRAGILE))
    sweep(subject, tmp_path / "once", faults=[KillBefore], seed=1).raise_on_failures()
    report = sweep(subject, tmp_path / "twice", faults=[KillBefore], seed=1, is_twice=True)
    assert report.failures


def test_a_sample_is_chosen_by_the_seed(
    script: MakeScript, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subject = experiment(script(IN_PLACE))
    tried = [
        {
            failure.faults
            for failure in sweep(
                subject, tmp_path / str(number), faults=KILLS, sample=4, seed=seed
            ).failures
        }
        for number, seed in enumerate((7, 7))
    ]
    assert tried[0] == tried[1]
    assert "sweep: 4 of 10 points, seed 7" in capsys.readouterr().err


def test_a_program_that_fails_undisturbed_is_refused(script: MakeScript, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="undisturbed"):
        sweep(experiment(script("sys.exit(9)")), tmp_path / "sweep", faults=KILLS, seed=1)

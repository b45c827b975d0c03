"""Any look, list, read or close may fail, of what is batten's and of what it is given.

Every command says so in three lines or as a finding, or does without; none ends in a traceback."""

from __future__ import annotations

import errno
import json
import random
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.tracing import needs_tracing

import batten
from batten.crashlab.faults import Fail, KillBefore
from batten.crashlab.kept_templates import ForkedCommands, keep_template
from batten.crashlab.points import AtEachPlace, MakeFault
from batten.crashlab.sweeping import Experiment, Trail, sweep
from batten.crashlab.tracing.laboratory import run_traced
from batten.crashlab.tracing.system_calls import ALL, CHANGING, CallKind

pytestmark = needs_tracing

BATTEN = str(Path(sys.executable).with_name("batten"))
LOOKING = ALL - CHANGING
FAULTS: list[MakeFault] = [
    partial(Fail, error=errno.EIO, kinds=LOOKING),
    AtEachPlace(partial(Fail, error=errno.EACCES, kinds=LOOKING)),
]
QUARANTINED = 3
ENDINGS = frozenset({0, QUARANTINED, 4, 5, 7, 10, 11, 12})
"""Neither an unexpected failure nor one of usage."""

JOB = """
    import batten

    def double(item):
        number = item["n"] if isinstance(item, dict) else item
        if number == 3:
            raise ValueError("this one fails for good")
        return {{"double": 2 * number}}

    pipeline = batten.{source}.map(double).write_{sink}.options(batch_size=4, stop_when=None)
"""
FILES = """
    import batten

    def measure(path):
        return {"size": len(path.read_bytes())}

    pipeline = batten.from_files("in/*.jsonl").map(measure).write_parquet("out/")
"""
TREE = """
    import batten

    def spell(number):
        return {"text": str(number)}

    def put(change, number, prepared):
        change.write(f"{number}.md", prepared["text"])

    pipeline = batten.from_range(4).map(spell).write_tree("out", commit=put)
"""
FINAL = """
    import batten

    def first(rows):
        return rows.slice(0, 3)

    def double(number):
        return {"double": 2 * number}

    pipeline = (
        batten.from_range(10).map(double).write_parquet("out/")
        .finalize(first, into="out.csv")
    )
"""
TABLES = """
    import batten

    def join(rows):
        return rows

    pipeline = batten.from_tables(rows="in/rows.parquet").apply(join).write_csv("out.csv")
"""


def write(folder: Path, text: str, file: str = "job.py") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(textwrap.dedent(text))


_forked = ForkedCommands()


def run(folder: Path, *words: str) -> None:
    done = _forked.run([BATTEN, *words], folder)
    assert done.returncode in (0, QUARANTINED), done.stderr


def give_job(folder: Path, source: str = "from_range(10)", sink: str = 'parquet("out/")') -> None:
    rows = [{"n": number} for number in range(10)]
    (folder / "in").mkdir(parents=True)
    (folder / "in/rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "in/rows.csv").write_text("n\n" + "".join(f"{row['n']}\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), folder / "in/rows.parquet")
    (folder / "in/done").write_text("".join(f"{row['n']}\n" for row in rows))
    batten.land(iter(rows), into=folder / "in/landed")
    write(folder, JOB.format(source=source, sink=sink))


def finish_job(folder: Path, source: str = "from_range(10)", sink: str = 'parquet("out/")') -> None:
    give_job(folder, source, sink)
    run(folder, "run", "job.py")


def leave_job(folder: Path) -> None:
    """As a kill leaves it, with parts, staged files and throwaway ones."""
    give_job(folder)
    killed = run_traced(
        [BATTEN, "run", "job.py", "--jobs", "1"],
        folders=[folder / "out", folder / "out.batten"],
        working_folder=folder,
        fault=KillBefore(1, path="*/part-000001.parquet"),
    )
    assert killed.was_triggered


def give(text: str, folder: Path) -> None:
    give_job(folder)
    write(folder, text)


def finish_files(folder: Path) -> None:
    give(FILES, folder)
    run(folder, "run", "job.py")


def give_upstream(folder: Path) -> None:
    finish_job(folder)
    write(folder, JOB.format(source='from_parquet("out/")', sink='csv("out.csv")'), "next.py")


def give_dataset(folder: Path) -> None:
    """Made into another one that is there already, and changed since."""
    finish_job(folder)
    write(folder, JOB.format(source='from_dataset("out/")', sink='csv("out.csv")'), "next.py")
    run(folder, "run", "next.py")
    write(folder, JOB.format(source="from_range(12)", sink='parquet("out/")'))
    run(folder, "run", "job.py", "--accept-change")


def give_finished(folder: Path) -> None:
    """Rows that a job by hand had made, in each form."""
    give_job(folder, source='from_jsonl("in/rows.jsonl", key="n")')
    rows = [{"n": number, "double": 2 * number} for number in range(6)]
    (folder / "in/made.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    lines = [f"{row['n']},{row['double']}\n" for row in rows]
    (folder / "in/made.csv").write_text("n,double\n" + "".join(lines))
    pq.write_table(pa.Table.from_pylist(rows), folder / "in/made.parquet")
    for row in rows[:3]:
        (folder / "in/made").mkdir(exist_ok=True)
        (folder / f"in/made/{row['n']}.json").write_text(json.dumps(row))
        (folder / f"in/made/{row['n']}.done").touch()


def leave_change(folder: Path) -> None:
    """A tree of which a change was cut off."""
    with batten.transaction(folder / "out") as change:
        change.write("pages/one.md", "one")
        change.write("two.md", "two")
    write(
        folder,
        """
        import batten

        with batten.transaction("out") as change:
            change.write("pages/one.md", "new")
            if change.exists("two.md"):
                change.delete("two.md")
            change.write("three.md", "three")
        """,
        "change.py",
    )
    killed = run_traced(
        [sys.executable, "change.py"],
        folders=[folder / "out", folder / "out.batten"],
        working_folder=folder,
        fault=KillBefore(1, path="*/out/three.md"),
    )
    assert killed.was_triggered


def give_tree(folder: Path) -> None:
    leave_change(folder)
    run(folder, "recover", "out")
    with batten.transaction(folder / "out") as change:
        change.write("two.md", "two")


def give_cache(folder: Path) -> None:
    write(
        folder,
        """
        import batten

        cache = batten.Cache("out")
        with cache.get_or_create("key", lambda folder: (folder / "a").write_text("a")):
            pass
        assert cache.memo(str.upper)("b") == "B"
        """,
        "use.py",
    )
    done = subprocess.run([sys.executable, "use.py"], cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


RUN = ("run", "job.py", "--jobs", "1", "--quiet")
CASES: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    **{
        f"{verb} of {name}": (make, (verb, "out.csv" if name == "csv" else "out"))
        for name, make in {
            "a whole output": finish_job,
            "a killed run": leave_job,
            "a cut change": leave_change,
            "csv": partial(finish_job, sink='csv("out.csv")'),
        }.items()
        for verb in ("diagnose", "verify", "clean", "recover", "show")
    },
    "export": (finish_job, ("export", "out", "out.jsonl")),
    **{
        f"report of {name}": (make, ("report", *outputs, "-o", "page.html"))
        for name, make, outputs in (
            ("a whole output", finish_job, ["out"]),
            ("a killed run", leave_job, ["out"]),
            ("a cut change", leave_change, ["out"]),
            ("a chain", give_dataset, ["out.csv"]),
            ("many", give_dataset, ["out", "out.csv", "absent"]),
        )
    },
    "audit": (
        finish_job,
        ("audit", "--done", "in/done", "--rows", "in/rows.parquet", "--key", "n"),
    ),
    "a whole output again": (finish_job, RUN),
    "a killed run goes on": (leave_job, RUN),
    "fresh": (finish_job, (*RUN, "--fresh")),
    "quarantined again": (finish_job, (*RUN, "--retry-quarantined")),
    "dry": (leave_job, (*RUN, "--dry-run")),
    "files": (partial(give, FILES), RUN),
    "tree": (partial(give, TREE), RUN),
    "final": (partial(give, FINAL), RUN),
    "tables": (partial(give, TABLES), RUN),
    "upstream": (give_upstream, ("run", "next.py", "--jobs", "1", "--quiet")),
    "a dataset": (give_dataset, ("run", "next.py", "--jobs", "1", "--quiet")),
    **{
        f"from {source}": (partial(give_job, source=source), RUN)
        for source in (
            'from_jsonl("in/rows.jsonl")',
            'from_csv("in/rows.csv")',
            'from_parquet("in/rows.parquet")',
            'from_landed("in/landed")',
        )
    },
    **{
        f"to {sink}": (partial(give_job, sink=sink), RUN)
        for sink in (
            'delta("out")',
            'csv("out.csv")',
            'jsonl("out.jsonl")',
            'sqlite("out.db", table="rows")',
        )
    },
    **{
        f"adopt {rows}": (
            give_finished,
            *[("adopt", f"in/{rows}", "--key", "n", "--into", "out", "--job", "job.py")],
        )
        for rows in ("made.jsonl", "made.csv", "made.parquet", "made")
    },
    "a change": (give_tree, ("change.py",)),
    "a cache": (give_cache, ("use.py",)),
    **{
        f"cache {verb}": (give_cache, ("cache", verb, "out"))
        for verb in ("show", "clean", "verify")
    },
}


def check(folder: Path, trail: Trail, *, is_program: bool) -> None:
    ended = trail.last
    if is_program:
        # A program of the user's ends in a traceback of its own; what it caught is batten's.
        last = ended.stderr.strip().splitlines()[-3:] if ended.returncode else [""]
        assert not ended.returncode or "batten.errors." in ended.stderr, ended.stderr
        assert last
        return
    assert ended.returncode in ENDINGS, f"exit {ended.returncode}"
    assert "Traceback" not in ended.stderr, ended.stderr


@pytest.mark.parametrize("sample", [1, pytest.param(40, marks=pytest.mark.crash)])
@pytest.mark.parametrize("name", CASES)
def test_reading_fails(
    name: str, sample: int | None, tmp_path: Path, seeded: random.Random
) -> None:
    make, words = CASES[name]
    template = tmp_path / "template"
    make(template)
    is_program = words[0].endswith(".py")
    command = [sys.executable if is_program else BATTEN, *words]
    experiment = Experiment(
        prepare=lambda folder: shutil.copytree(template, folder, dirs_exist_ok=True) and None,
        command=lambda folder: command,
        folders=lambda folder: [
            *(folder / "in", folder / "out", folder / "out.batten", folder / "out.csv"),
            *(folder / "out.csv.batten", folder / "out.jsonl", folder / "out.jsonl.batten"),
            *(folder / "out.db", folder / "out.db.batten"),
        ],
        check=lambda folder, trail: None,
        check_always=partial(check, is_program=is_program),
        done_codes=ENDINGS,
        kinds=LOOKING,
        is_forked=True,
        undisturbed_runs_max=1,
    )
    report = sweep(
        experiment,
        tmp_path / "sweep",
        faults=FAULTS,
        sample=sample,
        seed=seeded.getrandbits(32),
    )
    report.raise_on_failures()


def test_of_a_dataset_that_another_is_made_of_any_one_look_at_its_record_fails(
    tmp_path: Path,
) -> None:
    """It is looked at several times, and is a dataset all the same."""
    make, words = CASES["a dataset"]
    make(tmp_path / "template")
    for number in count(1):
        folder = tmp_path / f"at{number}"
        shutil.copytree(tmp_path / "template", folder)
        ended = run_traced(
            [BATTEN, *words],
            folders=[folder / "out.batten"],
            kinds=LOOKING,
            fault=Fail(number, error=errno.EACCES, kinds=LOOKING, path="*/out.batten/dataset.json"),
            working_folder=folder,
            template=keep_template(),
        )
        assert ended.returncode in ENDINGS, f"at {number}: exit {ended.returncode} {ended.stderr}"
        assert "Traceback" not in ended.stderr, ended.stderr
        if not ended.was_triggered:
            break
    assert number > 5


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (partial(finish_job, source='from_csv("in/rows.csv")'), "digests"),
        (finish_files, "versions"),
        (finish_files, "arrow"),
    ],
)
def test_no_output_is_called_sound_of_which_a_file_can_not_be_read(
    make: Callable[[Path], None], kind: str, tmp_path: Path
) -> None:
    make(tmp_path)
    ended = run_traced(
        [BATTEN, "verify", "out"],
        folders=[tmp_path / "out.batten"],
        working_folder=tmp_path,
        kinds=ALL,
        fault=Fail(1, path=f"*/000000.{kind}", error=errno.EIO, kinds=frozenset({CallKind.READ})),
    )
    assert ended.was_triggered
    assert ended.returncode == 4
    assert f"000000.{kind}" in ended.stdout

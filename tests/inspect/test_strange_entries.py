"""A link, a pipe, a device lies where batten keeps its files: every command ends, says so, and
touches nothing outside. Of the table of all combinations, a sample; all of them under `crash`."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

import batten
from batten.adopting.adopt import adopt_rows
from batten.cli.main import guard, main
from batten.errors import BattenError
from batten.model.disk.names import FILE_NAMES, FOLDER_NAMES
from batten.pipeline.working import work_shown
from batten.run.run_options import RunOptions

SECONDS_MAX = 60
HUGE_BYTES = 20 << 30
EXIT_CODES = {0, 2, 3, 4, 5, 7, 10, 11, 12}
"""2: of a control folder that is no folder a command may say that there is no output."""


def half(number: int) -> dict[str, int]:
    if number % 7 == 3:
        raise ValueError(f"{number} is refused")
    return {"half": number // 2}


def stop_at_eight(number: int) -> dict[str, int]:
    if number == 8:
        raise ValueError("stop here")
    return half(1)


def pipeline_at(folder: Path, function: Callable[[int], dict[str, int]] = half) -> batten.Pipeline:
    source = batten.from_range(12).map(function).options(batch_size=3)
    return source.write_parquet(folder / "out").write_csv(folder / "out.csv")


# What is found: each makes a folder that holds `out`, or the tree `notes`.


def make_complete(folder: Path) -> None:
    pipeline_at(folder).run(jobs=1, executor="serial")
    _litter(folder / "out.batten")


def make_interrupted(folder: Path) -> None:
    stopped = pipeline_at(folder, stop_at_eight).options(on_error="raise")
    with pytest.raises(BattenError):
        stopped.run(jobs=1, executor="serial")
    _litter(folder / "out.batten")


def make_replacing(folder: Path) -> None:
    """A new dataset was begun, and was to take the place of the old one."""
    make_complete(folder)
    fresh = folder / "out.batten" / "fresh"
    shutil.copytree(folder / "out", fresh / "out")
    shutil.copytree(folder / "out.batten", fresh / "out.batten", ignore=lambda *_: ["fresh"])
    (fresh / "replaced").mkdir()
    from batten.model.disk.records import Replacing, encode_record

    own = ["COMPLETE", "commits", "dataset.json", "plan", "quarantine", "runs", "schema.json"]
    journal = Replacing(
        entries=own, run="20260101T000000.000000Z-aaaa", time="2026-01-01T00:00:00Z"
    )
    (folder / "out.batten" / "REPLACING").write_bytes(encode_record(journal))


def _litter(control: Path) -> None:
    """What a killed run leaves."""
    for name in ("fresh", "recompute", "set-aside"):
        (control / name).mkdir(exist_ok=True)
    (control / "staging" / f"000000.json.host-1-{0:016x}").write_bytes(b"half")
    (control / "recompute" / "000001.json").write_bytes(b"{}\n")
    (control / "set-aside" / "old").write_bytes(b"evidence")


def make_tree(folder: Path) -> None:
    root = folder / "notes"
    with batten.transaction(root, token="first") as change:
        change.write("pages/one.md", "one")
        change.write("old.md", "old")
    (folder / "notes.batten/tree/staging" / f"{1:016x}.000001").write_bytes(b"left")


class Stopped(BaseException):
    """Ends the process, as far as what is on disk can tell."""


def make_half_changed(folder: Path) -> None:
    from batten.storage.changing import steps

    make_tree(folder)
    pid = os.fork()
    if pid == 0:

        def stop(moment: str, step: str, name: str) -> None:
            if (step, name) == ("replace.rename", "notes/pages/one.md"):
                os._exit(0)

        steps.observer = stop
        with batten.transaction(folder / "notes") as change:
            change.delete("old.md")
            change.write("pages/one.md", "two")
            change.write("new/two.md", "two")
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


MAKERS: dict[str, Callable[[Path], None]] = {
    "complete": make_complete,
    "interrupted": make_interrupted,
    "replacing": make_replacing,
    "tree": make_tree,
    "half-changed tree": make_half_changed,
}


@cache
def template(found: str) -> Path:
    folder = Path(mkdtemp(prefix="batten-strange-"))
    with quiet():
        MAKERS[found](folder)
    return folder


def list_names(found: str) -> list[str]:
    """Every file and folder beside the output, some that are not there, and one part."""
    root = template(found)
    control = "notes.batten" if "tree" in found else "out.batten"
    names = [control]
    for path in sorted((root / control).rglob("*")):
        relative = path.relative_to(root)
        names.append(relative.as_posix())
    absent = ["REPLACING", "parts", "fresh", "fresh/replaced", "fresh/out.batten", "tree"]
    names += [f"{control}/{name}" for name in absent]
    names += ["out/part-000001.parquet", "out"] if control == "out.batten" else ["notes/pages"]
    return list(dict.fromkeys(names))


# What lies in its place.


def link_to_file(path: Path, victim: Path) -> None:
    path.symlink_to(victim / "precious")


def link_to_folder(path: Path, victim: Path) -> None:
    path.symlink_to(victim / "folder")


def link_to_what_was_there(path: Path, victim: Path) -> None:
    path.symlink_to(victim / "moved")


def hard_link(path: Path, victim: Path) -> None:
    os.link(victim / "precious", path)


def dangling_link(path: Path, victim: Path) -> None:
    path.symlink_to(victim / "nothing")


def pipe(path: Path, victim: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path, victim: Path) -> None:
    os.mknod(path, stat.S_IFSOCK | 0o666)


def device(path: Path, victim: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root may make devices")


def other_kind(path: Path, victim: Path) -> None:
    """A folder for a file, and the reverse."""
    if (victim / "moved").is_dir():
        path.write_bytes(b"not a folder")
    else:
        path.mkdir()
        (path / "inner").write_bytes(b"not a file")


def huge_file(path: Path, victim: Path) -> None:
    path.touch()
    os.truncate(path, HUGE_BYTES)


KINDS = (
    *(link_to_file, link_to_folder, link_to_what_was_there, hard_link, dangling_link, pipe),
    *(unix_socket, device, other_kind, huge_file),
)


# What is done then.


def run(root: Path) -> int:
    pipeline_at(root).run(jobs=1, executor="serial", accept_change=True)
    return 0


def run_fresh(root: Path) -> int:
    pipeline_at(root).run(jobs=1, executor="serial", fresh=True)
    return 0


def retry_quarantined(root: Path) -> int:
    made = pipeline_at(root)
    made.run(jobs=1, executor="serial", retry_quarantined=True, accept_change=True)
    return 0


def work(root: Path) -> int:
    """As on one of several machines."""
    options = RunOptions(jobs=1, gone_seconds=1.0, accepts_change=True)
    work_shown(pipeline_at(root), options, False)
    return 0


def adopt(root: Path) -> int:
    (root / "rows.jsonl").write_text('{"key": "0", "half": 0}\n')
    made = batten.from_items(range(12), key=str).map(half).options(batch_size=3)
    job = made.write_parquet(root / "out")
    rows, into = [str(root / "rows.jsonl")], str(root / "out")
    adopt_rows(job, RunOptions(jobs=1), rows, key="key", into=into, done=None, progress=None)
    return 0


def read_rows(root: Path) -> int:
    return len(list(batten.open(root / "out"))) and 0


def change_tree(root: Path) -> int:
    with batten.transaction(root / "notes") as change:
        change.write("pages/one.md", "three")
        change.delete("pages")
    return 0


def lock_tree(root: Path) -> int:
    with batten.read_lock(root / "notes"):
        return batten.has_token(root / "notes", "first") and 0


def command(name: str, *options: str) -> Callable[[Path], int]:
    def call(root: Path) -> int:
        path = root / ("notes" if (root / "notes").exists() else "out")
        return main([name, str(path), *options])

    call.__name__ = " ".join((name, *options))
    return call


def export(root: Path) -> int:
    return main(["export", str(root / "out"), "--to", str(root / "rows.jsonl")])


def report(root: Path) -> int:
    path = root / ("notes" if (root / "notes").exists() else "out")
    return main(["report", str(path), "-o", str(root / "page.html")])


INSPECTIONS = (
    *(command("diagnose"), command("diagnose", "--json"), command("verify"), command("show")),
    *(command("clean"), command("recover", "--dry-run"), command("recover")),
    report,
)
DATASET = (
    *INSPECTIONS,
    command("recover", "--recompute-missing"),
    run,
    run_fresh,
    read_rows,
    export,
)
TREE = (*INSPECTIONS, command("recover", "--set-aside-journal"), change_tree, lock_tree)


RARE = (retry_quarantined, work, adopt)
"""These pass through what a run does, so fewer combinations will do."""

TELLING = frozenset(INSPECTIONS[:3])


def acts_of(found: str) -> tuple[Callable[[Path], int], ...]:
    return TREE if "tree" in found else DATASET


Case = tuple[str, str, Callable[[Path, Path], None], Callable[[Path], int]]


def all_cases() -> Iterator[Case]:
    for found in MAKERS:
        for name, kind, act in itertools.product(list_names(found), KINDS, acts_of(found)):
            yield found, name, kind, act


def rare_cases() -> Iterator[Case]:
    names = list_names("interrupted")
    for name, kind, act in itertools.product(names, (link_to_what_was_there, pipe), RARE):
        yield "interrupted", name, kind, act


@contextmanager
def quiet() -> Iterator[None]:
    import contextlib
    import io
    import warnings

    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


class TooLong(BaseException):
    pass


@contextmanager
def within(seconds: int) -> Iterator[None]:
    def stop(number: int, frame: object) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def snapshot(folder: Path) -> dict[str, tuple[int, int, int, bytes]]:
    found = {}
    for path in (folder, *folder.rglob("*")):
        status = path.lstat()
        data = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found[str(path)] = (status.st_mode, status.st_uid, status.st_mtime_ns, data)
    return found


def is_damage(case: Case) -> bool:
    """Whether it must be told, being in a place of which it is known what lies there."""
    found, name, kind, act = case
    if act not in TELLING or kind is hard_link:
        return False
    if kind is huge_file and name.endswith("/lock"):
        return False  # Its text may be anything.
    control, _, inner = name.partition("/")
    if not inner or found == "replacing":
        return control.endswith(".batten") and inner in {"", "fresh", "REPLACING"}
    if control == "notes.batten":
        return inner in {f"tree/{each}" for each in OF_A_TREE}
    return control == "out.batten" and inner in FILE_NAMES | FOLDER_NAMES - {"tree"}


OF_A_TREE = {"lock", "JOURNAL", "staging", "tokens", "set-aside"}
DAMAGED = {2, 4, 5}


def play(case: Case, folder: Path) -> str:
    """What went wrong; empty where nothing did."""
    found, name, kind, act = case
    root, victim = folder / "root", folder / "victim"
    shutil.copytree(template(found), root, symlinks=True)
    (victim / "folder" / "inner").mkdir(parents=True)
    (victim / "folder" / "inner" / "file").write_bytes(b"inner")
    (victim / "folder" / "000000.json").write_bytes(b"named as batten names it")
    (victim / "precious").write_bytes(b"precious")
    path = root / name
    if (path.is_dir() and not path.is_symlink()) or path.exists():
        path.rename(victim / "moved")
    elif not path.parent.is_dir():
        return ""
    else:
        (victim / "moved").mkdir()
        (victim / "moved" / "file").write_bytes(b"moved")
    kind(path, victim)
    before = snapshot(victim)
    problem = ""
    try:
        with within(SECONDS_MAX), quiet():
            code = guard(lambda: act(root), is_json=False)
        if code not in EXIT_CODES or (is_damage(case) and code not in DAMAGED):
            problem = f"exit code {code}"
    except TooLong:
        problem = "it hangs"
    except BaseException as error:  # noqa: BLE001  told, none is hidden
        problem = f"{type(error).__name__}: {error}"
    if snapshot(victim) != before:
        problem = "something outside was changed"
    shutil.rmtree(folder, ignore_errors=True)
    return problem


def name_case(case: Case) -> str:
    found, name, kind, act = case
    return f"{found}: {kind.__name__} at {name}, then {act.__name__}"


def play_all(cases: list[Case], folder: Path) -> list[str]:
    told = []
    for number, case in enumerate(cases):
        if problem := play(case, folder / str(number)):
            told.append(f"{name_case(case)}: {problem}")
    return told


def test_a_sample_of_strange_entries(tmp_path: Path, seeded: random.Random) -> None:
    cases = seeded.sample(list(all_cases()), 150)
    assert play_all(cases, tmp_path) == []


def test_a_sample_of_those_that_are_rarely_done(tmp_path: Path, seeded: random.Random) -> None:
    assert play_all(seeded.sample(list(rare_cases()), 15), tmp_path) == []


@pytest.mark.crash
def test_all_that_are_rarely_done(tmp_path: Path) -> None:
    assert play_all(list(rare_cases()), tmp_path) == []


@pytest.mark.crash
@pytest.mark.parametrize("found", MAKERS)
def test_all_strange_entries(tmp_path: Path, found: str) -> None:
    assert play_all([case for case in all_cases() if case[0] == found], tmp_path) == []

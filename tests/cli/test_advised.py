"""Every command that `diagnose` advises, in every state and for every kind of output, is pasted
into a shell in another folder, and does what was promised. The names are odd, and a job of the same
name lies where it is typed. A state of a kind without an example fails."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import batten
import batten.sinks
from batten.cli.main import main
from batten.crashlab.servers.broker import Broker
from batten.crashlab.servers.postgres import Server
from batten.inspect.advising.words_of_states import SAYINGS, Kind
from batten.model.disk.names import Layout
from batten.model.disk.records import encode_record, open_record, seal_record
from batten.model.disk.trees.journal import Journal, Operation, OperationKind, Phase
from batten.model.disk.trees.tree_names import TREE_FOLDER
from batten.model.words import FILE_KINDS, State
from batten.storage.local.folder import LocalStorage
from batten.storage.local.locking.locks import current_holder

NAME = "-out it's\n\x1b[31m"
HEAD = """
import batten

def put(change, number, prepared):
    change.write(f"{number}.md", str(prepared["n"]))

def last(table):
    return table.slice(len(table) - 1)

def report(a):
    return a

def again(row):
    return {"n": row["n"]}

made = batten.from_range(6).map(lambda n: {"n": n}).options(batch_size=2)
"""
LANDS = f"""
import batten

def stream(offset):
    yield from ({{"n": n}} for n in range(offset, 6))

batten.land(stream, into={NAME!r}, items_max=2)
"""
CHANGES = f"""
import batten

with batten.transaction({NAME!r}) as change:
    change.write("old", "1")
"""
CHANGE = "0123456789abcdef"
DECOY = 'open("the-decoy-ran", "w").close()'
EXIT_CODES = {0, 4, 5, 10, 11, 12}
"""Of commands that do what they are asked, whatever they find."""
COMMAND = re.compile(r"(cd [^;&]+ && )?(batten|python|rm -r) .*")
CATALOGUE = '{"type": "sql", "uri": f"sqlite:///{here}/c.db", "warehouse": f"file://{here}/w"}'
JOBS = {
    "parquet": f"made.write_parquet({NAME!r})",
    "csv": f"made.write_csv({NAME!r})",
    "hive": f"made.write_parquet({NAME!r}, partition_by='n')",
    "files": f"batten.from_range(6).map(lambda n: b'%d' % n).options(batch_size=2)"
    f".write_files({NAME!r} + '/{{key}}.txt')",
    "sqlite": f"made.write_sqlite({NAME!r}, 't')",
    "delta": f"made.write_delta({NAME!r})",
    "iceberg": f"made.write_iceberg('lab.t', catalog={CATALOGUE}, ledger={NAME!r})",
    "postgres": f"made.write_postgres('ADDRESS', 't', ledger={NAME!r})",
    "kafka": f"made.write_kafka('t', servers='SERVERS', ledger={NAME!r})",
    "tree": f"made.options(batch_size=1).write_tree({NAME!r}, commit=put)",
    "tables": f"batten.from_tables(a='a.csv').apply(report).write_csv({NAME!r})",
    "finalized": f"made.write_parquet('first').finalize(last, into={NAME!r})",
    "dataset": f"batten.from_dataset('first').map(again).options(batch_size=2)"
    f".write_parquet({NAME!r})",
    "adopted": f"batten.from_jsonl('items.jsonl', key='key').map(again).options(batch_size=2)"
    f".write_parquet({NAME!r})",
}
BEFORE = {
    "dataset": ("run", "job.py:first", "--quiet", "--jobs", "1"),
    "adopted": ("adopt", "rows.jsonl", "--key", "key", f"--into={NAME}", "--job", "job.py"),
}
"""Commands before the run of the job itself."""
PROGRAMS = {"landing": LANDS, "transactions": CHANGES}


def control(folder: Path) -> Path:
    return folder / f"{NAME}.batten"


def change_nothing(folder: Path) -> None:
    pass


def remove_all(folder: Path) -> None:
    for path in (folder / NAME, control(folder)):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def make_orphan(folder: Path) -> None:
    owner = f"{os.uname().nodename}-99999999-0123456789abcdef"
    (control(folder) / "staging").mkdir(exist_ok=True)
    (control(folder) / "staging" / f"part-000001.parquet.{owner}").write_text("half")


def lose_completion(folder: Path) -> None:
    (control(folder) / "COMPLETE").unlink()


def fail_sync(folder: Path) -> None:
    (folder / Layout(NAME).unsynced).write_text("")


def find_part(folder: Path) -> Path:
    places = (control(folder) / "parts", folder / NAME)
    return next(p for each in places for p in each.rglob("part-000000.parquet"))


def lose_part(folder: Path) -> None:
    find_part(folder).unlink()


def damage_part(folder: Path) -> None:
    find_part(folder).write_bytes(b"damaged")


def be_of_a_newer_batten(folder: Path) -> None:
    path = control(folder) / "dataset.json"
    told = json.loads(open_record(path.read_bytes()))
    path.write_bytes(seal_record(json.dumps(told | {"format_version": 99}).encode()))


def change_the_first(folder: Path) -> None:
    (folder / "first.batten" / "COMPLETE").unlink()


def change_the_table(folder: Path) -> None:
    (folder / "a.csv").write_text("n\n1\n2\n3\n")


def tree(folder: Path) -> Path:
    return folder / (NAME + ".batten" + TREE_FOLDER)


def leave_staged(folder: Path) -> None:
    (tree(folder) / "staging" / f"{CHANGE}.000007").write_text("half")


def write_journal(folder: Path, *, has_staged: bool = True) -> None:
    put = Operation(action=OperationKind.PUT.value, path="old", staged=1)
    journal = Journal(
        phase=Phase.COMMITTED.value, change=CHANGE, token="", operations=[put], time="t"
    )
    (tree(folder) / "JOURNAL").write_bytes(encode_record(journal))
    if has_staged:
        (tree(folder) / "staging" / f"{CHANGE}.000001").write_text("new")


def lose_staged(folder: Path) -> None:
    write_journal(folder, has_staged=False)


def link_staging(folder: Path) -> None:
    shutil.rmtree(tree(folder) / "staging")
    (tree(folder) / "staging").symlink_to(folder)


def give_up(folder: Path) -> None:
    lose_staged(folder)
    done = shell(f"batten recover --set-aside-journal {quoted()}", folder)
    assert done.returncode == 5, done.stderr


def quoted() -> str:
    from batten.model.telling.commands import as_path, quote

    return quote(as_path(NAME))


def land_twice(folder: Path) -> None:
    first = min(path for path in (folder / NAME).iterdir() if path.is_file())
    shutil.copy(first, first.with_name(first.name.replace("1.", "2.")))


@dataclass(frozen=True)
class Example:
    """What is done to an output, and its states after what is advised, one after the other; where
    nothing but words are advised, these."""

    change: Callable[[Path], None]
    after: tuple[str, ...] = ()
    words: str = ""


DONE = ("COMPLETE",)
COMPUTED_AGAIN = ("INTERRUPTED", "COMPLETE")
OF_JOBS = {
    State.NEW: Example(remove_all, words="batten run JOB.py, the job that writes here"),
    State.RUNNING: Example(change_nothing, DONE),
    State.INTERRUPTED: Example(lose_completion, DONE),
    State.COMPLETE: Example(change_nothing, DONE),
    State.COMPLETE_WITH_ORPHANS: Example(make_orphan, DONE),
    State.RECOVERY_PENDING: Example(fail_sync, DONE),
    State.INCONSISTENT: Example(lose_part, COMPUTED_AGAIN),
    State.CORRUPT: Example(damage_part, COMPUTED_AGAIN),
    State.UNKNOWN: Example(be_of_a_newer_batten, words="use the newer batten that wrote it"),
}
OF_LANDINGS = {
    State.NEW: OF_JOBS[State.NEW],
    State.RUNNING: Example(change_nothing, words="leave it alone: it goes on landing"),
    State.COMPLETE: Example(change_nothing, words="the program that lands here, to land more"),
    State.COMPLETE_WITH_ORPHANS: Example(make_orphan, DONE),
    State.RECOVERY_PENDING: Example(fail_sync, DONE),
    State.INCONSISTENT: Example(land_twice, words="move away the file that batten did not land"),
}
OF_TRANSACTIONS = {
    State.NEW: OF_JOBS[State.NEW],
    State.RUNNING: Example(change_nothing, DONE),
    State.COMPLETE: Example(change_nothing, words="nothing: the tree is whole"),
    State.COMPLETE_WITH_ORPHANS: Example(leave_staged, DONE),
    State.RECOVERY_PENDING: Example(write_journal, DONE),
    State.INCONSISTENT: Example(lose_staged, ("UNKNOWN", "COMPLETE")),
    State.CORRUPT: Example(link_staging, words="put right what is named, then: batten diagnose "),
    State.UNKNOWN: Example(give_up, DONE),
}
EXAMPLES: dict[tuple[str, State], Example] = {
    **{(kind, state): each for kind in JOBS for state, each in OF_JOBS.items()},
    ("finalized", State.STALE): Example(change_the_first, DONE),
    ("dataset", State.STALE): Example(change_the_first, DONE),
    ("tables", State.STALE): Example(change_the_table, DONE),
    **{("landing", state): each for state, each in OF_LANDINGS.items()},
    **{("transactions", state): each for state, each in OF_TRANSACTIONS.items()},
}
NEVER: dict[tuple[str, State], str] = {
    **{(kind, State.STALE): "nothing tells what it was made of" for kind in (*JOBS, *PROGRAMS)},
    ("landing", State.INTERRUPTED): "it has no plan and is never finished",
    ("transactions", State.INTERRUPTED): "a change is whole, or pending",
    ("landing", State.CORRUPT): "its files are told by their names, and read by the next job",
    ("landing", State.UNKNOWN): "it has no record of a version",
}
for _kind in ("finalized", "dataset", "tables"):
    del NEVER[_kind, State.STALE]


def list_said(kind: str) -> set[State]:
    """The states of which the table says something for outputs of this kind."""
    own = {"landing": Kind.LANDING, "transactions": Kind.TREE}.get(kind, Kind.JOB)
    return set(SAYINGS[own])


def test_each_state_of_each_kind_has_an_example() -> None:
    kinds = {*JOBS, *PROGRAMS}
    assert {(kind, state) for kind in kinds for state in State} == EXAMPLES.keys() | NEVER.keys()
    assert not EXAMPLES.keys() & NEVER.keys()
    said = {(kind, state) for kind in kinds for state in list_said(kind)}
    assert said - EXAMPLES.keys() == {pair for pair in NEVER if pair in said}
    # Before it is seen that a stream lands there, or a tree, it is judged as the output of a job.
    beyond = {(kind, state) for kind, state in EXAMPLES.keys() - said if kind in PROGRAMS}
    assert {state for _, state in beyond} <= {State.NEW, State.RECOVERY_PENDING}
    assert EXAMPLES.keys() - said == beyond


def test_each_kind_of_destination_is_one_of_the_kinds() -> None:
    for module in pkgutil.walk_packages(batten.sinks.__path__, "batten.sinks."):
        importlib.import_module(module.name)
    found: set[str] = set()
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("batten.sinks."):
            kinds = (getattr(each, "kind", None) for each in vars(module).values())
            found.update(kind for kind in kinds if isinstance(kind, str))
    assert found >= {"sqlite", "delta", "iceberg", "postgres", "tree"}
    assert found - set(JOBS) - FILE_KINDS == set()


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    tools = folder.parent / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "batten").write_text(f'#!/bin/sh\nexec {sys.executable} -m batten "$@"\n')
    (tools / "batten").chmod(0o755)
    path = f"{tools}:{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        errors="backslashreplace",
        check=False,
        timeout=120,
    )


@dataclass
class Workshop:
    """Outputs of all kinds, each made once, in a folder of its own, and put back as it was. Beside
    them a folder with another job of the same name, and one for copies."""

    root: Path
    server: Server | None = None
    broker: Broker | None = None
    _kept: dict[str, Path] = field(default_factory=dict)

    def prepare(self, kind: str) -> Path:
        folder = self.root / kind
        if kind not in self._kept:
            folder.mkdir()
            self._make(kind, folder)
            self._kept[kind] = self.root / "kept" / kind
            shutil.copytree(folder, self._kept[kind], symlinks=True)
        shutil.rmtree(folder)
        shutil.copytree(self._kept[kind], folder, symlinks=True)
        return folder

    def _make(self, kind: str, folder: Path) -> None:
        if kind in PROGRAMS:
            (folder / "job.py").write_text(PROGRAMS[kind])
            assert shell("python job.py", folder).returncode == 0
            return
        (folder / "a.csv").write_text("n\n1\n2\n")
        lines = [json.dumps({"key": f"{n}", "n": n}) + "\n" for n in range(6)]
        (folder / "items.jsonl").write_text("".join(lines))
        (folder / "rows.jsonl").write_text("".join(lines[::2]))
        first = "first = made.write_parquet('first')" * (kind == "dataset")
        text = f"{HEAD}\n{first}\nhere = {str(folder)!r}\npipeline = {JOBS[kind]}\n"
        if kind == "postgres":
            self.server = self.server or Server(is_synced=False)
            text = text.replace("ADDRESS", self.server.address())
        if kind == "kafka":
            self.broker = self.broker or Broker()
            text = text.replace("SERVERS", self.broker.servers)
        (folder / "job.py").write_text(text)
        with contextlib.chdir(folder):
            if kind in BEFORE:
                assert main([*BEFORE[kind]]) in (0, 3, 10)
            assert main(["run", "job.py", "--quiet", "--jobs", "1"]) == 0

    def elsewhere(self) -> Path:
        folder = self.root / "elsewhere"
        folder.mkdir(exist_ok=True)
        (folder / "job.py").write_text(DECOY)
        return folder


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    made = Workshop(tmp_path_factory.mktemp("advised"))
    yield made
    for started in (made.server, made.broker):
        if started is not None:
            started.__exit__(None, None, None)
    assert list(made.root.rglob("the-decoy-ran")) == []


def find_command(told: str) -> str:
    """What of an advice is to be pasted; empty where it is words."""
    words = "when it has ended: "
    line = told.removeprefix(words).rpartition("as it should be: ")[2]
    is_filled = "JOB.py" not in line and " to be " not in line
    return line if COMMAND.fullmatch(line) and line.isprintable() and is_filled else ""


def diagnose(folder: Path, typed_in: Path) -> batten.Diagnosis:
    with contextlib.chdir(typed_in):
        return batten.diagnose(os.path.relpath(folder / NAME, typed_in))


def read_all(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def look_at_a_copy(workshop: Workshop, folder: Path, kind: str, *, is_run: bool) -> None:
    """Of a copy nothing is advised that changes what it was copied from."""
    copies = workshop.root / "copies"
    shutil.rmtree(copies, ignore_errors=True)
    copies.mkdir()
    for end in ("", ".batten"):
        found = folder / (NAME + end)
        if found.is_dir():
            shutil.copytree(found, copies / (NAME + end), symlinks=True)
        elif found.exists():
            shutil.copy(found, copies / (NAME + end))
    told = diagnose(copies, workshop.elsewhere())
    assert "batten run job.py" not in told.next
    if told.state in (State.INTERRUPTED, State.STALE) or told.action == "stop":
        assert told.next.startswith("this is a copy: ") or kind in PROGRAMS, told
    line = find_command(told.next.rpartition("see: ")[2])
    assert line or told.action in ("nothing", "look", "stop"), told
    if is_run and line:
        before = read_all(folder)
        done = shell(line, workshop.elsewhere())
        assert done.returncode in EXIT_CODES, (line, done.stderr)
        assert read_all(folder) == before


@pytest.mark.parametrize(
    ("kind", "state"), list(EXAMPLES), ids=lambda each: getattr(each, "value", each)
)
def test_what_is_advised_works(workshop: Workshop, kind: str, state: State) -> None:
    example = EXAMPLES[kind, state]
    folder, typed_in = workshop.prepare(kind), workshop.elsewhere()
    example.change(folder)
    lock = Layout(NAME).lock if kind != "transactions" else f"{NAME}.batten{TREE_FOLDER}/lock"
    is_running = state is State.RUNNING
    with contextlib.ExitStack() as stack:
        if is_running:
            stack.enter_context(LocalStorage(folder).lock(lock, current_holder()))
        told = diagnose(folder, typed_in)
    assert told.state == state, told
    line = find_command(told.next)
    assert bool(line) is bool(example.after), told.next
    if not line:
        assert example.words in told.next
    if state is not State.NEW:
        is_run = kind == "parquet" or state in (State.INTERRUPTED, State.CORRUPT)
        look_at_a_copy(workshop, folder, kind, is_run=is_run)
    for after in example.after:
        done = shell(line, typed_in)
        told = diagnose(folder, typed_in)
        assert told.state == after, (line, told, done.stderr)
        # What a person has to look at is told by the exit code, too.
        assert done.returncode == (told.exit_code if after == "UNKNOWN" else 0), done.stderr
        line = find_command(told.next)


@pytest.mark.parametrize("state", OF_JOBS)
def test_in_its_own_folder_too(workshop: Workshop, state: State) -> None:
    example, folder = OF_JOBS[state], workshop.prepare("parquet")
    example.change(folder)
    told = diagnose(folder, folder)
    assert "cd " not in told.next
    for after in example.after:
        done = shell(find_command(told.next), folder)
        assert done.returncode == 0, (told.next, done.stderr)
        told = diagnose(folder, folder)
        assert told.state == after


def test_a_cache(tmp_path: Path) -> None:
    place, typed_in = tmp_path / "made" / NAME, tmp_path / "elsewhere"
    typed_in.mkdir()
    with batten.Cache(place).get_or_create(1, lambda folder: (folder / "a").write_text("x")):
        pass
    told = diagnose(tmp_path / "made", typed_in)
    shown = shell(told.next, typed_in).stdout.split("\n")[1]
    assert shown.split()[:2] == ["entries", "1,"]
    next(place.rglob("files/a")).write_text("y2")
    verify = told.next.replace("cache show", "cache verify")
    found = shell(verify, typed_in)
    line = found.stdout.rstrip("\n").rpartition("next: ")[2]
    assert shell(line, typed_in).returncode == 0
    assert shell(verify, typed_in).returncode == 0

"""The folders that fuzzing begins with, and what is called on each.

They are real ones, as jobs, transactions and caches leave them when they are done or killed.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import pickle
import pkgutil
import random
import shutil
import signal
import sys
import textwrap
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batten.crashlab.mutations import Folder, bytes_of
from batten.model.disk.journal import Journal, Operation, OperationKind, Phase
from batten.model.disk.names import DIGEST_CHARACTERS
from batten.model.disk.records import Holder, Replacing, encode_record

JOB = textwrap.dedent("""
    import os
    import signal
    import batten

    def double(n: int) -> dict:
        if n == 3:
            raise ValueError("three is odd")
        if n == 5 and os.environ.get("FUZZ_STOP"):
            os.kill(os.getpid(), signal.SIGTERM)
        return {"double": 2 * n, "text": f"t{n}"}

    def numbers():
        yield from [*range(8), 1]

    own = [*range(8), 1]
    keyed = batten.from_items(own, key=str).map(double).options(batch_size=2).write_parquet("out")
    lazy = batten.from_items(numbers, key=str).map(double).options(batch_size=3)
    values = lazy.write_parquet("out")
    plain = batten.from_items(numbers).map(double).options(batch_size=3).write_parquet("out")
    table = lazy.write_csv("out")
""")

LOOKS = (
    *("diagnose out", "diagnose --json out", "verify out", "verify --quick --json out"),
    *("show out", "show --json out", "clean --dry-run out", "recover --dry-run out"),
    "read",
)
CHANGES = (
    *("clean out", "recover out", "recover --recompute-missing out", "recover --json out", "run"),
    *("run", "run --dry-run", "run --fresh", "run --retry-quarantined", "run --accept-change"),
    *("export --allow-incomplete out", "verify out", "diagnose out"),
)
TREE_LOOKS = (*LOOKS[:-1], "read lock")
TREE_CHANGES = (
    *("recover out", "recover --set-aside-journal out", "recover --json out", "clean out"),
    *("transaction", "read lock", "diagnose out"),
)
CACHE_LOOKS = (
    "cache show out",
    "cache show --json out",
    "cache verify out",
    "cache clean --dry-run out",
)
CACHE_CHANGES = (
    *("use cache", "use cache", "cache clean out", "cache clean --max-bytes 0 out"),
    *("cache verify --set-aside out", "use cache"),
)


@dataclass
class Base:
    """A folder to begin with, as often as `weight` says. `pipeline` is the one of the job that made
    it; `functions` are calls that are no commands, by their name."""

    name: str
    folder: Folder
    looks: Sequence[str] = LOOKS
    changes: Sequence[str] = CHANGES
    pipeline: str = "keyed"
    job: str = JOB
    weight: int = 1
    functions: dict[str, Callable[[Path], int | None]] = field(default_factory=dict)

    def choose_calls(self, dice: random.Random) -> list[str]:
        """Most of the calls look; a change is looked at afterwards."""
        calls = dice.sample(self.looks, 3)
        if dice.random() < 0.5:
            calls += [dice.choice(self.changes), self.looks[0]]
        return calls


class _Canary:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return (os.mkdir, (self.path,))


def make_canary(path: Path) -> bytes:
    """A pickle that makes a folder when it is unpickled."""
    return pickle.dumps(_Canary(str(path)))


def read_output(root: Path) -> None:
    import batten

    dataset = batten.open(root / "out")
    for _ in dataset.to_arrow().to_batches():
        pass


def use_cache(root: Path) -> None:
    from batten.cache.cache import Cache

    cache = Cache(root / "out", disk_free_min=0)
    with cache.get_or_create("files", _fill) as entry:
        os.listdir(entry.path)
    cache.get_or_compute("value", lambda: [1, "a"])
    cache.get_or_compute("odd", lambda: _Odd())
    cache.statistics()


class _Odd:
    """A value that is pickled."""


def _fill(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "data").write_bytes(b"data")
    (folder / "more").write_bytes(b"more")


def change_tree(root: Path) -> None:
    import batten

    with batten.transaction(root / "out") as change:
        change.write("fuzzed.md", "fuzzed")


def lock_tree(root: Path) -> None:
    import batten

    with batten.read_lock(root / "out"):
        pass


def build_bases(root: Path) -> list[Base]:
    """All of them, made in `root`, which is emptied again."""
    bases = []
    for pipeline in ("keyed", "values", "plain", "table"):
        for stop in (False, True):
            files = _make(root, _run_job(pipeline, stop=stop))
            name = f"{pipeline} {'stopped' if stop else 'complete'}"
            bases.append(Base(name, files, pipeline=pipeline, functions={"read": read_output}))
    complete = bases[0]
    bases.append(
        Base("keyed with all kinds", _add_kinds(bases[1].folder), functions=complete.functions)
    )
    replacing = _add_replacement(complete.folder)
    bases.append(Base("keyed being replaced", replacing, functions=complete.functions))
    tree: dict[str, Any] = {"looks": TREE_LOOKS, "changes": TREE_CHANGES, "weight": 2}
    tree["functions"] = {"transaction": change_tree, "read lock": lock_tree}
    at_rest = _make(root, _make_tree)
    bases += [Base(f"tree {phase}", _add_journal(at_rest, phase), **tree) for phase in Phase]
    bases.append(
        Base(
            "cache",
            _make(root, use_cache),
            looks=CACHE_LOOKS,
            changes=CACHE_CHANGES,
            weight=3,
            functions={"use cache": use_cache},
        )
    )
    shutil.rmtree(root, ignore_errors=True)
    return bases


def import_all() -> None:
    """What the calls import, once for all processes that are forked: another user, as which some
    calls are made, may not read it. pyarrow imports pandas where it is installed."""
    import pyarrow as pa

    import batten

    for module in pkgutil.walk_packages(batten.__path__, "batten."):
        if not module.name.endswith("__main__"):
            with suppress(ImportError, batten.BattenError):
                importlib.import_module(module.name)
    pa.array([1, None]).to_numpy(zero_copy_only=False)


def _make(root: Path, action: Callable[[Path], object]) -> Folder:
    """What a process leaves that does it."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    (root / "job.py").write_text(JOB)
    pid = os.fork()
    if not pid:
        try:
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 1)
            os.dup2(null, 2)
            os.chdir(root)
            action(root)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != "job.py" and "__pycache__" not in path.parts
    }


def _run_job(pipeline: str, *, stop: bool) -> Callable[[Path], None]:
    def run(root: Path) -> None:
        from batten.errors import BattenError
        from batten.jobs.job_file import load_job
        from batten.pipeline.pipeline import Pipeline

        if stop:
            os.environ["FUZZ_STOP"] = "1"
        sys.dont_write_bytecode = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        job = load_job(f"job.py:{pipeline}", {}, Pipeline)
        try:
            job.pipeline.run(executor="serial")
        except BattenError:
            return

    return run


def _make_tree(root: Path) -> None:
    import batten

    with batten.transaction(root / "out") as change:
        change.write("old.md", "old")
        change.write("pages/one.md", "one")
        change.write("pages/deep/two.md", "two")


def _add_journal(folder: Folder, phase: Phase) -> Folder:
    """With a change that was begun, or committed, and not finished."""
    put = OperationKind.PUT if phase is Phase.COMMITTED else OperationKind.RESTORE
    operations = [
        Operation(action=put.value, path="old.md", staged=1),
        Operation(action=OperationKind.MAKE_FOLDER.value, path="new"),
        Operation(action=put.value, path="new/three.md", staged=2),
    ]
    if phase is Phase.COMMITTED:
        operations.append(Operation(action=OperationKind.DELETE.value, path="pages/one.md"))
    else:
        operations.append(Operation(action=OperationKind.DISCARD.value, path="pages/deep"))
    journal = Journal(phase=phase.value, change="0a", token="t", operations=operations, time="t")
    control = "out.batten/tree"
    digest = hashlib.sha256(b"another").hexdigest()[:DIGEST_CHARACTERS]
    return {
        **folder,
        f"{control}/JOURNAL": encode_record(journal),
        f"{control}/tokens/{digest}.json": encode_record(journal),
        f"{control}/staging/0a.000001": b"new old",
        f"{control}/staging/0a.000002": b"three",
        f"{control}/set-aside/old.md": b"evidence",
    }


def _add_kinds(folder: Folder) -> Folder:
    """With one of each kind of file that a stopped run need not leave."""
    control = "out.batten"
    part = bytes_of(folder, "out/part-000000.parquet")
    digest = hashlib.sha256(part).hexdigest()[:DIGEST_CHARACTERS]
    holder = Holder(pid=2, host=os.uname().nodename, since="s", boot="b", pid_namespace="p")
    added: Folder = {
        f"{control}/staged/000003-sealed-{digest}.parquet": part,
        f"{control}/staging/part-000003.parquet.host-1-0123456789abcdef": b"half",
        f"{control}/recompute/000001.json": folder.get(f"{control}/commits/000001.json", b"{}"),
        f"{control}/set-aside/evidence": b"evidence",
        f"{control}/lock": encode_record(holder),
    }
    logs = [name for name in folder if name.endswith(".jsonl")]
    for name in logs:
        added[name.replace(".jsonl", ".inflight")] = _make_marks()
        added[name] = bytes_of(folder, name).splitlines()[0] + b"\n"
    return {**folder, **added}


def _make_marks() -> bytes:
    from batten.executors.marks import MarkTable

    handle = -1

    def make_file(size: int) -> int:
        nonlocal handle
        handle = os.memfd_create("marks")
        os.ftruncate(handle, size)
        return os.dup(handle)

    table = MarkTable(2, make_file)
    table.records[0][0] = 5
    table.close()
    with open(handle, "rb") as file:
        return file.read()


def _add_replacement(folder: Folder) -> Folder:
    """With a whole dataset that is about to take its place."""
    fresh: Folder = {}
    entries = set()
    for name, node in folder.items():
        fresh[f"out.batten/fresh/{name}"] = node
        if name.startswith("out.batten/"):
            entries.add(name.split("/")[1])
    own = sorted(entries - {"lock", "staging", "set-aside", "fresh", "parts", "deliveries"})
    return {
        **folder,
        **fresh,
        "out.batten/REPLACING": encode_record(Replacing(entries=own, run="r", time="t")),
    }

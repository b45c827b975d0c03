"""The folders that fuzzing begins with, and what is called on each.

They are real ones, as jobs, transactions and caches leave them when they are done or killed.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import pickle
import pkgutil
import random
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from batten.crashlab.fuzzing.functions import (
    change_tree,
    land_more,
    lock_tree,
    read_landed,
    read_output,
    serve_output,
    use_cache,
)
from batten.crashlab.fuzzing.jobs import PIPELINES, lay_job, run_job
from batten.crashlab.fuzzing.submitted import add_answered, add_pending
from batten.crashlab.odd.records import Folder, bytes_of
from batten.model.disk.names import Layout
from batten.model.disk.records import Replacing, Unsynced, encode_record
from batten.model.disk.runs.holders import Holder
from batten.model.disk.staged_names import DIGEST_CHARACTERS
from batten.model.disk.trees.journal import Journal, Operation, OperationKind, Phase

LOOKS = (
    *("diagnose out", "diagnose --json out", "verify out", "verify --quick --json out"),
    *("show out", "show --json out", "clean --dry-run out", "recover --dry-run out"),
    *("report out", "report --json out", "serve"),
    "read",
)
CHAIN_LOOKS = (
    *("diagnose --upstream out", "diagnose --inputs out", "verify --upstream out"),
    *("diagnose --upstream --json out", "verify --upstream --quick --json out"),
)
MADE_OF_OTHERS = ("chain", "both", "adopted", "files")
CHANGES = (
    *("clean out", "recover out", "recover --recompute-missing out", "recover --json out", "run"),
    *("run", "run --dry-run", "run --fresh", "run --retry-quarantined", "run --accept-change"),
    *("export --allow-incomplete out", "verify out", "diagnose out"),
)
STILL_CHANGES = tuple(each for each in CHANGES if not each.startswith("run"))
TREE_LOOKS = (*LOOKS[:-1], "read lock")
TREE_CHANGES = (
    *("recover out", "recover --set-aside-journal out", "recover --json out", "clean out"),
    *("transaction", "read lock", "diagnose out"),
)
LANDED_LOOKS = ("diagnose out", "diagnose --json out", "verify out", "report out", "read landed")
LANDED_CHANGES = ("clean out", "recover out", "land more", "land more", "read landed")
CACHE_LOOKS = (
    "cache show out",
    "cache show --json out",
    "cache verify out",
    "cache clean --dry-run out",
)
CACHE_CHANGES = (
    *("use cache", "use cache", "cache clean out", "cache clean --max-bytes 0 out"),
    *("cache verify --set-aside out", "cache clear out", "use cache"),
)


Function = Callable[[Path], int | None]


@dataclass
class Base:
    """A folder to begin with, as often as `weight` says. `pipeline` is the one of the job that made
    it; `functions` are calls that are no commands, by their name."""

    name: str
    folder: Folder
    looks: Sequence[str] = LOOKS
    changes: Sequence[str] = CHANGES
    pipeline: str = "keyed"
    weight: int = 1
    functions: dict[str, Function] = field(default_factory=dict)

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


def build_bases(root: Path) -> list[Base]:
    """All of them, made in `root`, which is emptied again."""
    bases = []
    for pipeline in PIPELINES:
        for stop in (False, True):
            files = _make_staged(root, pipeline) if stop else _make(root, run_job(pipeline))
            name = f"{pipeline} {'stopped' if stop else 'complete'}"
            functions: dict[str, Function] = {"read": read_output, "serve": serve_output}
            # Its function runs in a process, which answers with a pickle.
            changes = STILL_CHANGES if pipeline == "whole" else CHANGES
            looks = (*LOOKS, *CHAIN_LOOKS) if pipeline in MADE_OF_OTHERS else LOOKS
            more: dict[str, Any] = {"functions": functions, "pipeline": pipeline}
            bases.append(Base(name, files, looks=looks, changes=changes, **more))
    landed: dict[str, Function] = {"land more": land_more, "read landed": read_landed}
    bases.append(
        Base(
            "landed",
            _make(root, land_more),
            looks=LANDED_LOOKS,
            changes=LANDED_CHANGES,
            functions=landed,
        )
    )
    for each in bases:
        if each.pipeline in ("values", "plain") and _list_staged(each.folder):
            bases.append(replace(each, name="scattered", folder=_scatter(each.folder)))
            break
    submitted = _make(root, run_job("submitted"))
    for name, add in (("pending", add_pending), ("answered", add_answered)):
        more = {"functions": bases[0].functions, "pipeline": "submitted"}
        # A run may rightly end with 1: what a record says of the vendor is not what the job asks.
        more["changes"] = STILL_CHANGES
        bases.append(Base(f"submitted {name}", add(submitted), **more))
    complete = bases[0]
    bases.append(
        Base("keyed with all kinds", _add_kinds(bases[1].folder), functions=complete.functions)
    )
    replacing = _add_replacement(complete.folder)
    bases.append(Base("keyed being replaced", replacing, functions=complete.functions))
    tree: dict[str, Any] = {"looks": TREE_LOOKS, "changes": TREE_CHANGES, "weight": 2}
    tree["functions"] = {
        "transaction": change_tree,
        "read lock": lock_tree,
        "serve": serve_output,
    }
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
    lay_job(root)
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
        if path.is_file() and not path.name.startswith("job") and "__pycache__" not in path.parts
    }


def _make_staged(root: Path, pipeline: str) -> Folder:
    """What a run leaves that is killed, if possible with chunks staged: as quick items are handed
    out in whole batches, there may be none."""
    files: Folder = {}
    for _ in range(3):
        files = _make(root, run_job(pipeline, stop=True))
        if _list_staged(files):
            break
    return files


def _list_staged(files: Folder) -> list[str]:
    return [name for name in files if name.endswith(".arrow") and "/staged/" in name]


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
        f"{control}/UNSYNCED": encode_record(Unsynced(names=["out/old.md"])),
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
        f"{control}/UNSYNCED": encode_record(Unsynced(names=["out/part-000000.parquet"])),
    }
    logs = [name for name in folder if name.endswith(".jsonl")]
    for name in logs:
        added[name.replace(".jsonl", ".inflight")] = _make_marks()
        added[name] = bytes_of(folder, name).splitlines()[0] + b"\n"
    return {**folder, **added}


def _scatter(folder: Folder) -> Folder:
    """With a chunk that lacks an item between others, as workers leave that are given items out of
    order."""
    from batten.work.staged.chunk_files import cut_rows, encode_piece

    staged = _list_staged(folder)
    table = pa.ipc.open_file(pa.py_buffer(bytes_of(folder, staged[0]))).read_all()
    about = json.loads(table.schema.metadata[b"batten.chunk"])
    piece = replace(cut_rows(None, 0, 3), some=0b101)
    data, chunk = encode_piece(piece, about["batch"], about["work"])
    kept: Folder = {name: node for name, node in folder.items() if name not in staged}
    return {**kept, Layout("out").staged_chunk(chunk): bytes(data)}


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

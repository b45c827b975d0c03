"""Many threads of many processes add and remove documents, and some are killed.

Files, registry and index must agree whenever the lock is held.
"""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

import batten

PROGRAM = """
import contextlib
import json
import os
import sqlite3
import sys
import threading
import batten

process, threads, rounds = map(int, sys.argv[1:])

def tell(line):
    os.write(1, f"{line}\\n".encode())  # by one call: lines of threads stay apart

def add(name):
    with batten.transaction("notes") as change:
        registry = json.loads(change.read("registry.json"))
        registry[name] = len(registry)
        change.write(f"pages/{name}/page.md", name)
        change.write("registry.json", json.dumps(registry))
        edit_index(change, "insert into words values (?)", name)

def remove(name):
    with batten.transaction("notes") as change:
        registry = json.loads(change.read("registry.json"))
        del registry[name]
        change.delete(f"pages/{name}")
        change.write("registry.json", json.dumps(registry))
        edit_index(change, "delete from words where word = ?", name)

def edit_index(change, statement, name):
    path = change.protect("index.sqlite")
    with contextlib.closing(sqlite3.connect(path)) as index, index:
        index.execute(statement, (name,))

def work(thread):
    for number in range(rounds):
        name = f"{process}-{thread}-{number}"
        add(name)
        tell(name)
        if (thread + number) % 2:
            remove(name)
            tell("-" + name)

workers = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
"""


def prepare(folder: Path) -> Path:
    root = folder / "notes"
    root.mkdir()
    (root / "registry.json").write_text("{}")
    with closing(sqlite3.connect(root / "index.sqlite")) as index, index:
        index.execute("create table words (word text)")
    return root


def list_documents(root: Path) -> set[str]:
    """The documents, by the files, the registry and the index, which must agree."""
    with batten.read_lock(root):
        pages = root / "pages"
        files = {page.name for page in pages.iterdir()} if pages.exists() else set()
        assert all((pages / name / "page.md").read_text() == name for name in files)
        assert json.loads((root / "registry.json").read_text()).keys() == files
        with closing(sqlite3.connect(root / "index.sqlite")) as index:
            words = [word for (word,) in index.execute("select word from words")]
        assert sorted(words) == sorted(files)
    return files


@pytest.mark.parametrize(
    ("threads", "rounds"), [(10, 1), pytest.param(10, 8, marks=pytest.mark.crash, id="more")]
)
def test_ten_processes_of_ten_threads(
    threads: int, rounds: int, tmp_path: Path, seeded: random.Random
) -> None:
    root = prepare(tmp_path)
    told: set[str] = set()
    finished: set[int] = set()
    with ExitStack() as stack:
        processes = {
            number: stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", PROGRAM, str(number), str(threads), str(rounds)],
                    cwd=tmp_path,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for number in range(10)
        }
        victims = seeded.sample(sorted(processes), 4)
        for number, process in processes.items():
            assert process.stdout is not None
            lines = seeded.randint(1, threads)
            for count, line in enumerate(process.stdout, 1):
                told.add(line.strip())
                if number in victims and count == lines:
                    process.kill()
                    list_documents(root)
            if process.wait() == 0:
                finished.add(number)
    assert set(processes) - finished <= set(victims)
    documents = list_documents(root)
    removed = {name[1:] for name in told if name.startswith("-")}
    assert not removed & documents
    for name in told - removed:
        is_kept = (sum(map(int, name.split("-")[1:])) % 2) == 0
        if not name.startswith("-") and is_kept:
            assert name in documents
    for name in documents:
        if int(name.split("-")[0]) in finished:
            assert name in told

"""Which threads do not survive a fork: with real libraries, each in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import textwrap

import pytest
from tests.tracing import needs_tracing

LOOK = """
import json
from batten.executors.processes.foreign_threads import find_foreign_threads
print(json.dumps(find_foreign_threads()))
"""

SAFE = {
    "nothing": "",
    "arrow": """
        import pyarrow as pa, pyarrow.compute as pc
        pc.sum(pa.chunked_array([list(range(1000))] * 50))
    """,
    "a file in memory whose name has the end of a line": """
        import mmap, pathlib, tempfile
        import pyarrow as pa, pyarrow.compute as pc
        place = pathlib.Path(tempfile.mkdtemp(), "a\\rb")
        place.write_bytes(b"x")
        file = open(place, "rb")
        held = mmap.mmap(file.fileno(), 1, prot=mmap.PROT_READ)
        pc.sum(pa.chunked_array([list(range(1000))] * 50))
    """,
    "numpy": """
        import numpy as np, pyarrow
        np.ones((300, 300)) @ np.ones((300, 300))
    """,
    "one that has ended": """
        import threading
        ended = threading.Thread(target=print, name="client")
        ended.start()
        ended.join()
    """,
    "batten's own": """
        import threading
        threading.Thread(target=threading.Event().wait, daemon=True, name="batten-x").start()
    """,
}

HARMED = {
    "a thread of Python": (
        "threading",
        """
        import threading
        threading.Thread(target=threading.Event().wait, daemon=True, name="client").start()
        """,
    ),
    "one that Python does not list": (
        "threading",
        """
        import _thread, threading
        begun = threading.Event()
        _thread.start_new_thread(lambda: (begun.set(), threading.Event().wait()), ())
        begun.wait()
        """,
    ),
    "polars": ("polars", 'import polars; polars.DataFrame({"a": [1]}).group_by("a").len()'),
    "duckdb": ("duckdb", 'import duckdb; duckdb.sql("select 1").fetchall()'),
    "arrow's client of S3": (
        "pyarrow",
        """
        import pyarrow.fs
        pyarrow.fs.S3FileSystem(
            anonymous=True, region="us-east-1", endpoint_override="127.0.0.1:9"
        )
        """,
    ),
}


def find_threads(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code) + LOOK],
        capture_output=True,
        text=True,
        check=True,
    )
    names: list[str] = json.loads(done.stdout.splitlines()[-1])
    return names


@pytest.mark.parametrize("name", SAFE)
def test_what_survives_a_fork(name: str) -> None:
    assert find_threads(SAFE[name]) == []


@needs_tracing
def test_one_on_its_way_out_is_not_taken_for_a_stranger() -> None:
    # A tracer holds up each call, so a pool that was just shut down has threads for a while.
    code = """
    from concurrent.futures import ThreadPoolExecutor
    from batten.executors.processes.foreign_threads import find_foreign_threads
    for _ in range(150):
        with ThreadPoolExecutor(max_workers=2) as pool:
            list(pool.map(str, range(4)))
        assert find_foreign_threads() == []
    """
    words = [sys.executable, "-c", textwrap.dedent(code)]
    subprocess.run(["strace", "-f", "-o", "/dev/null", *words], check=True)


@pytest.mark.parametrize("name", HARMED)
def test_what_does_not(name: str) -> None:
    module, code = HARMED[name]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    assert find_threads(code) != []

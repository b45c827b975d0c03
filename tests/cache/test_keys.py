"""Keys: equal for equal calls, different for any other; files and functions by identity."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batten.cache.identity import Identifier
from batten.errors import UsageError
from batten.model.cached.cache_keys import encode_key

FACTOR = 3
TABLE = [1, 2]


def scale(number: int) -> int:
    return number * FACTOR


def look_up(number: int) -> int:
    return TABLE[number]


def identify(key: Any, *, by_content: bool = False) -> str:
    return Identifier(by_content=by_content).identify(key).digest


def refuse(value: object) -> bytes:
    raise TypeError(type(value))


DIFFERENT: list[Any] = [
    None,
    True,
    False,
    1,
    0,
    -1,
    1.0,
    0.0,
    -0.0,
    "1",
    b"1",
    "",
    b"",
    (),
    [],
    {},
    set(),
    frozenset(),
    (1,),
    [1],
    ((1,),),
    (1, 2),
    ((1, 2),),
    ((1,), 2),
    {1: 2},
    {"1": 2},
    {1: 2, 3: None},
    {1},
    frozenset({1}),
    1 + 0j,
    math.nan,
    math.inf,
    -math.inf,
    1 << 200,
    "a;b",
    ("a", ";b"),
    ("a;", "b"),
    Path("1"),
    PurePosixPath("1"),
    scale,
    len,
    print,
]


def test_no_two_of_these_are_the_same() -> None:
    digests = [identify(key) for key in DIFFERENT]
    same = [
        (DIFFERENT[a], DIFFERENT[b])
        for a, b in combinations(range(len(digests)), 2)
        if digests[a] == digests[b]
    ]
    assert same == []


def test_order_does_not_count_where_it_means_nothing() -> None:
    assert identify({"a": 1, "b": 2}) == identify({"b": 2, "a": 1})
    assert identify({3, 1, 2}) == identify({2, 3, 1})
    assert identify(math.nan) == identify(-math.nan) == identify(math.inf - math.inf)


_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner)
    ),
    max_leaves=8,
)


@given(_PLAIN, _PLAIN)
def test_bytes_tell_all(one: Any, other: Any) -> None:
    # A float's repr tells -0.0 from 0.0, and all NaNs are one.
    assert (encode_key(one, refuse) == encode_key(other, refuse)) == (_text(one) == _text(other))


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(sorted(f"{_text(k)}:{_text(v)}" for k, v in value.items())) + "}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}({','.join(map(_text, value))})"
    return repr(value)


class Opaque:
    def __init__(self) -> None:
        self.pending = iter(())


@pytest.mark.parametrize("key", [iter(()), Opaque(), open, (1, {"a": [iter(())]})])
def test_what_has_no_content_is_an_error(key: Any) -> None:
    if key is open:
        key = open(os.devnull)  # noqa: SIM115 - closed with the test
    with pytest.raises(UsageError, match="key of the cache"):
        identify(key)
    if hasattr(key, "close"):
        key.close()


def test_a_key_that_holds_itself_is_an_error() -> None:
    key: list[Any] = []
    key.append(key)
    with pytest.raises(UsageError, match="holds itself"):
        identify(key)


@pytest.mark.parametrize("by_content", [False, True])
def test_a_file_that_changes_is_another(tmp_path: Path, by_content: bool) -> None:
    path = tmp_path / "clip"
    path.write_text("one")
    digests = {identify(path, by_content=by_content)}
    assert {identify(path, by_content=by_content)} == digests
    # The same size, and the time of change set back: only the inode's own clock tells.
    times = path.stat()
    path.write_text("two")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    digests.add(identify(path, by_content=by_content))
    path.unlink()
    digests.add(identify(path, by_content=by_content))
    assert len(digests) == 3


def test_content_does_not_depend_on_place_and_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "clip").write_text("same")
    os.utime(tmp_path / "a" / "clip", (1, 1))
    keys = [tmp_path / name / "clip" for name in ("a", "b")]
    assert identify(keys[0], by_content=True) == identify(keys[1], by_content=True)
    assert identify(keys[0]) != identify(keys[1])


@pytest.mark.parametrize("by_content", [False, True])
def test_a_folder_is_all_that_is_in_it(tmp_path: Path, by_content: bool) -> None:
    (tmp_path / "sub").mkdir()
    seen = {identify(tmp_path, by_content=by_content)}
    for change in (
        lambda: (tmp_path / "sub" / "a").write_text("1"),
        lambda: (tmp_path / "sub" / "a").write_text("2"),
        lambda: (tmp_path / "sub" / "a").rename(tmp_path / "a"),
    ):
        change()
        seen.add(identify(tmp_path, by_content=by_content))
    assert len(seen) == 4


def test_a_function_is_its_code_and_what_that_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    before = identify(scale), identify(look_up)
    assert before == (identify(scale), identify(look_up))
    monkeypatch.setitem(globals(), "FACTOR", 4)
    TABLE.append(3)
    after = identify(scale), identify(look_up)
    TABLE.pop()
    monkeypatch.undo()
    assert after[0] != before[0]
    assert after[1] != before[1]
    assert before == (identify(scale), identify(look_up))


def test_captured_values_and_defaults_count() -> None:
    def make(captured: Any, default: Any) -> Callable[..., Any]:
        return lambda number=default: number + captured

    assert identify(make(1, 2)) == identify(make(1, 2))
    assert len({identify(make(a, b)) for a in (1, 2) for b in (1, 2)}) == 4


def test_keys_are_the_same_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(
        textwrap.dedent("""
            from batten.cache.identity import Identifier
            def f(x, y=(1, "a")):
                return {x, y}
            print(Identifier(by_content=False).identify((f, {"b", "a", "c"}, 1.5)).digest)
        """)
    )
    digests = {
        subprocess.run(
            [sys.executable, "job.py"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_old_code_is_not_taken_for_the_new_source(tmp_path: Path) -> None:
    """A source that is edited while its old code still runs."""
    program = """
        import pathlib, sys
        from batten.cache.identity import Identifier
        import work
        if sys.argv[1] == "edit":
            pathlib.Path("work.py").write_text("def f():\\n    return 20\\n")
        print(Identifier(by_content=False).identify(work.f).digest)
    """
    (tmp_path / "program.py").write_text(textwrap.dedent(program))
    (tmp_path / "work.py").write_text("def f():\n    return 1\n")

    def run(word: str) -> str:
        command = [sys.executable, "-B", "program.py", word]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout

    assert run("edit") != run("keep")

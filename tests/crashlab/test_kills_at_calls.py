"""A process is killed before or after any call of a client that is written in C."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from batten.testing import ClientCall, kill_at_call, list_calls

CLIENTS = (sqlite3.Connection,)


def fill(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as base:
        base.execute("CREATE TABLE IF NOT EXISTS rows (n)")
        for number in range(2):
            base.execute("BEGIN")
            base.execute("INSERT INTO rows VALUES (?)", [number])
            base.commit()


def read(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as base:
        return [number for (number,) in base.execute("SELECT n FROM rows")]


def test_calls_are_told_in_their_order(tmp_path: Path) -> None:
    told = [(call.name, call.number) for call in list_calls(lambda: fill(tmp_path / "a"), CLIENTS)]
    begun = [("Connection.execute", number) for number in range(1, 6)]
    assert told == [
        *(*begun[:3], ("Connection.commit", 1)),
        *(*begun[3:], ("Connection.commit", 2)),
        ("Connection.close", 1),
    ]


@pytest.mark.parametrize("is_after", [False, True])
def test_a_process_dies_at_the_call(is_after: bool, tmp_path: Path) -> None:
    path = tmp_path / "base"
    second = ClientCall(name="Connection.commit", number=2)
    assert kill_at_call(lambda: fill(path), CLIENTS, second, is_after=is_after)
    assert read(path) == ([0, 1] if is_after else [0])


def test_a_call_that_does_not_come_kills_nobody(tmp_path: Path) -> None:
    third = ClientCall(name="Connection.commit", number=3)
    assert not kill_at_call(lambda: fill(tmp_path / "base"), CLIENTS, third)
    assert read(tmp_path / "base") == [0, 1]


def test_a_call_that_raises_has_ended_too(tmp_path: Path) -> None:
    def fail() -> None:
        with closing(sqlite3.connect(tmp_path / "base")) as base:
            base.execute("SELECT")

    first = ClientCall(name="Connection.execute", number=1)
    assert kill_at_call(fail, CLIENTS, first, is_after=True)
    with pytest.raises(RuntimeError, match="failed"):
        kill_at_call(fail, CLIENTS, ClientCall(name="Connection.execute", number=2))

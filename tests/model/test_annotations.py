"""Annotations that name what only a type checker imports. Texts, before Python 3.14; there they
are evaluated when asked for, too."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

import batten
from batten.errors import UsageError
from batten.fingerprint.functions import describe_function
from batten.jobs.finalizer import make_finalizer
from batten.rows.row_classes import find_fields, find_return
from batten.work.calling.holding import takes_folder

SOURCE = """
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from polars import LazyFrame
    from somewhere import Item

class Row(TypedDict):
    name: str
    item: Item

@dataclass
class Held:
    name: str
    item: Item

def returns_what_is_there(item: Item) -> dict[str, int]:
    return {"n": 1}

def returns_what_is_not(item: str) -> list[Item]:
    return []

def writes(item: Item, folder: Item) -> dict[str, int]:
    held: Item = Held("a", item)
    return {"n": len(held.name)}

class Asks:
    def __init__(self, worker: Item) -> None:
        self.index = worker.index

    def __call__(self, item: Item) -> dict[str, int]:
        return {"n": self.index}

def whole(rows: LazyFrame) -> LazyFrame:
    return rows

def odd(rows: Item) -> Item:
    return rows
"""

LAZY = pytest.param("", marks=pytest.mark.skipif(sys.version_info < (3, 14), reason="of 3.14"))


@pytest.fixture(params=["from __future__ import annotations\n", LAZY])
def names(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    (tmp_path / "annotated_job.py").write_text(request.param + SOURCE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "annotated_job", raising=False)
    return vars(importlib.import_module("annotated_job"))


def test_rows_keep_their_columns(names: dict[str, Any]) -> None:
    for kind in (names["Row"], names["Held"]):
        assert [name for name, _ in find_fields(kind) or ()] == ["name", "item"]


def test_what_a_function_returns_is_known_if_it_is_there(names: dict[str, Any]) -> None:
    assert find_return(names["returns_what_is_there"]) == dict[str, int]
    assert find_return(names["returns_what_is_not"]) is None


def test_a_folder_is_seen(names: dict[str, Any]) -> None:
    assert takes_folder(names["writes"])
    assert not takes_folder(names["returns_what_is_not"])


def test_functions_are_described(names: dict[str, Any]) -> None:
    assert describe_function(names["writes"]).parts
    assert describe_function(names["Asks"]).parts


def test_a_finalizer_takes_what_it_names(names: dict[str, Any], tmp_path: Path) -> None:
    whole, odd = (
        lambda name=name: make_finalizer(names[name], "counts", tmp_path, version=None, others=[])
        for name in ("whole", "odd")
    )
    assert whole().form == "polars"
    with pytest.raises(UsageError, match="is annotated to take 'Item'"):
        odd()


def test_memos_and_steps_of_classes(names: dict[str, Any], tmp_path: Path) -> None:
    memo = batten.Cache(tmp_path / "cache").memo(names["returns_what_is_there"])
    assert memo("a") == {"n": 1}
    pipeline = batten.from_items(["a"]).map(names["Asks"])
    pipeline.write_parquet(tmp_path / "out").run(jobs=1)
    assert [row["n"] for row in batten.open(tmp_path / "out")] == [0]

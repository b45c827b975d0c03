"""Which of the states that a power cut may leave are tried."""

from __future__ import annotations

from random import Random

from batten.crashlab.power import StateAfterCut, find_states, record_cuts
from batten.model.disk.names import Layout
from batten.storage.twin.memory import MemoryStorage

LAYOUT = Layout("rows")
FIRST, SECOND, RECORD = "rows/part-000000.parquet", "rows/part-000001.parquet", "rows/plan.json"
SHOWN = {FIRST: b"1" * 9000, SECOND: b"2" * 9000, RECORD: b"record"}


def write_all(storage: MemoryStorage) -> None:
    """Nothing is synced but the names."""
    storage.ensure_folder("rows")
    for name, data in SHOWN.items():
        storage.stage(name, data, is_synced=False)
    storage.sync_names("rows")


def find_all(seed: int) -> list[StateAfterCut]:
    cuts = record_cuts(MemoryStorage(), write_all, LAYOUT)
    return list(find_states(cuts, LAYOUT, Random(seed), by_chance=0))


def files_of(found: StateAfterCut) -> dict[str, bytes]:
    return {name: data for name, data in found.storage.snapshot().items() if data is not None}


def way_of(data: bytes) -> str:
    """How it lost bytes; nothing if it is whole."""
    if data in SHOWN.values():
        return ""
    blocks = [data[start : start + 4096] for start in range(0, len(data), 4096)]
    zeroes = [not any(block) for block in blocks]
    if not blocks or not any(zeroes):
        return "cut" if blocks else "emptied"
    return "all" if all(zeroes) else "first" if zeroes[0] else "last"


def test_each_combination_of_kinds_of_files_that_lost_bytes_is_tried_once() -> None:
    """After each step. Two parts are files of one kind."""
    found = [files_of(each) for each in find_all(1)]
    combinations = [
        tuple(sorted((kind_of(name), bool(way_of(data))) for name, data in files.items()))
        for files in found
    ]
    for is_lost in (True, False):
        for name in SHOWN:
            others = [(kind_of(each), (each == name) == is_lost) for each in SHOWN]
            assert tuple(sorted(others)) in combinations, (name, is_lost)
    assert len(combinations) < 2.5 * len(set(combinations))


def kind_of(name: str) -> str:
    return "part" if "part" in name else name


def test_each_kind_of_file_loses_bytes_in_each_way() -> None:
    """No seed leaves out a way."""
    every = {"", "emptied", "cut", "all", "first", "last"}
    for seed in range(10):
        ways = {
            (kind_of(name), way_of(data))
            for each in find_all(seed)
            for name, data in files_of(each).items()
        }
        assert ways >= {("part", way) for way in every}
        assert ways >= {(RECORD, way) for way in ("", "emptied", "cut", "all")}


def test_in_which_way_is_drawn() -> None:
    """So that another seed tries another of the states that are left out."""

    tried = [frozenset(frozenset(files_of(each).items()) for each in find_all(n)) for n in range(9)]
    assert len(set(tried)) > 5

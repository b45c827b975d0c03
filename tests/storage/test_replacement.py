"""A replacement, cut at every step, ends with the new dataset whole or the old one whole."""

from __future__ import annotations

import hashlib
from random import Random

import pytest

from batten.ledger.replacement import replace_dataset, roll_forward
from batten.model.disk.names import Layout
from batten.model.disk.records import CommitRecord, Completion, encode_record
from batten.storage.changing.publishing import create
from batten.storage.twin.memory import MemoryStorage
from batten.storage.twin.power_cuts import CutPower, PowerLost
from batten.storage.twin.volatile import Model

LAYOUT = Layout("features")


KEPT = {
    "features/notes.txt": b"a note",
    "features.batten/notes.txt": b"another note",
    "features.batten/set-aside/evidence": b"evidence",
}
"""What lies beside the old dataset and is not of it."""


def _make(storage: MemoryStorage, layout: Layout, parts: list[bytes], extra: str | None) -> None:
    for folder in (layout.output, layout.plan, layout.commits, layout.staging):
        storage.ensure_folder(folder)
    create(storage, layout.staging, layout.config, f"{layout.output} is this".encode())
    for batch, data in enumerate(parts):
        create(storage, layout.staging, layout.part(batch), data)
        record = CommitRecord(
            batch=batch,
            items=1,
            rows=1,
            outcomes="1c",
            keys="",
            fingerprint="",
            size=len(data),
            digest=hashlib.sha256(data).hexdigest(),
            quarantine_digest="",
            run="",
            time="",
        )
        create(storage, layout.staging, layout.commit(batch), encode_record(record))
    if extra is not None:
        create(storage, layout.staging, f"{layout.control}/{extra}", b"{}")
    completion = Completion(
        source=len(parts),
        committed=len(parts),
        filtered=0,
        quarantined=0,
        duplicate=0,
        rows=len(parts),
        segments=1,
        part_sizes=[len(data) for data in parts],
        run="",
        time="",
    )
    create(storage, layout.staging, layout.complete, encode_record(completion))


def _prepared(old: list[bytes], new: list[bytes]) -> MemoryStorage:
    storage = MemoryStorage()
    _make(storage, LAYOUT, old, LAYOUT.schema.partition("/")[2])
    _make(storage, LAYOUT.fresh, new, None)
    storage.ensure_folder(LAYOUT.set_aside)
    for name, data in KEPT.items():
        create(storage, LAYOUT.staging, name, data)
    return storage


def _parts(storage: MemoryStorage) -> list[bytes | None]:
    return [
        data
        for name, data in sorted(storage.snapshot().items())
        if name.startswith("features/part-")
    ]


def _files(storage: MemoryStorage) -> dict[str, bytes]:
    return {name: data for name, data in storage.snapshot().items() if data is not None}


def _check_done(storage: MemoryStorage, new: list[bytes]) -> None:
    names = {name for name in storage.snapshot() if not name.startswith(LAYOUT.staging + "/")}
    assert _parts(storage) == new
    assert not any("fresh" in name or "REPLACING" in name for name in names)
    assert LAYOUT.schema not in names
    assert LAYOUT.complete in names
    assert sorted(KEPT.values()) == sorted(
        data
        for name, data in _files(storage).items()
        if name.startswith(LAYOUT.set_aside) or name in KEPT
    )
    commits = {name for name in names if name.startswith(LAYOUT.commits + "/")}
    assert commits == {LAYOUT.commit(batch) for batch in range(len(new))}


CASES = [
    pytest.param([b"old0", b"old1", b"old2"], [b"new0", b"new1"], id="fewer"),
    pytest.param([b"old0"], [b"new0", b"new1"], id="more of the same size"),
    pytest.param([b"same", b"old1"], [b"same", b"new1"], id="equal sizes"),
    pytest.param([b"same"], [b"same"], id="identical"),
]


@pytest.mark.parametrize("model", ["kill", "ordered"])
@pytest.mark.parametrize(("old", "new"), CASES)
def test_every_cut_ends_in_old_or_new(old: list[bytes], new: list[bytes], model: Model) -> None:
    _sweep(old, new, model, stride=1)


@pytest.mark.parametrize(("old", "new"), CASES[:1])
def test_some_cuts_on_a_weak_filesystem(old: list[bytes], new: list[bytes]) -> None:
    _sweep(old, new, "weak", stride=4)


@pytest.mark.crash
@pytest.mark.parametrize(("old", "new"), CASES)
def test_every_cut_on_a_weak_filesystem(old: list[bytes], new: list[bytes]) -> None:
    _sweep(old, new, "weak", stride=1)


def _sweep(old: list[bytes], new: list[bytes], model: Model, stride: int) -> None:
    cut = 0
    while True:
        cut += stride
        storage = _prepared(old, new)
        storage.observer = CutPower(cut)
        try:
            replace_dataset(storage, LAYOUT, run="r", time="t")
        except PowerLost:
            for state in storage.surviving_states(model):
                assert _parts(state) in (old, new)
                assert set(KEPT.values()) <= set(_files(state).values())
                is_journalled = state.find(LAYOUT.replacing) is not None
                again = state.crash("kill", Random(0))
                if is_journalled:
                    assert roll_forward(state, LAYOUT)
                    _check_done(state, new)
                    _cut_the_recovery(again, model, new)
                else:
                    assert not roll_forward(state, LAYOUT)
                    assert _parts(state) in (old, new)
            continue
        _check_done(storage, new)
        break
    assert cut > 10


def _cut_the_recovery(storage: MemoryStorage, model: Model, new: list[bytes]) -> None:
    cut = Random(len(storage.snapshot())).randint(1, 12)
    storage.observer = CutPower(cut)
    try:
        roll_forward(storage, LAYOUT)
    except PowerLost:
        storage = storage.crash(model, Random(cut))
    storage.observer = None
    roll_forward(storage, LAYOUT)
    _check_done(storage, new)

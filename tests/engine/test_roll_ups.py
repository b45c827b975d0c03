"""Roll-ups of records in a store: what they save, and what becomes of a look if one is missing,
damaged, of other parts, or says something else than the records. Two batches have one in common."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import batten
from batten.deliver import rolling_up
from batten.drive.run import run_on
from batten.errors import InconsistentError, StorageError
from batten.inspect.paths.output_path import Place
from batten.inspect.recover import recover_output
from batten.ledger.facts.batches import roll_up_reads
from batten.ledger.facts.batches.rolled_sums import encode_rolled, sum_up
from batten.ledger.facts.observation import Observation
from batten.ledger.facts.observe import observe_output
from batten.ledger.judge import judge
from batten.model.disk import rolled
from batten.model.disk.names import Layout
from batten.model.disk.published import decode_published
from batten.model.disk.records import CommitRecord, decode_record, encode_record
from batten.model.disk.rolled import RolledUp, decode_end, decode_rolled
from batten.model.rules.findings import Code
from batten.model.words import RunStatus, State
from batten.run.run_options import RunOptions
from batten.storage.twin.fates import Fate
from batten.storage.twin.objects import (
    ChangeRequest,
    ObjectServer,
    ObjectStorage,
    SenderDied,
    StoredObject,
    version_of,
)

LAYOUT = Layout("features", is_shared=True)
ITEMS, MORE_ITEMS = 10, 14
"""In five batches: two pairs, and one alone; and in seven."""


@pytest.fixture(autouse=True)
def _pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rolled, "ROLLED_BATCHES", 2)


def square(number: int) -> dict[str, int]:
    return {"square": number * number}


def square_most(number: int) -> dict[str, int]:
    """The first of these is of a pair of batches, and so is the second; the last is of none."""
    if number in (2, 5, 9):
        raise ValueError(f"not {number}")
    return square(number)


def run(storage: ObjectStorage, items: int = ITEMS, function: Any = square) -> Any:
    pipeline = batten.from_range(items).map(function).options(batch_size=2)
    made = pipeline.write_parquet("/features")
    return run_on(storage, made, RunOptions(jobs=1, executor="serial")).status


def make_open(items: int = ITEMS, function: Any = square) -> ObjectServer:
    """All is published, and a run was killed before it closed the accounts."""
    server = ObjectServer()
    run(ObjectStorage(server), items, function)
    for name in names_of(server, LAYOUT.complete):
        del server.objects[name]
    return server


def names_of(server: ObjectServer, start: str) -> list[str]:
    return sorted(name for name in server.objects if name.startswith(start))


def put(server: ObjectServer, name: str, data: bytes) -> None:
    server.objects[name] = StoredObject(data, version_of(data), 0.0)


def look(server: ObjectServer, *, is_thorough: bool = False) -> Observation:
    return observe_output(ObjectStorage(server), LAYOUT, is_thorough=is_thorough)


def codes(observation: Observation) -> set[Code]:
    return {finding.code for finding in judge(observation).findings}


def asked_for(server: ObjectServer) -> list[str]:
    """What a quick look asks of the folders of records and roll-ups."""
    asked: list[str] = []
    observe_output(ObjectStorage(server, before=asked.append), LAYOUT)
    of_records = (LAYOUT.commits, LAYOUT.rolled)
    return [what for what in asked if what.split()[1].startswith(of_records)]


def test_of_batches_that_are_rolled_up_no_record_is_asked_for() -> None:
    server = make_open()
    first, second = names_of(server, LAYOUT.rolled)
    (last,) = names_of(server, f"{LAYOUT.commits}/000004-")
    assert asked_for(server) == [
        f"list {LAYOUT.rolled}",
        f"list {LAYOUT.commits} after 000004",
        f"get {first}",
        f"get {second}",
        f"get {last}",
    ]
    quick, thorough = look(server), look(server, is_thorough=True)
    assert quick.claims == thorough.claims
    assert {*quick.recorded} == {*thorough.recorded} == {*range(5)}
    assert {*quick.claims.sums} == {0, 1}
    assert judge(quick).accounts == judge(thorough).accounts
    assert judge(quick).rows == judge(thorough).rows == ITEMS
    assert judge(quick).verdict.state is State.INTERRUPTED
    assert codes(quick) == codes(thorough) == set()


def test_a_dataset_without_a_full_thousand_costs_no_request_more() -> None:
    server = make_open(2)
    assert names_of(server, LAYOUT.rolled) == []
    assert f"list {LAYOUT.rolled}" not in asked_for(server)


def flip(data: bytes) -> bytes:
    return data.replace(b'"rows": 2', b'"rows": 1', 1)


def swap(data: bytes) -> bytes:
    """Records in another order, closed as they should be."""
    first, second, _ = data.splitlines(keepends=True)
    return close_lines(0, second + first, 2)


def close_lines(first: int, body: bytes, batches: int) -> bytes:
    digest = hashlib.sha256(body).hexdigest()
    return body + encode_record(RolledUp(first_batch=first, batches=batches, digest=digest))


def summed(data: bytes, which: slice, times: int = 1) -> bytes:
    """Some of its records, closed with their sum."""
    lines = data.splitlines(keepends=True)[:-1][which] * times
    claims = [decode_published(line) for line in lines]
    body = b"".join(lines)
    return body + encode_record(sum_up(0, claims, hashlib.sha256(body).hexdigest()))


def with_end(data: bytes, **changes: Any) -> bytes:
    """Its last line changed, with a checksum that fits."""
    *lines, last = data.splitlines(keepends=True)
    end = decode_record(RolledUp, last)
    return b"".join(lines) + encode_record(RolledUp(**{**vars(end), **changes}))


def of_newer(data: bytes) -> bytes:
    body = b"".join(data.splitlines(keepends=True)[:-1])
    digest = hashlib.sha256(body).hexdigest()
    return body + encode_record(RolledUp(first_batch=0, batches=2, digest=digest, format_version=9))


def of_other_size(data: bytes) -> bytes:
    """As of a part that was there before."""
    return with_record(data, size=1)


def of_other_keys(data: bytes) -> bytes:
    return with_record(data, keys="ordinals:5-7")


def with_record(data: bytes, **changes: Any) -> bytes:
    first, second, _ = data.splitlines(keepends=True)
    record = decode_record(CommitRecord, second)
    changed = CommitRecord(**{**vars(record), **changes})
    return encode_rolled(0, [first, encode_record(changed)])


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut off": lambda data: data[:-3],
    "with more at its end": lambda data: data + b"x",
    "without its last line": lambda data: b"".join(data.splitlines(keepends=True)[:-1]),
    "records in another order": swap,
    "a record too few": lambda data: close_lines(0, data.splitlines(keepends=True)[0], 1),
    "a record twice": lambda data: close_lines(0, data.splitlines(keepends=True)[0] * 2, 2),
    "of other batches": lambda data: close_lines(
        2, b"".join(data.splitlines(keepends=True)[:2]), 2
    ),
    "no JSON": lambda data: b"\n\r\n\xff\0",
    "too large": lambda data: b" " * (33 << 20) + data,
    "of a newer batten": of_newer,
    "of a part of before": of_other_size,
    "of another plan": of_other_keys,
    "in another order, and summed so": lambda data: summed(data, slice(1, None, -1)),
    "a record twice, and summed so": lambda data: summed(data, slice(0, 1), 2),
}


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("damage", DAMAGES)
def test_one_that_is_damaged_costs_the_old_way(damage: str, number: int) -> None:
    server = make_open()
    name = names_of(server, LAYOUT.rolled)[number]
    data = server.objects[names_of(server, LAYOUT.rolled)[0]].data
    put(server, name, DAMAGES[damage](data))
    quick, thorough = look(server), look(server, is_thorough=True)
    assert quick.claims == thorough.claims
    assert {*quick.recorded} == {*range(5)}
    assert codes(quick) == codes(thorough) == {Code.UNREADABLE_ROLL_UP}
    assert judge(quick).verdict.state is State.INTERRUPTED
    assert run(ObjectStorage(server)) is RunStatus.COMPLETE
    assert judge(look(server)).verdict.state is State.COMPLETE


@pytest.mark.parametrize("gone", [[0], [1], [0, 1]])
def test_one_that_is_gone_costs_the_old_way_until_a_run_makes_it_up(gone: list[int]) -> None:
    server = make_open()
    names = names_of(server, LAYOUT.rolled)
    for number in gone:
        del server.objects[names[number]]
    quick = look(server)
    assert quick.claims == look(server, is_thorough=True).claims
    assert codes(quick) == set()
    # One at least, each time that something is published.
    for number in range(len(gone)):
        assert run(ObjectStorage(server), MORE_ITEMS + 2 * number) is RunStatus.COMPLETE
    assert set(names) <= set(server.objects)


def test_what_others_put_there_is_named_and_harms_nothing() -> None:
    server = make_open()
    name = names_of(server, LAYOUT.rolled)[0]
    data = server.objects[name].data
    odd = ["x", "000000.jsonl", "000000-1.jsonl", f"{name.rpartition('/')[2]}/x"]
    odd += [f"0{name.rpartition('/')[2]}", f"{name.rpartition('/')[2]}.bak"]
    for each in odd:
        put(server, f"{LAYOUT.rolled}/{each}", data)
    # Of other parts, and of batches that are not there.
    put(server, LAYOUT.rolled_up(0, ["1", "2"]), data)
    put(server, LAYOUT.rolled_up(7, ["1", "2"]), data)
    quick = look(server)
    assert quick.claims == look(server, is_thorough=True).claims
    assert codes(quick) == {Code.FOREIGN_FILE}
    assert run(ObjectStorage(server)) is RunStatus.COMPLETE


def test_one_that_says_something_else_is_told_and_no_run_closes_over_it() -> None:
    server = make_open()
    name = names_of(server, LAYOUT.rolled)[0]
    put(server, name, with_record(server.objects[name].data, digest="0" * 64))
    thorough = look(server, is_thorough=True)
    (finding,) = judge(thorough).findings
    assert (finding.code, finding.path) == (Code.ROLL_UP_DIFFERS, name)
    assert judge(thorough).verdict.state is State.INCONSISTENT
    for act in (
        lambda: run(ObjectStorage(server)),
        lambda: recover_output(
            Place(storage=ObjectStorage(server), layout=LAYOUT, path="/features", folder="/"),
            should_recompute=False,
            is_dry_run=False,
        ),
    ):
        with pytest.raises(InconsistentError) as caught:
            act()
        assert name in caught.value.what
        assert "elete that object" in caught.value.next
    assert names_of(server, LAYOUT.complete) == []
    del server.objects[name]
    assert run(ObjectStorage(server)) is RunStatus.COMPLETE


def test_of_a_complete_dataset_it_is_told_as_well() -> None:
    server = ObjectServer()
    run(ObjectStorage(server))
    name = names_of(server, LAYOUT.rolled)[0]
    put(server, name, with_record(server.objects[name].data, digest="0" * 64))
    assert codes(look(server)) == set()
    assert codes(look(server, is_thorough=True)) == {Code.ROLL_UP_DIFFERS}


def test_a_record_that_is_gone_is_made_anew_before_the_accounts_close() -> None:
    server = make_open()
    (name,) = names_of(server, f"{LAYOUT.commits}/000002-")
    before = decode_record(CommitRecord, server.objects.pop(name).data)
    quick, thorough = look(server), look(server, is_thorough=True)
    assert codes(quick) == set()
    assert codes(thorough) == {Code.MISSING_RECORD}
    assert thorough.lost_records == frozenset({2})
    assert run(ObjectStorage(server)) is RunStatus.COMPLETE
    after = decode_record(CommitRecord, server.objects[name].data)
    assert (after.digest, after.outcomes) == (before.digest, before.outcomes)
    assert codes(look(server, is_thorough=True)) == set()


def test_a_part_that_is_gone_is_missed() -> None:
    server = make_open()
    del server.objects[LAYOUT.part(2)]
    for is_thorough in (False, True):
        found = look(server, is_thorough=is_thorough)
        assert codes(found) == {Code.LOST_PART}


def test_a_part_that_was_changed_by_hand_is_not_what_was_rolled_up() -> None:
    server = make_open()
    put(server, LAYOUT.part(2), server.objects[LAYOUT.part(2)].data + b"\0")
    quick, thorough = look(server), look(server, is_thorough=True)
    assert {*quick.recorded} == {*thorough.recorded} == {0, 1, 3, 4}
    assert codes(quick) == codes(thorough)
    assert 2 not in quick.claims


@pytest.mark.parametrize("death", [Fate.DIES_BEFORE, Fate.DIES_AFTER, Fate.DIES_LATE])
def test_a_run_that_dies_while_it_rolls_up_is_made_up_for(death: Fate) -> None:
    server = ObjectServer()
    left = iter([True])

    def fate(change: ChangeRequest) -> Fate:
        is_first = change.name.startswith(LAYOUT.rolled) and next(left, False)
        return death if is_first else Fate.DONE

    with suppress(SenderDied):
        run(ObjectStorage(server, fate=fate))
    assert len(names_of(server, LAYOUT.part(0)[:-14])) == 2
    assert run(ObjectStorage(server)) is RunStatus.COMPLETE
    assert len(names_of(server, LAYOUT.rolled)) == 2
    server.deliver_late()
    assert len(names_of(server, LAYOUT.rolled)) == 2
    assert codes(look(server, is_thorough=True)) == set()


def test_no_answer_to_a_roll_up_ends_no_run() -> None:
    server = ObjectServer()

    def fate(change: ChangeRequest) -> Fate:
        return Fate.LOST if change.name.startswith(LAYOUT.rolled) else Fate.DONE

    assert run(ObjectStorage(server, fate=fate)) is RunStatus.COMPLETE
    assert names_of(server, LAYOUT.rolled) == []


def test_records_that_are_too_large_together_are_not_rolled_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rolling_up, "BYTES_MAX", 800)
    server = make_open()
    assert names_of(server, LAYOUT.rolled) == []
    assert run(ObjectStorage(server), MORE_ITEMS) is RunStatus.COMPLETE
    assert names_of(server, LAYOUT.rolled) == []


def test_where_numbers_are_longer_all_records_are_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A listing is in the order of texts, in which 1000000 comes before 999000."""
    server = make_open()
    assert f"list {LAYOUT.commits}" not in asked_for(server)
    monkeypatch.setattr(roll_up_reads, "SIX_DIGITS", 4)
    assert f"list {LAYOUT.commits}" in asked_for(server)
    assert look(server).claims == look(server, is_thorough=True).claims


def test_records_are_kept_as_they_are() -> None:
    server = make_open()
    for number, name in enumerate(names_of(server, LAYOUT.rolled)):
        data = server.objects[name].data
        records = [
            server.objects[each].data
            for batch in rolled.span_of(number)
            for each in names_of(server, f"{LAYOUT.commits}/{batch:06}-")
        ]
        assert data.startswith(b"".join(records))
        assert [claim.batch for claim in decode_rolled(number, data)] == [*rolled.span_of(number)]


class Read(ObjectStorage):
    """Notes how many bytes it gave of each roll-up, in order; `gone` fails where it is said."""

    def __init__(self, server: ObjectServer) -> None:
        super().__init__(server)
        self.bytes: list[int] = []
        self.is_away = False

    def read(self, name: str, **how: Any) -> bytes:
        if self.is_away:
            raise StorageError("The store is away.", safe="", next="")
        data = super().read(name, **how)
        if name.startswith(LAYOUT.rolled):
            self.bytes.append(len(data))
        return data


def test_only_the_end_of_one_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roll_up_reads, "END_BYTES", 900)
    server = make_open()
    storage = Read(server)
    quick = observe_output(storage, LAYOUT)
    assert storage.bytes == [900, 900]
    assert {*quick.claims.sums} == {0, 1}
    assert judge(quick).accounts == judge(look(server, is_thorough=True)).accounts
    # Then of one batch: all of its roll-up is read, once.
    assert quick.claims[3] == look(server, is_thorough=True).claims[3]
    assert quick.claims[2].batch == 2
    whole = len(server.objects[names_of(server, LAYOUT.rolled)[1]].data)
    assert storage.bytes == [900, 900, whole]


def test_a_longer_end_is_read_in_a_second_go(monkeypatch: pytest.MonkeyPatch) -> None:
    server = make_open()
    quick = look(server)
    monkeypatch.setattr(roll_up_reads, "END_BYTES", 10)
    storage = Read(server)
    assert observe_output(storage, LAYOUT).claims.sums == quick.claims.sums
    assert storage.bytes[::2] == [10, 10]
    assert min(storage.bytes[1::2]) > 500


def test_failed_items_are_told_of_one_that_is_summed() -> None:
    server = make_open(function=square_most)
    quick, thorough = look(server), look(server, is_thorough=True)
    assert {*quick.claims.sums} == {0, 1}
    assert codes(quick) == codes(thorough) == set()
    assert judge(quick).accounts == judge(thorough).accounts
    assert judge(quick).accounts.quarantined == 3
    assert judge(quick).rows == judge(thorough).rows == ITEMS - 3
    assert quick.claims.list_failed() == thorough.claims.list_failed() == {1, 2, 4}
    assert quick.claims.count_all() == thorough.claims.count_all()
    assert quick.quarantine == thorough.quarantine
    assert {*quick.quarantine} == {1, 2, 4}


@pytest.mark.parametrize("batch", [1, 2])
def test_a_quarantine_file_that_is_gone_is_missed(batch: int) -> None:
    server = make_open(function=square_most)
    (name,) = names_of(server, f"{LAYOUT.quarantine}/{batch:06}-")
    data = server.objects.pop(name).data
    # That of another part is none of this one.
    put(server, LAYOUT.quarantined(batch, "0" * 64), data)
    quick, thorough = look(server), look(server, is_thorough=True)
    assert judge(quick).findings == judge(thorough).findings
    assert codes(quick) == {Code.LOST_QUARANTINE}
    assert batch not in quick.quarantine


def test_lines_that_are_damaged_beneath_a_right_sum_are_told_by_a_thorough_look() -> None:
    server = make_open()
    (name, _) = names_of(server, LAYOUT.rolled)
    put(server, name, flip(server.objects[name].data))
    quick, thorough = look(server), look(server, is_thorough=True)
    assert codes(quick) == set()
    assert codes(thorough) == {Code.UNREADABLE_ROLL_UP}
    # What one batch says comes from its record.
    assert quick.claims == thorough.claims
    assert run(ObjectStorage(server)) is RunStatus.COMPLETE


WRONG_SUMS: dict[str, dict[str, Any]] = {
    "rows": {"rows": 3},
    "outcomes": {"committed": 3, "filtered": 1},
    "failed items": {"committed": 3, "quarantined": 1},
    "removed items": {"committed": 3, "removed": 1},
    "adopted items": {"adopted": 1},
    "sizes": {"sizes": "0" * 64},
    "plan": {"planned": "0" * 64},
    "a failed batch": {"committed": 3, "quarantined": 1, "failed": {"1": "0" * 64}},
}


@pytest.mark.parametrize("wrong", WRONG_SUMS)
@pytest.mark.parametrize("is_flipped", [False, True])
def test_a_sum_of_something_else_is_told_and_no_run_closes_over_it(
    wrong: str, is_flipped: bool
) -> None:
    server = make_open()
    (name, _) = names_of(server, LAYOUT.rolled)
    data = with_end(server.objects[name].data, **WRONG_SUMS[wrong])
    put(server, name, flip(data) if is_flipped else data)
    thorough = look(server, is_thorough=True)
    is_used = 0 in look(server).claims.sums
    assert is_used is (wrong not in ("sizes", "plan", "a failed batch"))
    if is_flipped and wrong in ("sizes", "plan"):
        assert codes(thorough) == {Code.UNREADABLE_ROLL_UP}
        return
    assert Code.ROLL_UP_DIFFERS in codes(thorough)
    with pytest.raises(InconsistentError, match="does not say what the records say together"):
        run(ObjectStorage(server))
    assert names_of(server, LAYOUT.complete) == []
    del server.objects[name]
    assert run(ObjectStorage(server)) is RunStatus.COMPLETE


@pytest.mark.parametrize("wrong", ["sizes", "plan"])
def test_a_sum_that_does_not_fit_is_not_used(wrong: str) -> None:
    server = make_open()
    (name, _) = names_of(server, LAYOUT.rolled)
    put(server, name, with_end(server.objects[name].data, **WRONG_SUMS[wrong], rows=7))
    quick = look(server)
    assert {*quick.claims.sums} == {1}
    assert judge(quick).rows == ITEMS


def test_one_without_a_sum_is_read_whole() -> None:
    server = make_open()
    for name in names_of(server, LAYOUT.rolled):
        *records, _ = server.objects[name].data.splitlines(keepends=True)
        first_batch = decode_record(CommitRecord, records[0]).batch
        put(server, name, close_lines(first_batch, b"".join(records), 2))
    quick, thorough = look(server), look(server, is_thorough=True)
    assert quick.claims.sums == {}
    assert quick.claims == thorough.claims
    assert codes(quick) == codes(thorough) == set()
    # Its end is asked for first.
    first, second = names_of(server, LAYOUT.rolled)
    gets = [what for what in asked_for(server) if what.startswith(f"get {LAYOUT.rolled}")]
    assert gets == [f"get {first}", f"get {first}", f"get {second}", f"get {second}"]


def test_one_of_an_earlier_batten_is_read() -> None:
    data = (Path(__file__).parent / "rolled_before_sums.jsonl").read_bytes()
    assert not decode_end(0, data).is_summed
    assert [(claim.batch, claim.rows, claim.size) for claim in decode_rolled(0, data)] == [
        (0, 2, 1432),
        (1, 2, 1432),
    ]


def test_one_that_goes_after_the_look_is_made_up_for_by_records() -> None:
    server = make_open()
    storage = Read(server)
    quick = observe_output(storage, LAYOUT)
    for name in names_of(server, LAYOUT.rolled):
        del server.objects[name]
    assert quick.claims == look(server, is_thorough=True).claims


def test_one_that_is_of_other_parts_after_the_look_is_not_believed() -> None:
    server = make_open()
    quick = look(server)
    (name, _) = names_of(server, LAYOUT.rolled)
    put(server, name, with_record(server.objects[name].data, size=1))
    assert quick.claims == look(server, is_thorough=True).claims


def test_a_store_that_is_away_later_is_told() -> None:
    server = make_open()
    storage = Read(server)
    quick = observe_output(storage, LAYOUT)
    storage.is_away = True
    with pytest.raises(StorageError):
        quick.claims.get(0)
    storage.is_away = False
    assert quick.claims[0].batch == 0


def test_of_records_that_do_not_fit_themselves_there_is_no_sum() -> None:
    server = make_open()
    (name, _) = names_of(server, LAYOUT.rolled)
    assert decode_end(0, server.objects[name].data).is_summed
    for changes in ({"outcomes": "3c"}, {"rows": 1}):
        data = with_record(server.objects[name].data, **changes)
        assert not decode_end(0, data).is_summed


def test_a_run_goes_on_with_what_is_summed() -> None:
    """It takes up again the failed items of batches of which it held the sum alone."""
    server = make_open(function=square_most)
    assert {*look(server).claims.sums} == {0, 1}
    pipeline = batten.from_range(MORE_ITEMS).map(square_most).options(batch_size=2)
    options = RunOptions(jobs=1, executor="serial", should_retry_quarantined=True)
    report = run_on(ObjectStorage(server), pipeline.write_parquet("/features"), options)
    assert report.status is RunStatus.COMPLETE
    accounts = report.accounts
    assert accounts is not None
    assert (accounts.committed, accounts.quarantined) == (MORE_ITEMS - 3, 3)
    assert codes(look(server, is_thorough=True)) == set()

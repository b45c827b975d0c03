"""Journals of plain changes are removed where nothing is known by them alone."""

from __future__ import annotations

import random
from itertools import count
from math import inf
from pathlib import Path
from typing import Any

import pytest

import batten
from batten.cli.main import main
from batten.inspect.clean import Cleaning, clean_output
from batten.inspect.paths.output_path import locate_output
from batten.inspect.verifying.verify import verify
from batten.ledger.needless_changes import list_needless, remove_needless
from batten.lookup.look_at_tree import Left, find_last, list_left, read_kept
from batten.model.disk.records import encode_record
from batten.model.disk.trees.journal import Journal, Operation, OperationKind, Phase, describe_file
from batten.model.disk.trees.tree_names import TreeLayout
from batten.storage.changing import steps
from batten.storage.changing.publishing import create, fresh_name
from batten.storage.twin.memory_tree import MemoryTree
from batten.storage.twin.power_cuts import CutPower, PowerLost
from batten.transactions.entry import hold_unrecovered, locate_tree
from batten.transactions.journals import token_name


def put(change: batten.Transaction, number: int, prepared: dict[str, Any]) -> None:
    change.write(f"{number}/square", prepared["square"])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "out"
    made = batten.from_range(6).map(lambda n: {"square": str(n * n)}, version="1")
    made.write_tree(path, commit=put).run(executor="serial")
    return path


def write(root: Path, path: str, text: str) -> None:
    with batten.transaction(root) as change:
        change.write(path, text)


def clean(root: Path, *, is_dry_run: bool = False, older_than_seconds: float = 0) -> Cleaning:
    place = locate_output(root)
    return clean_output(place, older_than_seconds=older_than_seconds, is_dry_run=is_dry_run)


def list_plain(root: Path) -> list[str]:
    place = locate_tree(root)
    journals = [read_kept(place.tree, each.name) for each in place.tree.list(place.layout.tokens)]
    return [each.token for each in journals if each and each.token == f"change {each.change}"]


def test_a_change_that_another_has_covered_goes_and_the_last_stays(root: Path) -> None:
    for text in ("one", "two", "three"):
        write(root, "3/square", text)
    assert len(list_plain(root)) == 3
    assert len(clean(root, is_dry_run=True).needless) == 2
    assert len(list_plain(root)) == 3
    assert not clean(root, older_than_seconds=3600).needless
    assert len(clean(root).needless) == 2
    assert len(list_plain(root)) == 1
    assert verify(root).is_sound
    assert not clean(root).needless
    (root / "3/square").write_text("by hand")
    assert not verify(root).is_sound


def test_a_change_of_what_no_job_put_goes(root: Path) -> None:
    write(root, "notes", "mine")
    write(root, "notes", "mine again")
    assert len(list_plain(root)) == 1
    assert len(clean(root).needless) == 1
    assert verify(root).is_sound


def test_the_only_digest_of_what_was_moved_stays(root: Path) -> None:
    write(root, "3/square", "one")
    with batten.transaction(root) as change:
        change.move("3/square", "4/square")
    assert verify(root).is_sound
    clean(root)
    assert verify(root).is_sound
    (root / "4/square").write_bytes(b"eno")
    assert not verify(root).is_sound


def test_what_was_changed_in_place_stays_unknown(root: Path) -> None:
    with batten.transaction(root) as change:
        change.protect("5").joinpath("square").write_text("other")
    assert not clean(root).needless
    assert verify(root).is_sound
    write(root, "5/square", "25 again")
    assert len(clean(root).needless) == 1
    assert verify(root).is_sound


def test_what_a_program_asks_for_stays(root: Path) -> None:
    with batten.transaction(root, token="change of mine") as change:
        change.write("3/square", "one")
    write(root, "3/square", "two")
    assert not clean(root).needless
    assert batten.has_token(root, "change of mine")


def test_nothing_goes_while_somebody_changes_the_tree(root: Path) -> None:
    write(root, "3/square", "one")
    write(root, "3/square", "two")
    place = locate_tree(root)
    with hold_unrecovered(place):
        assert not clean(root).needless
    assert len(clean(root).needless) == 1


def test_any_changes_leave_the_same_to_be_known(root: Path, seeded: random.Random) -> None:
    for number in range(40):
        with batten.transaction(root) as change:
            for path in seeded.sample([f"{n}/square" for n in range(6)] + ["mine"], 2):
                match seeded.randrange(4):
                    case 0 if change.exists(path):
                        change.delete(path)
                    case 1 if change.exists(path):
                        change.protect(path)
                    case _:
                        change.write(path, f"{number}")
        if not number % 10:
            assert verify(root).is_sound
            assert clean(root).needless or number == 0
            assert verify(root).is_sound
    clean(root)
    assert len(list_plain(root)) <= 6
    assert verify(root).is_sound
    before = {path: path.read_bytes() for path in root.rglob("square")}
    for path, data in before.items():
        path.write_bytes(b"x" * len(data) + b"y")
    told = [each.evidence for each in verify(root).damage]
    assert bool(told) is bool(before)


def test_the_command_says_so(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root, "3/square", "one")
    write(root, "3/square", "two")
    assert main(["clean", "--dry-run", str(root)]) == 0
    assert "would remove 1 journal of changes" in capsys.readouterr().out
    assert main(["clean", str(root)]) == 0
    assert "removed 1 journal of changes that later ones have covered" in capsys.readouterr().out


def test_beside_a_journal_that_can_not_be_read_none_is_needless(root: Path) -> None:
    for text in ("one", "two", "three"):
        write(root, "3/square", text)
    token = next(Path(f"{root}.batten/tree/tokens").iterdir())
    token.write_bytes(b"no journal")
    assert not clean(root).needless
    assert token.read_bytes() == b"no journal"


def make_journal(number: int, before: str, after: str, token: str = "") -> Journal:
    put = Operation(action=OperationKind.PUT, path="square", staged=0, before=before, after=after)
    change = f"c{number}"
    return Journal(
        phase=Phase.COMMITTED,
        change=change,
        token=token or f"change {change}",
        operations=[put],
        time=f"2026-01-01T00:00:0{number}.000000Z",
    )


def find_last_of(tree: MemoryTree, layout: TreeLayout) -> Left:
    journals = [read_kept(tree, entry.name) for entry in tree.list(layout.tokens)]
    return find_last([left for each in journals if each for _, left in list_left(each)])


def test_a_power_cut_while_they_go_leaves_the_same_to_be_known() -> None:
    """The file came back to what it was, so each journal says which other one is not the last. The
    second can go without the first, and not before it."""
    layout = TreeLayout("out")
    one, two, three = (describe_file("file", size, 0) for size in (1, 2, 3))
    journals = [
        make_journal(1, "", one, token="job"),
        make_journal(2, one, two),
        make_journal(3, two, three),
        make_journal(4, three, one),
    ]
    for number in count(1):
        tree = MemoryTree()
        for folder in (layout.staging, layout.tokens):
            tree.ensure_folder(folder)
        for each in journals:
            create(tree, layout.staging, token_name(layout, each.token), encode_record(each))
        needless = list_needless(tree, layout, before_seconds=inf)
        assert len(needless) == 2
        last = find_last_of(tree, layout)
        tree.observer = CutPower(number)
        is_cut = False
        try:
            remove_needless(tree, layout, needless)
        except PowerLost:
            is_cut = True
        for state in tree.surviving_states("weak"):
            assert find_last_of(state, layout) == last
        if not is_cut:
            break
    assert number > 2


def test_what_a_change_left_goes_when_its_journal_can_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who removed the journal may have been killed before that was durable. A power cut would bring
    it back to files that are gone, and nobody could change the tree."""
    write(tmp_path / "notes", "a", "one")
    place = locate_tree(tmp_path / "notes")
    left = fresh_name(place.layout.staging, "put")
    place.tree.stage(left, b"left", is_synced=True)
    done = []

    def observe(moment: str, step: str, name: str) -> None:
        if moment == "after":
            done.append((step, name))

    monkeypatch.setattr(steps, "observer", observe)
    assert len(clean(tmp_path / "notes").removed) == 1
    assert ("delete", left) in done
    before = done[: done.index(("delete", left))]
    assert ("sync_names", place.layout.control) in before

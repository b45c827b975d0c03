"""Journals of plain changes of a tree that nothing needs any more.

A tree that a job fills keeps the journal of each change that touched what was there: it says that a
file of the job was replaced or deleted on purpose. A journal is needless once a later change has
touched the same files, or if none of its files is a job's. Without it the other journals say the
same of each file of a job (decision 0077).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from batten.errors import StorageError
from batten.lookup.look_at_tree import (
    Left,
    find_last,
    is_within,
    list_left,
    read_kept,
    time_of,
)
from batten.model.disk.records import Unreadable
from batten.model.disk.trees.journal import Journal
from batten.model.disk.trees.tree_names import TreeLayout
from batten.storage.base import Entry
from batten.storage.local.tree import Tree


def list_needless(tree: Tree, layout: TreeLayout, *, before_seconds: float) -> list[Entry]:
    """Those of plain changes that are at least so old, and can go without a loss, one by one in
    this order. Those with a token of a job or a program stay: they say that something was done.
    Under the lock. If a journal can't be read, the answer is none: without them that journal might
    say less."""
    known = _Known()
    plain: list[tuple[Entry, Journal]] = []
    for entry in tree.list(layout.tokens):
        if not entry.is_file:
            continue
        try:
            journal = read_kept(tree, entry.name)
        except (Unreadable, StorageError):
            return []
        if journal is not None:
            known.journals.append(journal)
            if journal.token == f"change {journal.change}":
                plain.append((entry, journal))
    known.gather({id(journal) for _, journal in plain})
    plain.sort(key=lambda each: time_of(each[1]))
    old = ((entry, each) for entry, each in plain if entry.modified_seconds <= before_seconds)
    return [entry for entry, each in old if known.forget(each)]


def remove_needless(tree: Tree, layout: TreeLayout, needless: Iterable[Entry]) -> None:
    """Remove them in that order, under the same lock. Each can go once those before it have gone,
    so that is made durable first (decision 0077)."""
    tree.sync_names(layout.tokens)
    for entry in needless:
        tree.delete(entry.name)
        tree.sync_names(layout.tokens)


@dataclass
class _Known:
    """What journals say of each path that a job put, with the journal that says it."""

    journals: list[Journal] = field(default_factory=list)
    left: dict[str, list[tuple[int, Left]]] = field(default_factory=lambda: defaultdict(list))
    digests: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    last: dict[str, Left] = field(default_factory=dict)

    def gather(self, plain: set[int]) -> None:
        mine = {
            path
            for journal in self.journals
            if id(journal) not in plain
            for path, found in list_left(journal)
            if found.is_put
        }
        for journal in self.journals:
            for path, found in _list_all(journal, mine):
                self.left[path].append((id(journal), found))
            for _, found in list_left(journal):
                if found.digest:
                    self.digests[found.after][found.digest] += 1
        self.last = {path: self._find(path) for path in mine}

    def forget(self, journal: Journal) -> bool:
        """Whether the other journals say the same without it. If so, it is forgotten."""
        touched = {path for path, _ in _list_all(journal, self.last)}
        if any(self._find(path, without=journal) != self.last[path] for path in touched):
            return False
        digests = Counter(
            (each.after, each.digest) for _, each in list_left(journal) if each.digest
        )
        lost = {after for (after, digest), n in digests.items() if self.digests[after][digest] <= n}
        if any(each.after in lost and not each.digest for each in self.last.values()):
            return False
        for (after, digest), count in digests.items():
            self.digests[after][digest] -= count
        for path in touched:
            self.left[path] = [each for each in self.left[path] if each[0] != id(journal)]
        return True

    def _find(self, path: str, *, without: Journal | None = None) -> Left:
        return find_last([each for owner, each in self.left[path] if owner != id(without)])


def _list_all(journal: Journal, mine: Collection[str]) -> Iterator[tuple[str, Left]]:
    """What it says of those paths. Of files that were changed in place it says only when."""
    yield from ((path, found) for path, found in list_left(journal) if path in mine)
    for folder in journal.protected:
        for path in mine:
            if is_within(path, folder):
                yield path, Left(time_of(journal), is_put=False)

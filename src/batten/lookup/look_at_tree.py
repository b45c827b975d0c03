"""Looks at trees: by the journals that they keep of changes with a token. Reads only.

For each file the last change that names it says what should be there: its size and its digest. A
thorough look compares the digest. Other files of the tree are no business of batten's."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from batten.lookup.telling_lacks import CannotLookError, Found, find_mode
from batten.model.disk.bounds import RECORD_BYTES_MAX
from batten.model.disk.destinations.delivery import Delivery
from batten.model.disk.records import decode_record
from batten.model.disk.trees.journal import ABSENT, Journal, OperationKind, Phase
from batten.model.disk.trees.tree_names import TreeLayout
from batten.model.rules.findings import Code
from batten.model.telling.counts import count_of
from batten.storage.digests import find_digest
from batten.storage.local.tree import Tree, open_tree

JOURNALS_MAX = 1000
"""So many changes of a tree are looked at in passing."""


class Left(NamedTuple):
    """What a change left at a path: `before` and `after` as of `Operation`."""

    time: str
    is_put: bool
    before: str = ABSENT
    after: str = ABSENT
    digest: str = ""


def look_at_tree(place: str, given: Delivery, *, is_thorough: bool) -> Found:
    """Whether the files that the job's items put there are there as they were left."""
    root = given.where.locate(place)
    if given.rows and not stat.S_ISDIR(find_mode(root)):
        yield Code.LOST_TABLE, "the folder is gone"
        return
    root = os.path.realpath(root)
    tree, layout = open_tree(os.path.dirname(root)), TreeLayout(os.path.basename(root))
    names = [entry.name for entry in tree.list(layout.tokens) if entry.is_file]
    if given.rows and not names:
        yield Code.LACKING_ROWS, "what its items put there is not known: its tokens are gone"
        return
    if len(names) > JOURNALS_MAX and not is_thorough:
        raise CannotLookError(f"it has more than {JOURNALS_MAX:,} changes, which only verify reads")
    left, mine = _gather(tree, names, given)
    told = []
    digests = find_digests(each for changes in left.values() for each in changes)
    for path in sorted(mine):
        last = find_last(left[path])
        if last.is_put and (fault := _find_fault(tree, layout, path, last, digests, is_thorough)):
            told.append(f"{path}, which items put there, {fault}")
    if told:
        more = f" (and {count_of(len(told) - 1, 'more file')})" if len(told) > 1 else ""
        yield Code.LACKING_ROWS, told[0] + more


def _gather(
    tree: Tree, names: Iterable[str], given: Delivery
) -> tuple[dict[str, list[Left]], set[str]]:
    """What changes left at each path, and the paths that items of the job put."""
    left: dict[str, list[Left]] = defaultdict(list)
    mine: set[str] = set()
    opened: list[tuple[str, str]] = []
    for name in names:
        journal = read_kept(tree, name)
        if journal is None:
            continue
        opened += [(path, time_of(journal)) for path in journal.protected]
        is_mine = not given.dataset or journal.token.startswith(f"{given.dataset}\n")
        for path, found in list_left(journal):
            left[path].append(found)
            if found.is_put and is_mine:
                mine.add(path)
    for path, time in opened:
        for other in left:
            if is_within(other, path):
                left[other].append(Left(time, False))
    return left, mine


def read_kept(tree: Tree, name: str) -> Journal | None:
    """The journal of a change that was done; None for another."""
    journal = decode_record(Journal, tree.read(name, bytes_max=RECORD_BYTES_MAX["journal"]))
    return journal if journal.phase == Phase.COMMITTED else None


def time_of(journal: Journal) -> str:
    """One of 0.1 says whole seconds only."""
    return journal.time.removesuffix("Z")


def list_left(journal: Journal) -> Iterator[tuple[str, Left]]:
    """What it put or deleted, by path."""
    for each in journal.operations:
        is_put = each.action == OperationKind.PUT
        if is_put or each.action == OperationKind.DELETE:
            yield each.path, Left(time_of(journal), is_put, each.before, each.after, each.digest)


def is_within(path: str, folder: str) -> bool:
    """Whether it is that, or lies below it."""
    return path == folder or path.startswith(f"{folder}/")


def find_last(changes: list[Left]) -> Left:
    """The latest; one that another has found there is not, whatever the clock said."""
    found = {each.before for each in changes if each.before != each.after}
    ends = [each for each in changes if each.after == ABSENT or each.after not in found]
    return max(ends or changes, key=lambda each: each.time)


def find_digests(changes: Iterable[Left]) -> dict[str, str]:
    """The digest of a file that was moved. It is known by kind, size and time, which the file
    keeps. Empty if two digests differ."""
    known: dict[str, str] = {}
    for each in changes:
        if each.digest:
            same = known.setdefault(each.after, each.digest)
            known[each.after] = same if same == each.digest else ""
    return known


def _find_fault(
    tree: Tree,
    layout: TreeLayout,
    path: str,
    last: Left,
    digests: dict[str, str],
    is_thorough: bool,
) -> str:
    name = layout.target(path)
    look = tree.look(name)
    if look is None:
        return "is gone"
    kind, _, rest = last.after.partition(" ")
    size = rest.partition(" ")[0]
    if look.kind != (kind or look.kind):
        return f"is a {look.kind} now"
    if kind != "file":
        return ""
    if str(look.size) != size:
        return f"has {count_of(look.size, 'byte')}, and {size} were written"
    digest = last.digest or digests.get(last.after, "")
    if is_thorough and digest and find_digest(tree, name) != digest:
        return "has other bytes than were written"
    return ""

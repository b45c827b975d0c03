"""What a crash left of a change is completed or undone, before anyone else has the lock.

Observe, decide, apply: `find_journal`, the table of remedies, and `recover_tree`, the one that
writes.
"""

from __future__ import annotations

from contextlib import suppress

from batten.errors import RefusedError, StorageError
from batten.model.disk.trees.tree_names import TreeLayout, is_change_throwaway
from batten.model.rules.tree_recovery import REMEDIES, Remedy
from batten.model.telling.commands import command
from batten.model.value_class import value_class
from batten.storage.changing.orphans import find_throwaway
from batten.storage.local.tree import Tree
from batten.storage.relative import last_piece
from batten.transactions.journals import FoundJournal, find_journal, remove_journal
from batten.transactions.roll_forward import complete, delete_staged


@value_class
class Recovered:
    """What was done about the journal that was `found`. `evidence` is where a journal lies that was
    set aside."""

    found: FoundJournal
    remedy: Remedy
    evidence: str = ""


def recover_tree(tree: Tree, layout: TreeLayout) -> Recovered:
    """The tree is whole when this returns; it may be killed anywhere and repeated. Under the lock.

    Raises `RefusedError` if a newer batten, or a person, is needed, and `StorageError` if the
    disk fails. All that the journal needs is there afterwards as it was before."""
    found = find_journal(tree, layout)
    remedy = REMEDIES[found.state]
    evidence = ""
    journal = found.journal
    if remedy is Remedy.REFUSE:
        raise RefusedError(
            f"{layout.journal} was written by a newer batten: {found.problem}.",
            safe="Nothing was changed. While it is so, the lock of the tree is refused.",
            next="Finish the change with that version: "
            + command("recover", f"{tree.place}/{layout.root}"),
        )
    if remedy is Remedy.SET_ASIDE:
        evidence = set_journal_aside(tree, layout, found)
    elif journal is None:
        _delete_leftovers(tree, layout)
    elif remedy is Remedy.FORGET:
        remove_journal(tree, layout, journal)
        delete_staged(tree, layout)
    else:
        # The writer may have been killed before it was durable.
        tree.sync_names(layout.control)
        complete(tree, layout, journal)
    return Recovered(found=found, remedy=remedy, evidence=evidence)


def _delete_leftovers(tree: Tree, layout: TreeLayout) -> None:
    """Of a change that ended, or never began. Who removed its journal may have been killed before
    that was durable, and a journal must not come back to staged files that are gone."""
    with suppress(StorageError):
        if any(True for _ in find_throwaway(tree, layout.staging, is_change_throwaway)):
            tree.sync_names(layout.control)
            delete_staged(tree, layout)


def set_journal_aside(tree: Tree, layout: TreeLayout, found: FoundJournal) -> str:
    """Move the journal, with everything that is staged, to the evidence; gives the folder. The
    journal goes last, so a kill in between leaves what brings one back here."""
    evidence = f"{layout.set_aside}/journal-{found.digest[:16]}"
    tree.ensure_folder(evidence)
    names = [entry.name for entry in tree.list(layout.staging)]
    for name in [*names, layout.journal]:
        move_aside(tree, name, f"{evidence}/{last_piece(name)}")
    return evidence


def move_aside(tree: Tree, name: str, to: str) -> None:
    """Move a file of the control folder; it has a durable name at every moment."""
    if tree.look(to) is None and not tree.link(name, to):
        tree.replace(name, to)
    tree.sync_names(to.rpartition("/")[0])
    tree.delete(name)
    tree.sync_names(name.rpartition("/")[0])

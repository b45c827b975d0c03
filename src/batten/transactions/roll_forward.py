"""Does what a journal says: looks, decides by the table, acts. Any number of times, to one end.

A staged file gets a second name, and that takes the target's place; the first stays until the
journal is gone. So there is no moment, whatever the filesystem loses, in which a journal is there
without all that it names.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import suppress

from batten.errors import MisplacedError, RefusedError, StorageError
from batten.model.disk.trees.journal import NOT_STAGED, Journal, Operation, OperationKind
from batten.model.disk.trees.tree_names import TreeLayout, is_change_throwaway
from batten.model.rules.tree_recovery import FoundAtPath, FoundStaged, RollStep, decide_step
from batten.model.telling.commands import command
from batten.model.value_class import value_class
from batten.storage.changing.orphans import find_throwaway
from batten.storage.changing.publishing import fresh_name
from batten.storage.local.tree import NameStatus, Tree
from batten.storage.relative import folder_of, last_piece
from batten.transactions.copying import copy_file
from batten.transactions.journals import remove_journal
from batten.transactions.paths import is_below, list_below, list_folders, refuse_linked

_NAME_CHARACTERS = 40
"""How much of its name a file that is set aside keeps: with the rest it must fit in 255 bytes."""


@value_class
class DecidedOperation:
    """An operation of a journal and what there is to do for it now. Where a link lies above its
    path nothing was looked at through that, and there seems to be nothing."""

    operation: Operation
    step: RollStep
    is_below_link: bool = False


def decide(tree: Tree, layout: TreeLayout, journal: Journal) -> list[DecidedOperation]:
    """What there is to do, as far as it shows before the first step is taken: a link above a path
    may be replaced by a folder until its turn comes. Reads only."""
    with tree.steady():
        return [_decide_ahead(tree, layout, journal, operation) for operation in journal.operations]


def complete(tree: Tree, layout: TreeLayout, journal: Journal) -> None:
    """Do all that the journal says, durably, and remove it. Under the lock.

    Raises `RefusedError`, having changed nothing, if something that it needs is lost or a path
    leads out of the tree. Raises `StorageError` if the disk fails; then the journal stays, with all
    that it names, and the next call goes on."""
    with tree.steady():
        _refuse(tree, layout, journal, decide(tree, layout, journal))
        named = {operation.path for operation in journal.operations if _makes(operation)}
        for operation in journal.operations:
            step = _decide_one(tree, layout, journal, operation)
            _act(tree, layout, journal, operation, step, named)
        for folder in list_folders(_list_changed(layout, journal)):
            look = tree.look(folder)
            if look is not None and look.is_folder:
                tree.sync_names(folder)
        remove_journal(tree, layout, journal)
        delete_staged(tree, layout)


def _refuse(
    tree: Tree, layout: TreeLayout, journal: Journal, decisions: list[DecidedOperation]
) -> None:
    """Raises `RefusedError` if a path leads out of the tree, or what it needs is lost."""
    made: set[str] = set()
    for decision in decisions:
        operation = decision.operation
        if decision.is_below_link:
            refuse_linked(tree, layout, operation.path, made=made)
        if decision.step is RollStep.FAIL:
            raise _lost(tree, layout, journal, operation)
        if operation.action == OperationKind.MAKE_FOLDER:
            made.add(operation.path)


def delete_staged(tree: Tree, layout: TreeLayout) -> None:
    """Throwaway is all that is staged while there is no journal. Under the lock. What can't be
    deleted is tried once more, as there may be no next change. If that fails too, whoever takes the
    lock next deletes it. No change fails by it."""
    with suppress(StorageError):
        found = find_throwaway(tree, layout.staging, is_change_throwaway)
        names = [entry.name for entry in found]
        with tree.steady():
            for name in [name for name in names if not _is_deleted(tree, name)]:
                tree.delete(name)


def _is_deleted(tree: Tree, name: str) -> bool:
    try:
        tree.delete(name)
    except StorageError:
        return False
    return True


def _list_changed(layout: TreeLayout, journal: Journal) -> Iterator[str]:
    """Names in the folders that are to be synced: changed names, and all names in folders that were
    made or restored."""
    for operation in journal.operations:
        yield layout.target(operation.path)
        if operation.action == OperationKind.MAKE_FOLDER:
            yield layout.target(f"{operation.path}/")


def _makes(operation: Operation) -> bool:
    return operation.action in (OperationKind.PUT, OperationKind.RESTORE, OperationKind.MAKE_FOLDER)


def _decide_ahead(
    tree: Tree, layout: TreeLayout, journal: Journal, operation: Operation
) -> DecidedOperation:
    look, is_below_link = None, False
    try:
        look = tree.look(layout.target(operation.path))
    except MisplacedError:
        is_below_link = True
    step = _decide_by(tree, layout, journal, operation, look)
    return DecidedOperation(operation=operation, step=step, is_below_link=is_below_link)


def _decide_one(tree: Tree, layout: TreeLayout, journal: Journal, operation: Operation) -> RollStep:
    look = tree.look(layout.target(operation.path))
    return _decide_by(tree, layout, journal, operation, look)


def _decide_by(
    tree: Tree, layout: TreeLayout, journal: Journal, operation: Operation, look: NameStatus | None
) -> RollStep:
    staged = FoundStaged.NOT_NEEDED
    if operation.staged != NOT_STAGED:
        found = tree.look(layout.staged(journal.change, operation.staged))
        is_there = found is not None and not found.is_folder
        staged = FoundStaged.PRESENT if is_there else FoundStaged.ABSENT
    return decide_step(operation.action, staged, _judge_target(operation, look))


def _judge_target(operation: Operation, look: NameStatus | None) -> FoundAtPath:
    if look is None:
        return FoundAtPath.ABSENT
    if look.is_folder:
        return FoundAtPath.FOLDER
    described = look.describe()
    if described == operation.after:
        return FoundAtPath.AFTER
    return FoundAtPath.BEFORE if described == operation.before else FoundAtPath.OTHER


def _act(
    tree: Tree,
    layout: TreeLayout,
    journal: Journal,
    operation: Operation,
    step: RollStep,
    named: set[str],
) -> None:
    target = layout.target(operation.path)
    if step in (RollStep.KEEP, RollStep.KEEP_AND_PUT, RollStep.KEEP_AND_MAKE_FOLDER):
        keep_aside(tree, layout, target)
    if step in (RollStep.PUT, RollStep.KEEP_AND_PUT):
        _put_staged(tree, layout, journal, operation)
    elif step is RollStep.DELETE:
        tree.delete(target)
    elif step in (RollStep.MAKE_FOLDER, RollStep.KEEP_AND_MAKE_FOLDER):
        tree.make_folder(target)
    elif step is RollStep.REMOVE_FOLDER:
        _remove_if_empty(tree, target)
    elif step is RollStep.DISCARD:
        _discard(tree, layout, operation.path, named)
    elif step is RollStep.FAIL:
        raise _lost(tree, layout, journal, operation)


def _put_staged(tree: Tree, layout: TreeLayout, journal: Journal, operation: Operation) -> None:
    staged = layout.staged(journal.change, operation.staged)
    put(tree, layout, staged, layout.target(operation.path))


def put(tree: Tree, layout: TreeLayout, staged: str, target: str) -> None:
    """The staged file appears at the target in one step, and stays staged as well."""
    second = fresh_name(layout.staging, "put")
    if tree.link(staged, second):
        try:
            tree.replace(second, target)
        except StorageError as error:
            if error.errno != errno.EXDEV:
                raise
        else:
            return
    # On another filesystem, or where files can't have two names, a durable copy beside the target.
    beside = f"{folder_of(target)}/.{last_piece(staged)}.batten"
    tree.delete(beside)
    copy_file(tree, staged, beside)
    if (look := tree.look(beside)) is not None and look.kind == "file":
        tree.sync_file(beside)
    tree.replace(beside, target)


def keep_aside(tree: Tree, layout: TreeLayout, name: str) -> None:
    """Move a file or folder to the evidence; it has a durable name at every moment."""
    evidence = fresh_name(layout.set_aside, last_piece(name)[:_NAME_CHARACTERS])
    look = tree.look(name)
    if look is not None and look.is_folder:
        tree.replace(name, evidence)
        tree.sync_names(layout.set_aside)
        return
    if not tree.link(name, evidence):
        copy_file(tree, name, evidence)
        if look is not None and look.kind == "file":
            tree.sync_file(evidence)
    tree.sync_names(layout.set_aside)
    tree.delete(name)


def _remove_if_empty(tree: Tree, name: str) -> None:
    """A folder in which someone else has put something meanwhile stays."""
    try:
        tree.delete(name)
    except StorageError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _discard(tree: Tree, layout: TreeLayout, path: str, named: set[str]) -> None:
    """Delete what an unfinished change has made at and below the path."""
    target = layout.target(path)
    look = tree.look(target)
    below = list(list_below(tree, target)) if look is not None and look.is_folder else []
    prefix = layout.target("")
    for name in reversed([target, *below]):
        found = name.removeprefix(prefix)
        if found not in named and not any(is_below(other, found) for other in named):
            tree.delete(name)


def _lost(tree: Tree, layout: TreeLayout, journal: Journal, operation: Operation) -> RefusedError:
    give_up = command("recover", "--set-aside-journal", f"{tree.place}/{layout.root}")
    staged = layout.staged(journal.change, operation.staged)
    return RefusedError(
        f"{layout.root}: a change is half made, and {staged}, which belongs at "
        f"{operation.path!r}, is not there.",
        safe="Nothing was changed. While it is so, the lock of the tree is refused.",
        next=f"Put {staged} back from a copy. Without one, have the change set aside as "
        f"evidence: {give_up}",
    )

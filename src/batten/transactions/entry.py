"""The lock of a tree, and what users enter by it: `transaction`, `read_lock`, `has_token`.

The kernel's flock is the one lock, between processes and, since each block opens the file anew,
between threads. Whoever gets it first recovers what a crash left. While that can't be done, the
lock is not granted.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from batten.errors import BattenError, RefusedError, StorageError, UsageError
from batten.model.disk.trees.journal import check_token
from batten.model.disk.trees.tree_names import TreeLayout, is_change_throwaway
from batten.model.rules.tree_recovery import Remedy
from batten.model.value_class import value_class
from batten.printable import warn
from batten.storage.addresses import local_path
from batten.storage.changing.orphans import find_throwaway
from batten.storage.local.locking import locks
from batten.storage.local.tree import Tree, TreeLock, open_tree
from batten.transactions.journals import token_name
from batten.transactions.recovery import Recovered, recover_tree
from batten.transactions.transaction import Transaction


@value_class
class TreePlace:
    """A tree on this machine, by the real path of its root."""

    tree: Tree
    layout: TreeLayout

    @property
    def lock_path(self) -> str:
        return f"{self.tree.place}/{self.layout.lock}"

    @property
    def has_lock(self) -> bool:
        """Whether the lock file is there, and so the folders of the tree."""
        return self.tree.look(self.layout.lock) is not None

    @property
    def has_control(self) -> bool:
        """Whether there may be a journal or tokens. A power cut may take the lock file alone."""
        return self.tree.look(self.layout.control) is not None

    @property
    def is_there(self) -> bool:
        look = self.tree.look(self.layout.root)
        return look is not None and look.is_folder


def locate_tree(root: str | os.PathLike[str]) -> TreePlace:
    """The tree of that root. Raises `UsageError` for what can't be one. Reads only."""
    given = local_path(root)
    folder, name = os.path.split(os.path.realpath(given)) if "\0" not in given else ("", "")
    if not name:
        raise UsageError(
            f"{given!r} can't be the root of a tree.", next="Name a folder below the top one."
        )
    return TreePlace(tree=open_tree(folder), layout=TreeLayout(name))


@dataclass(kw_only=True)
class _Hold:
    """What one thread holds of a tree: as often as it entered. `change` where it may write."""

    lock: TreeLock
    change: Transaction | None


class _Holds(threading.local):
    """What this thread holds, by lock file."""

    def __init__(self) -> None:
        self.by_path: dict[str, _Hold] = {}


_holds = _Holds()


def _forget_holds() -> None:
    for hold in _holds.by_path.values():
        if hold.change is not None:
            hold.change.close()
    _holds.by_path.clear()


# A forked child holds nothing: its copies of the locks are closed.
os.register_at_fork(after_in_child=_forget_holds)


@contextmanager
def transaction(
    root: str | os.PathLike[str], *, token: str = "", wait_seconds: float | None = None
) -> Iterator[Transaction]:
    """Change many files of the folder `root`, all or none.

    The end of the block commits. An exception in the block undoes everything, and is raised again.
    A block within a block of the same thread is part of the outer one.

    Args:
        root: The folder that is the tree.
        token: Names the change. The tree has the token from the same step on, for `has_token`. By
            default there is none.
        wait_seconds: How long to wait for the lock, in seconds; by default as long as it takes.

    Yields:
        The transaction, by which files are changed.

    Raises:
        UsageError: `root` can't be a tree, the thread is within `read_lock`, an inner block has a
            token, or no journal can hold the token. Nothing was changed.
        BusyError: Others held the lock for `wait_seconds`. Nothing was changed.
        RefusedError: The token was there before, or an earlier change can't be recovered. Nothing
            was changed.
        StorageError: The disk fails. The change is whole or absent as soon as the tree is used
            again.
    """
    place = locate_tree(root)
    _refuse_unfit(token)
    hold = _holds.by_path.get(place.lock_path)
    if hold is None:
        with _exclusive(place, wait_seconds):
            yield from _change(place, token)
    elif hold.change is None:
        raise UsageError(
            f"{os.fspath(root)!r} is held for reading, and that can't become writing.",
            safe="Nothing was changed.",
            next="Leave the block of read_lock first, or begin with the transaction.",
        )
    elif token:
        raise UsageError(
            "A transaction within another can't have a token of its own.",
            safe="Nothing was changed.",
            next="Give the token to the outer one.",
        )
    else:
        try:
            yield hold.change
        except BaseException:
            hold.change.doom()
            raise


@contextmanager
def read_lock(root: str | os.PathLike[str], *, wait_seconds: float | None = None) -> Iterator[None]:
    """Read the folder `root` while no transaction changes it and none is half done.

    Any number of readers can be in such a block at the same time. A thread that is in one may enter
    again, also within its own transaction.

    Args:
        root: The folder that is the tree.
        wait_seconds: How long to wait for the lock, in seconds; by default as long as it takes.

    Yields:
        Nothing.

    Raises:
        UsageError: There is no such folder. Nothing was changed.
        BusyError: A writer held the lock for `wait_seconds`. Nothing was changed.
        RefusedError: An earlier change can't be recovered. Nothing was changed.
        StorageError: The disk fails while an earlier change is recovered. The next use goes on with
            it.
    """
    place = locate_tree(root)
    if not place.is_there:
        raise UsageError(f"{os.fspath(root)!r} is not a folder.", next="Name the root of a tree.")
    if place.lock_path in _holds.by_path:
        yield
        return
    with _shared(place, wait_seconds):
        yield


def has_token(root: str | os.PathLike[str], token: str) -> bool:
    """Tell whether a transaction with that token was committed.

    The tree itself is asked. A change that a crash cut off is first completed or undone.

    Args:
        root: The folder that is the tree.
        token: The token.

    Returns:
        Whether the tree has it.

    Raises:
        UsageError: `root` can't be a tree, or no journal can hold the token. Nothing was changed.
        RefusedError: An earlier change can't be recovered. Nothing was changed.
        StorageError: The disk fails. The next use of the tree goes on.
    """
    place = locate_tree(root)
    _refuse_unfit(token)
    if not place.has_control:
        return False
    with read_lock(root):
        return _is_present(place, token)


def clear_leftovers(root: str | os.PathLike[str]) -> None:
    """Recover, and delete what dead transactions left staged, where there is anything of that. Then
    it waits for the lock, and raises as `transaction` does."""
    place = locate_tree(root)
    if place.lock_path in _holds.by_path or not place.has_control:
        return
    if any(find_throwaway(place.tree, place.layout.staging, is_change_throwaway)):
        with _exclusive(place, None):
            pass


def recover_locked(place: TreePlace) -> Recovered:
    """Recover, and warn of evidence that a person should look at."""
    recovered = recover_tree(place.tree, place.layout)
    if recovered.remedy is Remedy.SET_ASIDE:
        told = (
            f"The journal of {place.tree.place}/{place.layout.root} could not be read "
            f"({recovered.found.problem}). It was set aside, with all that belongs to it, in "
            f"{place.tree.place}/{recovered.evidence}; the last change may be half done."
        )
        warn(told, RuntimeWarning, stacklevel=2)
    return recovered


@contextmanager
def hold_unrecovered(place: TreePlace) -> Iterator[None]:
    """The lock of a tree, for the code that recovers it: an earlier change is not recovered first.
    Raises `BusyError`."""
    with place.tree.lock(place.layout.lock, locks.current_holder()):
        yield


def prepare_control(place: TreePlace) -> None:
    """The folders of a tree are there and durable. The lock file is made after the folders. So if
    it is there, they are there."""
    layout = place.layout
    if not place.is_there:
        place.tree.ensure_folder(layout.root)
    if place.has_lock:
        return
    for folder in (layout.root, layout.staging, layout.tokens, layout.set_aside):
        place.tree.ensure_folder(folder)


def _refuse_unfit(token: str) -> None:
    try:
        check_token(token)
    except ValueError as error:
        raise UsageError(
            f"The token can't be kept: {error}.",
            safe="Nothing was changed.",
            next="Give a shorter text, of valid Unicode.",
        ) from error


def _change(place: TreePlace, token: str) -> Iterator[Transaction]:
    if token and _is_present(place, token):
        raise RefusedError(
            f"A transaction with the token {token!r} was committed before.",
            safe="Nothing was changed.",
            next="Ask batten.has_token first.",
        )
    change = Transaction(place.tree, place.layout, token=token)
    _holds.by_path[place.lock_path].change = change
    process = os.getpid()
    try:
        yield change
        change.commit()
    except BaseException as error:
        change.close()
        # A forked child that comes here has no lock, and nothing of its own to undo.
        if os.getpid() != process or not _is_done_after(place, error):
            raise


def _is_done_after(place: TreePlace, error: BaseException) -> bool:
    """Complete or undo the change, as what is on disk says. Whether the error came so late that it
    did not matter."""
    try:
        recovered = recover_locked(place)
    except BattenError as blocked:
        error.add_note(f"What the transaction left could not be recovered yet: {blocked.what}")
        error.add_note("Nothing is lost: the next use of the tree tries again.")
        return False
    if recovered.remedy not in (Remedy.ROLL_FORWARD, Remedy.FORGET):
        return False
    error.add_note("The transaction was committed all the same.")
    return isinstance(error, StorageError)


def _is_present(place: TreePlace, token: str) -> bool:
    return place.tree.find(token_name(place.layout, token)) is not None


@contextmanager
def _exclusive(place: TreePlace, wait_seconds: float | None) -> Iterator[None]:
    prepare_control(place)
    lock = place.tree.hold(place.layout.lock, is_shared=False, wait_seconds=wait_seconds)
    with lock:
        recover_locked(place)
        _holds.by_path[place.lock_path] = _Hold(lock=lock, change=None)
        try:
            yield
        finally:
            _holds.by_path.pop(place.lock_path, None)


@contextmanager
def _shared(place: TreePlace, wait_seconds: float | None) -> Iterator[None]:
    prepare_control(place)
    while True:
        lock = place.tree.hold(place.layout.lock, is_shared=True, wait_seconds=wait_seconds)
        with lock:
            if place.tree.look(place.layout.journal) is None:
                _holds.by_path[place.lock_path] = _Hold(lock=lock, change=None)
                try:
                    yield
                finally:
                    _holds.by_path.pop(place.lock_path, None)
                return
        # The lock can't be made exclusive in one step, so it is let go and had anew.
        with _exclusive(place, wait_seconds):
            pass

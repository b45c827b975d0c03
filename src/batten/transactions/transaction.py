"""One change of a tree: staged beside it, committed by one small file, then put in place.

Until the journal says "committed" the tree is untouched, but for what `protect` gave to others to
change in place, of which there are backups. From then on the change is only ever completed.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from batten.errors import RefusedError, UsageError
from batten.model.disk.trees.journal import Journal, Operation, Phase
from batten.model.disk.trees.tree_names import TreeLayout
from batten.storage.failures import reading_failure
from batten.storage.local.tree import Tree
from batten.transactions.copying import Digesting, copy_file
from batten.transactions.journals import publish_journal
from batten.transactions.overlay import Overlay
from batten.transactions.paths import check_path, find_longest_name, is_below, refuse_unnamable
from batten.transactions.protection import Protection
from batten.transactions.roll_forward import complete, delete_staged


class Transaction:
    """Changes the files of a tree; `batten.transaction` gives one.

    All paths are relative to the root, with `/`. Until the block ends the tree stays as it is;
    `read` shows it as it will be. One thread uses it at a time.

    Every method raises `UsageError` for a path out of the tree, and after the block. It raises
    `RefusedError` if something is in the way, or if a folder above the path is a symbolic link. It
    raises `StorageError` if the disk fails. In each case nothing has changed in the tree.
    """

    def __init__(self, tree: Tree, layout: TreeLayout, *, token: str = "") -> None:
        self._tree = tree
        self._layout = layout
        self._token = token
        self._change = os.urandom(8).hex()
        self._overlay = Overlay(tree, layout)
        self._protection = Protection(tree, layout, self._change)
        self._name_bytes_max = find_longest_name(tree.place)
        self._unsynced: dict[int, None] = {}
        self._is_recorded = bool(token) or next(tree.list_names(layout.tokens), None) is not None
        self._digests: dict[int, str] = {}
        self._count = 0
        self._is_open = True
        self._is_doomed = False

    @property
    def root(self) -> Path:
        """The root of the tree, as it is now."""
        return Path(self._tree.place) / self._layout.root

    def write(self, path: str | os.PathLike[str], data: bytes | str) -> None:
        """Have a file hold these bytes; its folders are made.

        Args:
            path: The file. One that is there keeps its permissions; a new one gets the usual ones.
            data: The bytes, or a text, which is written as UTF-8.

        Raises:
            UsageError: The path leads out of the tree, or is protected. Nothing was changed.
            RefusedError: Something is in the way. Nothing was changed.
            StorageError: The disk fails. Nothing was changed in the tree.
        """
        content = data.encode() if isinstance(data, str) else data
        with self._tree.steady():
            checked = self._check_unprotected(path)
            number = self._next_number()
            self._tree.stage(self._staged(number), content, is_synced=False)
            if self._is_recorded:
                self._digests[number] = hashlib.sha256(content).hexdigest()
            self._put(checked, number)

    def replace(self, path: str | os.PathLike[str], source: str | os.PathLike[str]) -> None:
        """Have a file hold a copy of another file; otherwise as `write`.

        Args:
            path: The file in the tree.
            source: The file to copy, which may lie anywhere.

        Raises:
            FileNotFoundError: `source` is not there. Nothing was changed.
            UsageError: The path leads out of the tree, or is protected. Nothing was changed.
            RefusedError: Something is in the way. Nothing was changed.
            StorageError: The disk fails. Nothing was changed in the tree.
        """
        checked = self._check_unprotected(path)
        number = self._next_number()
        with _open_source(source) as file:
            digesting = Digesting(file)
            self._tree.stage_from(self._staged(number), digesting if self._is_recorded else file)
        if self._is_recorded:
            self._digests[number] = digesting.hexdigest()
        self._put(checked, number)

    def delete(self, path: str | os.PathLike[str]) -> None:
        """Remove a file, a symbolic link, or a folder with all that is in it.

        Args:
            path: What to remove. The folder that it lies in stays.

        Raises:
            FileNotFoundError: There is nothing. Nothing was changed.
            UsageError: The path leads out of the tree, or is protected. Nothing was changed.
            StorageError: The disk fails. Nothing was changed in the tree.
        """
        checked = self._check_unprotected(path)
        self._require(checked)
        with self._whole():
            self._overlay.delete(checked)

    def move(self, path: str | os.PathLike[str], to: str | os.PathLike[str]) -> None:
        """Give a file or folder another path; it keeps its bytes, permissions and time.

        Args:
            path: The file or folder.
            to: Its new path. A file that is there is replaced; a folder is not.

        Raises:
            FileNotFoundError: There is nothing at `path`. Nothing was changed.
            UsageError: A path leads out of the tree, or is protected. Nothing was changed.
            RefusedError: A folder would go into itself, or to a path that is taken. Nothing was
                changed.
            StorageError: The disk fails. Nothing was changed in the tree.
        """
        source, target = self._check_unprotected(path), self._check_unprotected(to)
        kind, there = self._require(source), self._overlay.find_kind(target)
        if source == target:
            return
        if kind == "folder" and (is_below(target, source) or there):
            raise RefusedError(
                f"The folder {source!r} can't be moved to {target!r}: that lies in it or is there.",
                safe="Nothing was changed in the tree.",
                next="Choose another path, or delete what is there in the same transaction first.",
            )
        with self._whole():
            self._move(source, target, kind)
            self._overlay.delete(source)

    def make_folder(self, path: str | os.PathLike[str]) -> None:
        """Have a folder there, with those above it. It may be repeated.

        Args:
            path: The folder.

        Raises:
            UsageError: The path leads out of the tree. Nothing was changed.
            RefusedError: Something is in the way. Nothing was changed.
        """
        self._overlay.make_folder(self._check(path))

    def read(self, path: str | os.PathLike[str]) -> bytes:
        """Read a file as it will be after the block.

        Args:
            path: The file.

        Returns:
            What this transaction wrote there; otherwise what is there now.

        Raises:
            FileNotFoundError: There will be nothing. Nothing was changed.
            UsageError: The path leads out of the tree. Nothing was changed.
            RefusedError: It is a symbolic link. Nothing was read.
            StorageError: The disk fails. Nothing was changed.
        """
        checked = self._check(path)
        number = self._overlay.find_staged(checked)
        if number is not None:
            return self._tree.read(self._staged(number), bytes_max=None)
        kind = self._require(checked)
        if kind == "link":
            raise RefusedError(
                f"{checked!r} is a symbolic link, and may lead out of the tree.",
                safe="Nothing was read.",
                next="Name the file that it points to.",
            )
        return self._tree.read(self._layout.target(checked), bytes_max=None)

    def exists(self, path: str | os.PathLike[str]) -> bool:
        """Tell whether there will be anything at a path after the block.

        Args:
            path: The path.

        Returns:
            Whether there will be.

        Raises:
            UsageError: The path leads out of the tree. Nothing was changed.
        """
        return self._overlay.find_kind(self._check(path)) is not None

    def protect(self, path: str | os.PathLike[str]) -> Path:
        """Let other code change a file or folder in place: a SQLite database, an index.

        A copy is made first. If the transaction does not commit, the copy is put back, also after a
        kill or a power cut. With a file, SQLite's -wal, -shm and -journal files beside it are
        copied, too. Nothing else may have it open, and whatever opens it must have closed it when
        the block ends. It may be repeated.

        Args:
            path: The file or folder; it need not be there.

        Returns:
            Its path on this machine.

        Raises:
            UsageError: The path leads out of the tree, or this transaction has changed it. Nothing
                was changed.
            StorageError: The copy can't be made. Nothing was changed in the tree.
        """
        checked = self._check(path)
        kind = self._overlay.find_kind(checked)
        live = self._overlay.look_live(checked)
        if kind != (live.kind if live else None):
            raise UsageError(
                f"{checked!r} can't be protected: this transaction has changed it already.",
                safe="Nothing was changed.",
                next="Protect a path before anything else, and change it in place only.",
            )
        with self._whole():
            if self._protection.back_up(checked, self._next_number):
                journal = self._make_journal(Phase.OPEN, self._protection.operations)
                publish_journal(self._tree, self._layout, journal)
                self._protection.make_room(checked)
        return self.root / checked

    def doom(self) -> None:
        """Say that a part of it failed, so that it can't commit, whoever catches the error."""
        self._is_doomed = True

    def refuse_doomed(self) -> None:
        """Refuse to go on after `doom`.

        Raises:
            RefusedError: It can't commit any more. Nothing was changed in the tree.
        """
        if self._is_doomed:
            raise RefusedError(
                "The transaction can't commit: a part of it failed, and the error was caught.",
                safe="Nothing was changed in the tree.",
                next="Let such an error end the whole block.",
            )

    def commit(self) -> None:
        """Commit the change; on return it is durable and in place.

        The end of the block calls it, under the lock.

        Raises:
            UsageError: The block has ended. Nothing was changed.
            RefusedError: A part of it failed. Nothing was changed in the tree.
            StorageError: The disk fails. What is on disk says whether the change is completed or
                undone by the next use of the tree.
        """
        if not self._is_open:
            raise _ended()
        self.refuse_doomed()
        self._is_open = False
        with self._tree.steady():
            journal = self._record()
            if journal is None:
                delete_staged(self._tree, self._layout)
            else:
                complete(self._tree, self._layout, journal)

    def _record(self) -> Journal | None:
        """The journal of the change. It is durable, and the change is committed by that. None if
        there is nothing to do."""
        operations = self._overlay.list_operations(self._change, self._digests)
        self._name_kept(operations)
        journal = self._make_journal(Phase.COMMITTED, operations)
        if not (operations or self._token or self._protection.operations):
            return None
        self._protection.sync()
        for operation in operations:
            if operation.staged in self._unsynced:
                self._tree.sync_file(self._staged(operation.staged))
        self._tree.sync_names(self._layout.staging)
        publish_journal(self._tree, self._layout, journal)
        return journal

    def _name_kept(self, operations: list[Operation]) -> None:
        """A change of existing files is kept, if other changes are kept: otherwise a job that put
        such a file there would call it damaged. Its journal stays by the way of those with a token
        (decision 0063)."""
        is_change = self._protection.paths or any(each.before for each in operations)
        if self._is_recorded and is_change and not self._token:
            self._token = f"change {self._change}"

    def close(self) -> None:
        """Say that the block has ended: nothing more can be changed through this."""
        self._is_open = False

    def _check(self, path: str | os.PathLike[str]) -> str:
        if not self._is_open:
            raise _ended()
        checked = check_path(path)
        self._refuse_unnamable(checked)
        return checked

    def _refuse_unnamable(self, path: str) -> None:
        refuse_unnamable(self._tree.place, self._layout.root, path, self._name_bytes_max)

    def _check_unprotected(self, path: str | os.PathLike[str]) -> str:
        checked = self._check(path)
        if self._protection.covers(checked):
            raise UsageError(
                f"{checked!r} is protected, so it is changed in place.",
                safe="Nothing was changed by this call.",
                next="Change it in place, or do not protect it.",
            )
        return checked

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """What fails in the middle, and is caught, must not be committed as half of it."""
        try:
            yield
        except BaseException:
            self.doom()
            raise

    def _require(self, path: str) -> str:
        kind = self._overlay.find_kind(path)
        if kind is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return kind

    def _next_number(self) -> int:
        self._count += 1
        return self._count

    def _staged(self, number: int) -> str:
        return self._layout.staged(self._change, number)

    def _put(self, path: str, number: int) -> None:
        """The staged file, with new bytes, will be at the path."""
        self._unsynced[number] = None
        with self._tree.steady():
            live = self._overlay.look_live(path)
            if live is not None and live.kind == "file":
                self._tree.set_attributes(self._staged(number), live, keeps_time=False)
            self._overlay.put(path, number, live)

    def _move(self, source: str, target: str, kind: str) -> None:
        if kind == "folder":
            self._overlay.make_folder(target)
            for child in list(self._overlay.list_children(source)):
                inner = target + child.removeprefix(source)
                self._refuse_unnamable(inner)
                self._move(child, inner, self._require(child))
            return
        number = self._overlay.find_staged(source)
        if number is None:
            number = self._next_number()
            live, staged = self._layout.target(source), self._staged(number)
            if not self._tree.link(live, staged):
                copy_file(self._tree, live, staged)
                if kind == "file":
                    self._unsynced[number] = None
        self._overlay.put(target, number)

    def _make_journal(self, phase: Phase, operations: list[Operation]) -> Journal:
        return Journal(
            phase=phase.value,
            change=self._change,
            token=self._token,
            operations=operations,
            time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            protected=self._protection.paths,
        )


def _open_source(source: str | os.PathLike[str]) -> BinaryIO:
    try:
        return open(source, "rb")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise reading_failure(error, "Opening", os.fspath(source)) from error


def _ended() -> UsageError:
    return UsageError(
        "The transaction has ended, or is that of the process which forked this one.",
        safe="What it did stays as it is.",
        next="Do this within its block, in the process that began it.",
    )

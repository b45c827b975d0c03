"""What a machine shows and what it would still have after a crash, kept apart.

    kill     the process dies: nothing is lost, and nothing more is durable than before
    ordered  the power fails on an ordered journalling filesystem: of the changes to names, in
             their order, some number of the last is lost; none before one that was synced
    weak     the power fails where every unsynced change to a name may be lost, or kept, alone

The bytes of a file that was not synced may under `ordered` be cut short anywhere, under `weak`
also be zeroes, block by block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import Literal

from batten.storage.relative import folder_of

Model = Literal["kill", "ordered", "weak"]

BLOCK_BYTES = 4096


@dataclass(eq=False, kw_only=True)
class File:
    """A file under any number of names. `is_synced`: its bytes are durable; else the first of them,
    so many as there were at the last sync, if it only grew since."""

    modified_seconds: float
    data: bytes = b""
    is_synced: bool = False
    synced_bytes: int = 0


@dataclass(eq=False, kw_only=True)
class FolderNode:
    """A folder; what lies in it is told by the names."""

    modified_seconds: float


Node = File | FolderNode
Loss = Callable[[bytes], bytes]
Losses = Callable[[File], bytes]


@dataclass(frozen=True)
class _Change:
    """A name now means `node`, or nothing. Changes of one operation are one step of a journal.
    Syncing `folder` makes it durable."""

    operation: int
    name: str
    node: Node | None
    folder: str
    is_given_up: bool = False
    """The kernel failed to write it, told so once, and will not try again."""

    def to(self, node: Node | None) -> _Change:
        """The same for another node."""
        return type(self)(self.operation, self.name, node, self.folder, self.is_given_up)


@dataclass(frozen=True)
class _Moves(_Change):
    """One of many changes of names that are one change of a folder's: lost and kept with them."""


@dataclass(eq=False)
class VolatileTree:
    """Names, what they mean now, and what they would mean after a crash."""

    visible: dict[str, Node] = field(default_factory=dict)
    _durable: dict[str, Node] = field(default_factory=dict)
    _unsynced: list[_Change] = field(default_factory=list)
    _operations: int = 0
    _last_certain: int = 0

    def change(self, changes: dict[str, Node | None]) -> None:
        """One operation of the filesystem, such as a rename, which changes two names."""
        self._operations += 1
        for name, node in changes.items():
            _apply(self.visible, name, node)
            self._unsynced.append(_Change(self._operations, name, node, folder_of(name)))

    def move_folders(self, moves: dict[str, str]) -> None:
        """Folders have other names now, all in one operation; what lies in them goes along. Durable
        when the folder that the last of them came to is synced."""
        self._operations += 1
        folder = folder_of(list(moves.values())[-1])
        moved: dict[str, Node | None] = {}
        for source in moves:
            for name in self.visible:
                if name == source or name.startswith(source + "/"):
                    moved.setdefault(name, None)
        for source, target in moves.items():
            for name, node in self.visible.items():
                if name == source or name.startswith(source + "/"):
                    moved[target + name[len(source) :]] = node
        for name, meaning in moved.items():
            _apply(self.visible, name, meaning)
            self._unsynced.append(_Moves(self._operations, name, meaning, folder))

    def sync_names(self, folder: str) -> None:
        """The changes in `folder` are durable, and with an ordered journal all before them; but for
        those that were given up. Such a one counts no more where the name was changed again."""
        remaining, changed = [], set()
        for change in self._unsynced:
            if change.folder == folder and not change.is_given_up:
                _apply(self._durable, change.name, change.node)
                self._last_certain = max(self._last_certain, change.operation)
                changed.add(change.name)
            else:
                remaining.append(change)
        self._unsynced = [
            each for each in remaining if not (each.is_given_up and each.name in changed)
        ]

    def fail_sync(self, folder: str) -> None:
        """The changes in `folder` may or may not be on the disk, and no later sync writes them."""
        self._unsynced = [
            replace(each, is_given_up=True) if each.folder == folder else each
            for each in self._unsynced
        ]

    @property
    def is_settled(self) -> bool:
        """Whether a crash would take nothing of it."""
        files = [node for node in self.visible.values() if isinstance(node, File)]
        return not self._unsynced and all(file.is_synced for file in files)

    def snapshot(self) -> dict[str, bytes | None]:
        """What is visible: the bytes of each file, None for a folder."""
        return {
            name: node.data if isinstance(node, File) else None
            for name, node in self.visible.items()
        }

    def crash(self, model: Model, random: Random) -> VolatileTree:
        """One state that may be found after a crash, by chance."""
        if model == "kill":
            return self._copy()
        if model == "ordered":
            lengths = self._ordered_choices()
            kept = lengths[random.randrange(len(lengths))]
            return _settle(self._names_after(kept), lambda file: _cut_by_chance(file.data, random))
        bias = random.random()
        kept = [each for unit in _units(self._unsynced) if random.random() < bias for each in unit]
        return _settle(self._names_after(kept), lambda file: _lose_by_chance(file.data, random))

    def surviving_states(self, model: Model) -> Iterator[VolatileTree]:
        """The extreme states that may be found after a crash, each once: all lost, all kept, each
        change and the bytes of each file lost alone, and kept alone."""
        if model == "kill":
            yield self._copy()
            return
        seen: set[frozenset[tuple[str, bytes | None]]] = set()
        for names, losses in self._extreme_choices(model):
            state = _settle(names, losses)
            identity = frozenset(state.snapshot().items())
            if identity not in seen:
                seen.add(identity)
                yield state

    def _extreme_choices(self, model: Model) -> Iterator[tuple[dict[str, Node], Losses]]:
        """The names that are kept, with what is lost of their bytes. Where one change is lost or
        kept alone, the files are all whole or all lost: two that are alone at once are left to
        chance."""
        kinds = _LOSSES[model]
        if model == "ordered":
            several, alone = self._ordered_choices(), []
        else:
            several, alone = [self._unsynced, []], _alone(self._unsynced)
        for kept in several:
            names = self._names_after(kept)
            yield from ((names, losses) for losses in _extreme_losses(_list_unsynced(names), kinds))
        for kept in alone:
            names = self._names_after(kept)
            yield from ((names, losses) for losses in _losses_of_all(_list_unsynced(names), kinds))

    def _ordered_choices(self) -> list[list[_Change]]:
        """The changes kept, for each point up to which the journal may have been written."""
        certain = [each for each in self._unsynced if each.operation <= self._last_certain]
        ends = sorted({each.operation for each in self._unsynced[len(certain) :]})
        return [certain] + [[each for each in self._unsynced if each.operation <= e] for e in ends]

    def _names_after(self, kept: Iterable[_Change]) -> dict[str, Node]:
        names = dict(self._durable)
        for change in kept:
            _apply(names, change.name, change.node)
        found: dict[str, Node] = {}
        for name in sorted(names, key=lambda name: name.count("/")):
            folder = folder_of(name)
            # What lies in a folder is lost with the folder's own name.
            if not folder or isinstance(found.get(folder), FolderNode):
                found[name] = names[name]
        return found

    def _copy(self) -> VolatileTree:
        changed = [change.node for change in self._unsynced if change.node is not None]
        nodes: dict[Node, Node] = {}
        for node in [*self.visible.values(), *self._durable.values(), *changed]:
            if isinstance(node, File) and node not in nodes:
                nodes[node] = File(
                    data=node.data,
                    is_synced=node.is_synced,
                    synced_bytes=node.synced_bytes,
                    modified_seconds=node.modified_seconds,
                )
        return VolatileTree(
            visible={name: nodes.get(node, node) for name, node in self.visible.items()},
            _durable={name: nodes.get(node, node) for name, node in self._durable.items()},
            _unsynced=[
                each.to(each.node and nodes.get(each.node, each.node)) for each in self._unsynced
            ],
            _operations=self._operations,
            _last_certain=self._last_certain,
        )


def _list_unsynced(names: Mapping[str, Node]) -> list[File]:
    nodes = dict.fromkeys(names.values())
    return [node for node in nodes if isinstance(node, File) and not node.is_synced]


def _settle(names: Mapping[str, Node], losses: Losses) -> VolatileTree:
    """A tree of these names in which nothing is left to be lost."""
    nodes: dict[Node, Node] = {}
    for node in names.values():
        if isinstance(node, File) and node not in nodes:
            data = node.data if node.is_synced else _keep_synced(node, losses(node))
            nodes[node] = File(data=data, is_synced=True, modified_seconds=node.modified_seconds)
    found = {name: nodes.get(node, node) for name, node in names.items()}
    return VolatileTree(visible=found, _durable=dict(found))


def _apply(names: dict[str, Node], name: str, node: Node | None) -> None:
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node


def _alone(changes: list[_Change]) -> list[list[_Change]]:
    """Each unit of these changes alone, and all others."""
    units = _units(changes)
    return units + [[each for each in changes if each not in unit] for unit in units]


def _units(changes: list[_Change]) -> list[list[_Change]]:
    """Changes that a weak filesystem loses or keeps alone."""
    units: dict[object, list[_Change]] = {}
    for change in changes:
        key = change.operation if isinstance(change, _Moves) else (change.operation, change.name)
        units.setdefault(key, []).append(change)
    return list(units.values())


def _losses_of_all(files: list[File], kinds: tuple[Loss, ...]) -> Iterator[Losses]:
    yield lambda file: file.data
    for lose in kinds:
        yield partial(_lose_of, lose, files)


def _extreme_losses(files: list[File], kinds: tuple[Loss, ...]) -> Iterator[Losses]:
    yield from _losses_of_all(files, kinds)
    for lose in kinds:
        for single in files if len(files) > 1 else ():
            yield partial(_lose_of, lose, [single])
            yield partial(_lose_of, lose, [each for each in files if each is not single])


def _lose_of(lose: Loss, lost: list[File], file: File) -> bytes:
    return lose(file.data) if file in lost else file.data


def _empty(data: bytes) -> bytes:
    return b""


def _first_half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _zeroes(data: bytes) -> bytes:
    return bytes(len(data))


def _first_block_lost(data: bytes) -> bytes:
    return bytes(len(data[:BLOCK_BYTES])) + data[BLOCK_BYTES:]


def _last_block_lost(data: bytes) -> bytes:
    start = max(len(data) - 1, 0) // BLOCK_BYTES * BLOCK_BYTES
    return data[:start] + bytes(len(data) - start)


_LOSSES: dict[Model, tuple[Loss, ...]] = {
    "ordered": (_empty, _first_half),
    "weak": (_empty, _first_half, _zeroes, _first_block_lost, _last_block_lost),
}


def _cut_by_chance(data: bytes, random: Random) -> bytes:
    return data[: random.choice((0, len(data), random.randint(0, len(data))))]


def _lose_by_chance(data: bytes, random: Random) -> bytes:
    bias = random.random()
    kept = _cut_by_chance(data, random)
    blocks = (kept[start : start + BLOCK_BYTES] for start in range(0, len(kept), BLOCK_BYTES))
    return b"".join(each if random.random() < bias else bytes(len(each)) for each in blocks)


def _keep_synced(file: File, lost: bytes) -> bytes:
    return file.data[: file.synced_bytes] + lost[file.synced_bytes :]

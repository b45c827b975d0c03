"""What a power cut may leave, at every durable step of anything that runs on a storage in memory.

    for cut in record_cuts(storage, act):          # runs `act` once, undisturbed
        for found in find_states(cut, seeded):     # what may be found when the machine is on again
            ...

A cut lies before a step; what a crash may leave in the middle of one is among the states.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import count
from random import Random
from typing import get_args

from batten.crashlab.points import strip_numbers
from batten.model.disk.names import CONTROL_SUFFIX, Layout, find_number
from batten.model.disk.staged_names import StagedFile, find_staged
from batten.model.value_class import value_class
from batten.storage.twin.memory import MemoryStorage
from batten.storage.twin.volatile import BLOCK_BYTES, Model

MODELS: tuple[Model, ...] = get_args(Model)

_OF_ONE_RUN = re.compile(
    rb"\d{8}T\d{6}(\.\d+)?Z(-[0-9a-f]{4}\b)?"  # names of runs, and stamps
    rb"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"  # times
    rb'|"checksum": "[0-9a-f]{16}"'  # over both; what a cut tears has none that is whole
)


@value_class
class Cut:
    """The power is cut before step number `at`. `committed` are the batches that were told to be
    committed by then, and `storage` is what the machine showed."""

    at: int
    what: str
    committed: frozenset[int]
    storage: MemoryStorage


@value_class
class StateAfterCut:
    """A state that may be found after a cut; `how` repeats it for people."""

    how: str
    committed: frozenset[int]
    storage: MemoryStorage


def record_cuts(
    storage: MemoryStorage,
    act: Callable[[MemoryStorage], object],
    layout: Layout,
    committed: frozenset[int] = frozenset(),
) -> list[Cut]:
    """Run `act` to its end on this storage. The last cut comes after all of it.

    Committed are also the batches of which `act` throws away what was staged: by then it holds them
    for published and durable."""
    cuts: list[Cut] = []

    def take(what: str, told: set[int]) -> None:
        cuts.append(_cut(len(cuts) + 1, what, storage, told))

    _watch(storage, act, layout, committed, take)
    return cuts


def record_one_cut(
    storage: MemoryStorage,
    act: Callable[[MemoryStorage], object],
    layout: Layout,
    random: Random,
    committed: frozenset[int] = frozenset(),
) -> Cut:
    """One of these cuts by chance, each as likely; the storage is copied for few of them."""
    chosen: list[Cut] = []
    ordinals = count(1)

    def take(what: str, told: set[int]) -> None:
        at = next(ordinals)
        if random.randrange(at) == 0:
            chosen[:] = [_cut(at, what, storage, told)]

    _watch(storage, act, layout, committed, take)
    return chosen[0]


def _watch(
    storage: MemoryStorage,
    act: Callable[[MemoryStorage], object],
    layout: Layout,
    committed: frozenset[int],
    take: Callable[[str, set[int]], None],
) -> None:
    """Run `act`, and before each of its steps and after all tell of the step and of the batches
    that were told to be committed by then."""
    told = set(committed)

    def observe(moment: str, step: str, name: str) -> None:
        if moment == "after":
            return
        if step == "delete" and (batch := _find_sealed(layout, name)) is not None:
            told.add(batch)
        take(f"{step} {name}", told)

    storage.observer = observe
    try:
        act(storage)
    finally:
        storage.observer = None
    told.update(_list_recorded(storage, layout))
    take("the end", told)


def _cut(at: int, what: str, storage: MemoryStorage, committed: Iterable[int]) -> Cut:
    shown = storage.crash("kill", Random(0))
    return Cut(at=at, what=what, committed=frozenset(committed), storage=shown)


def _find_sealed(layout: Layout, name: str) -> int | None:
    found = find_staged(name.removeprefix(layout.staged + "/"))
    return found.batch if isinstance(found, StagedFile) and found.kind == "sealed" else None


def _list_recorded(storage: MemoryStorage, layout: Layout) -> Iterator[int]:
    for entry in storage.list(layout.commits):
        number = find_number(entry.name.removeprefix(layout.commits + "/"), "json")
        if number is not None:
            yield number


def find_states(
    cuts: Iterable[Cut],
    layout: Layout,
    random: Random,
    *,
    models: Iterable[Model] = MODELS,
    by_chance: int = 4,
) -> Iterator[StateAfterCut]:
    """The extreme states after each cut under each model, and some by chance; those that differ
    from an earlier one in nothing that counts are left out.

    Of those after steps alike, with losses alike, one is taken by chance. So is each in which a
    kind of file lost bytes in a new way (decision 0157)."""
    met, losses = MetStates(layout), MetLosses()
    models = tuple(models)
    step, before = "", ""
    for cut in cuts:
        before, step = step, strip_numbers(cut.what)
        new = [
            each
            for each in _list_states(cut, random, models, by_chance)
            if met.is_new(each.storage, each.committed)
        ]
        random.shuffle(new)
        shown = cut.storage.snapshot()
        yield from (each for each in new if losses.is_new(each.storage, shown, (before, step)))


def _list_states(
    cut: Cut, random: Random, models: Sequence[Model], by_chance: int
) -> Iterator[StateAfterCut]:
    for model in models:
        for number, state in enumerate(cut.storage.surviving_states(model), 1):
            yield _found(cut, f"{model} {number}", state)
        for number in range(1, by_chance + 1) if model != "kill" else ():
            yield _found(cut, f"{model}, chance {number}", cut.storage.crash(model, random))


def find_different(storage: MemoryStorage, layout: Layout) -> Iterator[MemoryStorage]:
    """What may be left of this storage by any model, and differs in what counts."""
    met = MetStates(layout)
    for model in MODELS:
        for state in storage.surviving_states(model):
            if met.is_new(state):
                yield state


def sample_states(cuts: Sequence[Cut], random: Random, count: int) -> Iterator[StateAfterCut]:
    """So many states by chance, after any cut, under any model."""
    for _ in range(count):
        cut, model = random.choice(cuts), random.choice(MODELS)
        yield _found(cut, f"{model}, chance", cut.storage.crash(model, random))


def _found(cut: Cut, how: str, state: MemoryStorage) -> StateAfterCut:
    told = f"cut {cut.at}, before {cut.what}; {how}"
    return StateAfterCut(how=told, committed=cut.committed, storage=state)


class MetStates:
    """States that a sweep has met. Those that differ only by times, names of runs, and what is
    worth nothing count as the same: throwaway files and what logs say."""

    def __init__(self, layout: Layout, *, with_throwaway: bool = False) -> None:
        self._with_throwaway = with_throwaway
        self._met: set[tuple[frozenset[int], frozenset[tuple[bytes, bytes]]]] = set()

    def is_new(self, storage: MemoryStorage, committed: frozenset[int] = frozenset()) -> bool:
        """Whether no such state was met before, with these batches told to be committed. From now
        on it was."""
        before = len(self._met)
        self._met.add((committed, self._identify(storage)))
        return len(self._met) > before

    def _identify(self, storage: MemoryStorage) -> frozenset[tuple[bytes, bytes]]:
        return frozenset(
            (_without_run(name.encode()), b"" if _is_log(name) else _digest(data))
            for name, data in storage.snapshot().items()
            if self._with_throwaway or not _is_throwaway(name)
        )


class MetLosses:
    """What was lost together in states that were tried, after which steps, and in which ways files
    lost bytes. Steps and files that differ by their numbers alone are alike."""

    def __init__(self) -> None:
        self._together: set[tuple[tuple[str, str], tuple[tuple[str, str], ...]]] = set()
        self._ways: set[tuple[str, str]] = set()

    def is_new(
        self, state: MemoryStorage, shown: Mapping[str, bytes | None], steps: tuple[str, str]
    ) -> bool:
        """Whether this one has something new, given what the machine showed, and the step that was
        cut off with the one before. From now on it was met."""
        losses, ways = _tell_losses(state.snapshot(), shown)
        before = len(self._together), len(self._ways)
        self._together.add((steps, tuple(sorted(losses))))
        self._ways.update(ways)
        return (len(self._together), len(self._ways)) != before


def _tell_losses(
    left: Mapping[str, bytes | None], shown: Mapping[str, bytes | None]
) -> tuple[list[tuple[str, str]], set[tuple[str, str]]]:
    """What is wrong with each file of which something is, and each way in which a kind of file lost
    bytes."""
    losses: list[tuple[str, str]] = []
    ways: set[tuple[str, str]] = set()
    for name in {*left, *shown}:
        if _is_throwaway(name):
            continue
        kind = strip_numbers(name)
        if name not in left or name not in shown:
            losses.append((kind, "back" if name in left else "gone"))
        elif left[name] != shown[name] and not _is_log(name):
            way = _tell_loss(left[name], shown[name])
            losses.append((kind, "lost" if way else "old"))
            if way:
                ways.add((kind, way))
    return losses, ways


def _tell_loss(data: bytes | None, shown: bytes | None) -> str:
    """How the file lost some of its bytes, or nothing where it is whole, or another."""
    if data is None or shown is None or data == shown:
        return ""
    if shown.startswith(data):
        return "cut" if data else "emptied"
    if len(data) == len(shown) and shown.startswith(data.rstrip(b"\0")):
        return "zeroes at its end" if any(data) else "zeroes"
    return "zeroes within" if _has_lost_blocks(data, shown) else ""


def _has_lost_blocks(data: bytes, shown: bytes) -> bool:
    """Whether each block of it is what was shown, as far as it goes, or zeroes."""
    blocks = (slice(start, start + BLOCK_BYTES) for start in range(0, len(data), BLOCK_BYTES))
    return all(shown[each].startswith(data[each]) or not any(data[each]) for each in blocks)


def _is_throwaway(name: str) -> bool:
    """Whether it is a file that is written before it has its name, of whatever dataset: also of the
    one that a fresh run makes."""
    return f"{CONTROL_SUFFIX}/staging/" in name


def _is_log(name: str) -> bool:
    """Whether it is a log of a run, of whatever dataset. What calls used lies beside it, and
    counts."""
    return f"{CONTROL_SUFFIX}/runs/" in name and name.endswith(".jsonl")


@lru_cache(maxsize=4096)
def _without_run(text: bytes) -> bytes:
    return _OF_ONE_RUN.sub(b"", text)


@lru_cache(maxsize=4096)
def _digest(data: bytes | None) -> bytes:
    return b"folder" if data is None else hashlib.sha256(_without_run(data)).digest()

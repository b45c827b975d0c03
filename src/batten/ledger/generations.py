"""Generations: how a dataset in a store takes the place of another one (decision 0109).

A store can't exchange two folders. So the new dataset is made under a prefix of its own, and one
small object, `CURRENT`, says which is read. It is written only in the place of the version that
was seen. Without it, the first generation is read, which lies where the output is.

A run that makes a new generation claims it in `CURRENT` before it writes anything. Any other run
that finds such a claim writes `CURRENT` anew. So whoever was overtaken meanwhile can't put its
generation in the place of rows that it has not seen.

A generation that is neither read nor made is of no use any more, and no other will bear its name.
So it may be deleted, however late. What there is is listed first, and `CURRENT` read after that: a
generation is claimed before it is there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial

from batten.errors import BattenError, CorruptError
from batten.ledger.guarded import carry_out, taken_over
from batten.model.disk.names import FIRST_GENERATION, Layout, find_part
from batten.model.disk.records import Generations, Unreadable, decode_record, encode_record
from batten.model.rules.guards import SUCCEEDING, SUCCEEDING_FIRST
from batten.model.telling.commands import command
from batten.model.value_class import value_class
from batten.storage.base import Entry, Store
from batten.storage.changing.publishing import delete, settle
from batten.storage.relative import last_piece

Tell = Callable[[str], None]

_OWN_FOLDERS = ("plan", "quarantine", "commits", "rolled", "recompute", "runs")
_OWN_FILES = ("dataset.json", "schema.json", "COMPLETE")


@value_class
class SeenGenerations:
    """What `CURRENT` says, and its version; empty if it is not there."""

    generations: Generations
    version: str


@value_class
class LeftGeneration:
    """A dataset whose place another one has taken: where it lies, and what it holds."""

    folder: str
    bytes: int


def load_generations(storage: Store, layout: Layout) -> SeenGenerations:
    """Raises `CorruptError` where it can't be read: nobody knows then what is the dataset."""
    try:
        found = storage.get(layout.current)
    except FileNotFoundError:
        none = Generations(current=FIRST_GENERATION, next="", is_swept=True, nonce="")
        return SeenGenerations(generations=none, version="")
    try:
        return SeenGenerations(
            generations=decode_record(Generations, found.data), version=found.version
        )
    except Unreadable as error:
        raise CorruptError(
            f"{storage.place}/{layout.current} can't be read: {error}.",
            safe="Nothing was changed.",
            next="Restore it from an earlier version of the object; it says which rows are read.",
        ) from error


def find_current(storage: Store, layout: Layout) -> Layout:
    """Where the dataset of the output lies, and the one that is being made; elsewhere than in a
    store, where it is named."""
    if storage.folder is not None:
        return layout
    return _locate(layout, load_generations(storage, layout).generations)


def refuse_replaced(storage: Store, layout: Layout) -> None:
    """Raises `BusyError` where another generation has taken the place of this one, or of what this
    one was to replace."""
    seen = load_generations(storage, layout).generations
    if layout.generation not in (seen.current, seen.next):
        raise taken_over(storage, layout.current)


def enter(storage: Store, layout: Layout, *, is_fresh: bool, tell: Tell) -> Layout:
    """As `find_current`, for the holder of the lease. A run that is not `is_fresh` goes on with
    what is current, so who was making the next generation meanwhile has to look again. What a
    killed run did not come to delete is deleted, as `clear_away` does."""
    if storage.folder is not None:
        return layout
    seen = load_generations(storage, layout)
    if not seen.generations.is_swept:
        clear_away(storage, layout, tell)
        seen = load_generations(storage, layout)
    if seen.generations.next and not is_fresh:
        seen = _put(storage, layout, seen, seen.generations)
    return _locate(layout, seen.generations)


def claim(storage: Store, layout: Layout, *, name: str) -> SeenGenerations:
    """Say that the generation of that name is being made to take the place of the current one.
    Raises `BusyError` where another run has claimed or succeeded since this one entered: what was
    found then may be gone."""
    seen = load_generations(storage, layout)
    before = seen.generations
    if (before.current, before.next) != (layout.generation, layout.next):
        raise taken_over(storage, layout.current)
    is_swept = before.is_swept and before.next in ("", name)
    return _put(storage, layout, seen, replace(before, next=name, is_swept=is_swept))


def succeed(storage: Store, layout: Layout, seen: SeenGenerations) -> None:
    """From now on the generation is read that was claimed. Raises `BusyError` if another run was
    there since."""
    claimed = seen.generations
    now = replace(claimed, current=claimed.next, next="", is_swept=False)
    _put(storage, layout, seen, now)


def give_up(storage: Store, layout: Layout, tell: Tell) -> None:
    """What is claimed to take the place of the current generation shall not. Raises `BusyError` as
    `claim` does. What was made of it is deleted, as `clear_away` does."""
    seen = load_generations(storage, layout)
    before = seen.generations
    if (before.current, before.next) != (layout.generation, layout.next):
        raise taken_over(storage, layout.current)
    if before.next:
        _put(storage, layout, seen, replace(before, next="", is_swept=False))
        clear_away(storage, layout, tell)


def clear_away(storage: Store, layout: Layout, tell: Tell) -> None:
    """As `sweep`. If it fails that is told, and no failure: the dataset is what it is to be, and
    the next run tries again (decision 0156)."""
    try:
        sweep(storage, layout)
    except BattenError as error:
        output = layout.of_generation(FIRST_GENERATION).output
        tell(
            f"What nobody reads any more can't be deleted: {error.what} The next run tries again; "
            f"or see what is left: {command('clean', f'{storage.place}/{output}')}"
        )


def sweep(storage: Store, layout: Layout, *, is_dry_run: bool = False) -> list[LeftGeneration]:
    """Delete all generations that are neither read nor made. It may be killed, and repeated."""
    there = {last_piece(each.name) for each in storage.list(layout.generations)}
    seen = load_generations(storage, layout)
    before = seen.generations
    left = []
    for name in sorted((there | {FIRST_GENERATION}).difference((before.current, before.next))):
        own = layout.of_generation(name)
        found = list(_list_own(storage, own, is_gone=before.is_first_gone))
        if not found:
            continue
        folder = f"{layout.generations}/{name}" if own.home else own.output
        left.append(LeftGeneration(folder=folder, bytes=sum(each.size for each in found)))
        if not is_dry_run:
            _delete(storage, own, found)
    is_first_gone = FIRST_GENERATION not in (before.current, before.next)
    now = replace(before, is_swept=True, is_first_gone=is_first_gone)
    if not is_dry_run and seen.version and now != before:
        _put(storage, layout, seen, now)
    return left


def _locate(layout: Layout, seen: Generations) -> Layout:
    return replace(layout.of_generation(seen.current), next=seen.next)


def _put(
    storage: Store, layout: Layout, seen: SeenGenerations, now: Generations
) -> SeenGenerations:
    now = replace(now, nonce=os.urandom(8).hex())
    (step,) = SUCCEEDING if seen.version else SUCCEEDING_FIRST
    answer = carry_out(storage, step, layout.current, encode_record(now), seen=seen.version)
    return SeenGenerations(generations=now, version=answer.version)


def _delete(storage: Store, layout: Layout, objects: Iterable[Entry]) -> None:
    """What is staged goes first: where it lies is known by the record of the dataset."""
    for folder in (layout.staged, layout.staging):
        for entry in list(storage.list(folder)):
            delete(storage, entry.name)
    for each in objects:
        settle(storage, partial(storage.delete_if, each.name, each.version))


def _list_own(storage: Store, layout: Layout, *, is_gone: bool) -> Iterator[Entry]:
    """The objects of a generation. What lies beside the first that is not batten's is not of it. If
    that one `is_gone`, the parts that lie there now were put there by others."""
    if layout.home:
        yield from _walk(storage, f"{layout.generations}/{layout.generation}")
        return
    for entry in () if is_gone else storage.list(layout.data):
        if entry.is_file and find_part(last_piece(entry.name)) is not None:
            yield entry
    for folder in _OWN_FOLDERS:
        yield from _walk(storage, f"{layout.control}/{folder}")
    for entry in storage.list(layout.control):
        if entry.is_file and last_piece(entry.name).partition("-")[0] in _OWN_FILES:
            yield entry


def _walk(storage: Store, folder: str) -> Iterator[Entry]:
    for entry in storage.list(folder):
        if entry.is_folder:
            yield from _walk(storage, entry.name)
        else:
            yield entry

"""Whether there is room on the disk, before the work begins and when the first parts are there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from batten.errors import StorageError
from batten.ledger.bytes_to_write import estimate_bytes_to_write
from batten.ledger.facts.observation import Observation
from batten.model.disk.names import find_made
from batten.model.rules.accounting import Accounts
from batten.model.telling.counts import count_of
from batten.model.telling.sizes import estimate_bytes, show_bytes
from batten.plan.plan import Plan
from batten.run.checks import Check, find_folder, refuse_unfit
from batten.run.context import Context
from batten.storage.machine import find_free_bytes
from batten.storage.relative import last_piece


def check_disk(
    context: Context, observation: Observation, accounts: Accounts, *, is_anew: bool = False
) -> Check:
    """Whether there is room for what will be written, judged by what was written before. With
    `is_anew` all is made beside what is there, less what an earlier try has made of it."""
    if is_anew and context.options.limit is not None:
        return _check_room(context, None)
    needed = estimate_bytes_to_write(observation, accounts, _list_files(context), is_anew=is_anew)
    if needed and is_anew:
        begun = context.storage.list(context.layout.fresh.data)
        needed = max(0, needed - sum(each.size for each in begun))
    return _check_room(context, needed, accounts.pending)


class RoomWatch:
    """For a dataset without parts: looks at the disk again when the first are published. `left`
    are its accounts before the work."""

    def __init__(self, context: Context, plan: Plan, left: Accounts) -> None:
        self._context = context
        self._plan = plan
        self._left = left
        self._is_done = bool(left.committed + left.filtered + left.quarantined)

    def take(self, batches: Sequence[int]) -> None:
        """These have been published. Raises where there is no room for the rest."""
        if self._is_done or not batches:
            return
        self._is_done = True
        storage, layout = self._context.storage, self._context.layout
        found = [storage.find(layout.part(batch)) for batch in batches]
        sizes = [entry.size for entry in found if entry is not None]
        if self._context.pipeline.file_names is not None:
            made = storage.list(layout.made)
            sizes += [each.size for each in made if find_made(last_piece(each.name)) in batches]
        items = sum(self._plan.batch(batch).items for batch in batches)
        pending = self._left.pending - items
        needed = estimate_bytes(sizes, items, pending)
        # A file of all rows takes about as much again, and where it is text rather more.
        needed += len(_list_files(self._context)) * estimate_bytes(sizes, items, pending + items)
        refuse_unfit(self._context, [_check_room(self._context, needed, pending)])


def _list_files(context: Context) -> list[str]:
    """The destinations that are one file, as they are recorded."""
    if not context.pipeline.sinks:
        return []
    from batten.sinks.files.file import FileSink
    from batten.sinks.files.hive import HiveSink

    folder = Path(context.storage.place)
    return [
        sink.describe(folder)
        for sink in context.pipeline.sinks
        if isinstance(sink, FileSink | HiveSink)
    ]


def _check_room(context: Context, needed: int | None, pending: int = 0) -> Check:
    folder = context.storage.folder
    free = find_free_bytes(find_folder(context)) if folder is not None else None
    if free is None:
        return Check(name="disk", told="how much is free can't be found out")
    there = f"{show_bytes(free)} are free"
    if needed is None:
        who = "first batches" if context.pipeline.whole is None else "first run"
        return Check(name="disk", told=f"{there}; how much is needed is told by the {who}")
    items = f" for {count_of(pending, 'item')}" if pending else ""
    told = f"{there}; about {show_bytes(needed)} are needed{items}"
    if needed <= free:
        return Check(name="disk", told=told)
    refusal = StorageError(
        f"The disk has too little room: {told}, by what was written before.",
        safe="What was committed is untouched, and what was finished is kept.",
        next=f"Make room, then: {context.again}. To try it as it is: --skip-checks",
    )
    return Check(name="disk", told=told, refusal=refusal)

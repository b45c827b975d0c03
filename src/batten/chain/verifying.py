"""Verifies a chain: each dataset by itself, and that the keys close from one to the next.

The rows of a dataset are the items of the next one: all of them, each as it is now. So keys and
contents are read on both sides, whatever was recorded of an earlier look (decision 0094).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from batten.chain.inputs import InputsSeen, compare_inputs
from batten.chain.recorded_source import find_source
from batten.chain.walk import list_places
from batten.errors import BattenError
from batten.inspect.advising.again import find_again
from batten.inspect.advising.upstream import WITH_UPSTREAM, find_behind, is_finalized
from batten.inspect.paths.output_path import Place
from batten.inspect.verifying.verify import Verification, verify
from batten.ledger.facts.observation import Observation
from batten.ledger.facts.observe import observe_output
from batten.model.disk.items.versions import GONE, VERSION_BYTES
from batten.model.disk.runs.job_calls import BATTEN
from batten.model.telling.commands import command
from batten.model.value_class import value_class
from batten.plan.extending import compare_keys
from batten.plan.looking import list_keys
from batten.plan.plan import Plan
from batten.sources.base import ScanBlock, Source


@value_class
class ChainLink:
    """What was found between a dataset and the one that is made of it. `missing` keys have rows in
    the first and are no items of the second, `extra` ones are items without such a row, and
    `changed` ones have other content. `reason` says why it can't be told, or is behind. Where the
    second `is_finalized`, it has no items: it was made of all rows at once."""

    upstream: str
    output: str
    rows: int = 0
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    reason: str = ""
    is_behind: bool = False
    is_finalized: bool = False

    @property
    def is_closed(self) -> bool:
        """Whether each row is an item, and each item a row."""
        return not (self.missing or self.extra or self.changed or self.reason)

    def to_json(self) -> dict[str, Any]:
        """As `verify --upstream --json` lists it."""
        return {
            "upstream": self.upstream,
            "output": self.output,
            "closed": self.is_closed,
            "rows": self.rows,
            "missing": list(self.missing),
            "extra": list(self.extra),
            "changed": list(self.changed),
            "reason": self.reason or None,
        }


@value_class
class ChainVerification:
    """The datasets of a chain, the first one first, what is between them, and what became of the
    inputs of the first."""

    verifications: tuple[Verification, ...]
    links: tuple[ChainLink, ...]
    inputs: InputsSeen
    run: str

    @property
    def damaged(self) -> str:
        """The path of the first that is damaged, or whose keys do not close without a reason."""
        for each in self.verifications:
            if not each.is_sound:
                return each.diagnosis.path
        return next((e.output for e in self.links if not (e.is_closed or e.is_behind)), "")

    @property
    def is_behind(self) -> bool:
        """Whether something that it was made of is another now."""
        return self.inputs.behind is not None or any(each.is_behind for each in self.links)

    @property
    def status(self) -> str:
        """sound, behind or damaged."""
        return "damaged" if self.damaged else "behind" if self.is_behind else "sound"

    @property
    def next(self) -> str:
        """What to do."""
        for each in self.verifications:
            if not each.is_sound:
                return each.next
        if self.damaged:
            return f"see what is there: {command('diagnose', self.damaged, '--upstream')}"
        return self.run if self.is_behind else self.verifications[-1].next

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        behind = self.inputs.behind
        return {
            **self.verifications[-1].to_json(),
            "status": self.status,
            "next": self.next,
            "upstream": [each.to_json() for each in self.verifications[:-1]],
            "links": [each.to_json() for each in self.links],
            "inputs": (behind.reason if behind is not None else self.inputs.unknown) or None,
        }


def verify_chain(
    path: str | os.PathLike[str], *, is_quick: bool = False, should_ask: bool = False
) -> ChainVerification:
    """Verify the output at `path` and all that it was made of. Raises what `verify` does."""
    places = list_places(path)
    observations = [observe_output(place.storage, place.layout) for place in places]
    verified = tuple(
        verify(place.path, is_quick=is_quick, should_ask=should_ask) for place in places
    )
    links = tuple(
        _compare(places[number - 1], places[number], observations[number])
        for number in range(1, len(places))
    )
    last, observation = places[-1], observations[-1]
    is_command = observation.config is not None and observation.config.call.kind == BATTEN
    inputs = compare_inputs(places[0], observations[0])
    more = inputs.behind.options if inputs.behind is not None else ()
    if len(places) > 1:
        more = (WITH_UPSTREAM,) if is_command else ()
    return ChainVerification(
        verifications=verified,
        links=links,
        inputs=inputs,
        run=find_again(last, observation, *more).told,
    )


def _compare(upstream: Place, place: Place, observation: Observation) -> ChainLink:
    behind = find_behind(place, observation)
    told = behind.reason if behind is not None else ""
    link = ChainLink(
        upstream=upstream.path, output=place.path, reason=told, is_behind=behind is not None
    )
    if observation.completion is None:
        return replace(link, reason="its accounts are not closed", is_behind=True)
    if is_finalized(observation.config):
        return replace(link, is_finalized=True)
    plan = Plan(place.storage, place.layout, list(observation.segments))
    source = find_source(place, observation, plan)
    if source is None:
        return replace(link, reason=told or "its source is not known")
    try:
        missing, look = compare_keys(_AllRows(source), plan)
    except BattenError as error:
        return replace(link, reason=told or error.what)
    found = look.differences
    extra: list[str] = []
    changed: list[str] = []
    for number, item in enumerate(found.items):
        if found.are_changes[number]:
            version = found.versions[number * VERSION_BYTES : (number + 1) * VERSION_BYTES]
            (extra if version == GONE else changed).extend(list_keys(plan, item, item + 1))
    return replace(
        link,
        rows=look.seen,
        missing=tuple(missing),
        extra=tuple(extra) if source.drops_gone else (),
        changed=tuple(changed),
    )


class _AllRows:
    """A source of which every row is read, whatever was seen of it before."""

    is_keyed = True
    is_counted = False
    has_kinds = False
    drops_gone = True

    def __init__(self, source: Source) -> None:
        self._source = source
        self.identity = source.identity
        self.inputs = source.inputs

    def count_items(self) -> int | None:
        return None

    def scan(self) -> Iterator[ScanBlock]:
        yield from self._source.scan()

    def open(self) -> Any:
        return self._source.open()

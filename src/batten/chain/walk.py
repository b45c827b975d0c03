"""A chain of datasets, each made of the one before it (decision 0094)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

from batten.chain.inputs import compare_inputs
from batten.errors import RefusedError
from batten.inspect.advising.again import find_path
from batten.inspect.advising.upstream import WITH_UPSTREAM, Behind, find_behind, find_upstream
from batten.inspect.diagnose import FindBehind, diagnose_place
from batten.inspect.diagnosis import Diagnosis
from batten.inspect.paths.output_path import Place, locate_output
from batten.ledger.facts.observation import Observation
from batten.ledger.facts.observe import observe_output
from batten.model.disk.runs.job_calls import BATTEN
from batten.model.value_class import value_class
from batten.model.words import Action, State

WHOLE = frozenset({State.COMPLETE, State.COMPLETE_WITH_ORPHANS})
_CHAIN_MAX = 1000


@value_class
class DatasetChain:
    """What was found of the datasets of a chain, the first one first."""

    diagnoses: tuple[Diagnosis, ...]

    @property
    def last(self) -> Diagnosis:
        """Of the output that was asked for; it is STALE where one before it is not whole."""
        return self.diagnoses[-1]

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints: that of the output, and those upstream of it."""
        upstream = [each.to_json() for each in self.diagnoses[:-1]]
        return {**self.last.to_json(), "upstream": upstream}


def list_places(path: str | os.PathLike[str]) -> list[Place]:
    """The datasets that the one at `path` was made of, the first one first, and itself. Raises
    `RefusedError` for a chain without end."""
    places: list[Place] = []
    seen: set[str] = set()
    place: Place | None = locate_output(path)
    while place is not None:
        where = find_path(place)
        if where in seen or len(places) == _CHAIN_MAX:
            raise RefusedError(
                f"{place.path} is upstream of itself, by what is recorded.",
                safe="Nothing was changed.",
                next="See which job makes it, and of what.",
            )
        seen.add(where)
        places.append(place)
        place = find_upstream(place, observe_output(place.storage, place.layout))
    return places[::-1]


def diagnose_chain(path: str | os.PathLike[str], *, with_inputs: bool = False) -> DatasetChain:
    """All of the chain, from the first on. `with_inputs`: also whether what the first was made of
    is another now."""
    found: list[Diagnosis] = []
    for place in list_places(path):
        look: FindBehind = _look_at_inputs if with_inputs and not found else find_behind
        found.append(diagnose_place(place, look=partial(_look, found[-1:], look)))
    return DatasetChain(diagnoses=tuple(found))


def _look_at_inputs(place: Place, observation: Observation) -> Behind | None:
    return compare_inputs(place, observation).behind


def _look(
    before: Sequence[Diagnosis], look: FindBehind, place: Place, observation: Observation
) -> Behind | None:
    """One is behind, too, where the one that it is made of is not whole."""
    own = look(place, observation)
    if own is not None or not before or before[0].state in WHOLE:
        return own
    up, config = before[0], observation.config
    can_run = up.action is Action.RUN and config is not None and config.call.kind == BATTEN
    return Behind(
        reason=f"it was made of {up.path}, which is {up.state.value}: {up.reason}",
        options=(WITH_UPSTREAM,) if can_run else (),
        first="" if can_run else up.next,
    )

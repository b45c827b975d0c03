"""Whether the inputs of an output are those of then, so far as that can be seen without its job."""

from __future__ import annotations

import errno
import os
from dataclasses import replace

from batten.chain.recorded_source import find_source
from batten.errors import BattenError, StorageError
from batten.inspect.advising.changed_tables import look_at_tables
from batten.inspect.advising.made_files import list_tables
from batten.inspect.advising.upstream import Behind, find_behind
from batten.inspect.diagnose import diagnose_place
from batten.inspect.diagnosis import Diagnosis
from batten.inspect.paths.output_path import Place, locate_output
from batten.ledger.facts.observation import Observation
from batten.model.telling.counts import count_of
from batten.model.value_class import value_class
from batten.plan.differs_errors import DiffersError
from batten.plan.extending import foresee_plan
from batten.plan.plan import Plan
from batten.plan.source_look import SourceLook


@value_class
class InputsSeen:
    """`behind` says what is another now. `unknown` says why nobody can know, and `kept` what is
    gone, whose rows stay."""

    behind: Behind | None = None
    unknown: str = ""
    kept: str = ""


def diagnose_inputs(path: str | os.PathLike[str]) -> Diagnosis:
    """As `diagnose`, and STALE where an input has changed, come or gone since. It reads what a run
    would read to find that out."""
    look = InputsLook()
    found = diagnose_place(locate_output(path), look=look)
    return replace(found, hints=(*found.hints, *look.told))


class InputsLook:
    """Asked whether an output is behind its inputs, it keeps what else is to be told."""

    def __init__(self) -> None:
        self.told: tuple[str, ...] = ()

    def __call__(self, place: Place, observation: Observation) -> Behind | None:
        seen = compare_inputs(place, observation)
        self.told += tuple(line for line in (seen.unknown, seen.kept) if line)
        return seen.behind


def compare_inputs(place: Place, observation: Observation) -> InputsSeen:
    """Of a complete output, beginning with the dataset that it is made of, if it is."""
    tables = look_at_tables(place.storage, observation, is_brief=False)
    behind = tables.behind or find_behind(place, observation)
    if behind is not None or list_tables(observation):
        return InputsSeen(behind=behind, unknown="; ".join(tables.unknown))
    plan = Plan(place.storage, place.layout, list(observation.segments))
    try:
        source = find_source(place, observation, plan)
        if source is None:
            return InputsSeen(unknown="what its source gives now can't be told without the job")
        new, look = foresee_plan(source, plan, None, ways_on="compute all anew")
    except DiffersError as error:
        way = error.ways[0].options if error.ways else ()
        return InputsSeen(behind=Behind(reason=error.what.rstrip("."), options=way))
    except StorageError as error:
        if error.errno != errno.ENOENT:
            return InputsSeen(unknown=f"its source can't be looked at: {error.what}")
        gone = Behind(reason=error.what.rstrip("."), first="bring it back", is_gone=True)
        return InputsSeen(behind=gone)
    except BattenError as error:
        return InputsSeen(unknown=f"its source can't be looked at: {error.what}")
    kept = f"{count_of(look.gone, 'item')} gone from the source: the rows stay" if look.gone else ""
    told = _tell(new, look)
    return InputsSeen(behind=Behind(reason=told) if told else None, kept=kept)


def _tell(new: int, look: SourceLook) -> str:
    """What a run would find; empty if nothing."""
    found = look.differences
    counts = {"changed": found.changed, "gone": found.removed, "new": new}
    told = [f"{count_of(count, 'item')} {what}" for what, count in counts.items() if count]
    return f"its source has changed since it was made: {', '.join(told)}" if told else ""

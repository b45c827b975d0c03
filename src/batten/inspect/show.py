"""What an output holds, for people: accounts, quarantined items with their errors, runs."""

from __future__ import annotations

import os
import time
from dataclasses import field
from itertools import islice
from typing import Any

from batten.inspect.absent import refuse_absent
from batten.inspect.advising.in_hand import list_in_hand_keys
from batten.inspect.advising.upstream import find_behind
from batten.inspect.diagnose import FindBehind, describe, judge_inputs
from batten.inspect.diagnosis import Diagnosis
from batten.inspect.items.quarantined import read_quarantined
from batten.inspect.items.slowest import SlowestSeen, find_slowest
from batten.inspect.items.used import ItemUsage, list_usage
from batten.inspect.kinds.landings import refuse_landing
from batten.inspect.kinds.trees import refuse_tree
from batten.inspect.paths.output_path import locate_output
from batten.inspect.paths.owning import refuse_pending, refuse_unknown
from batten.ledger.facts.observe import observe_output
from batten.ledger.files.quarantine_file import Quarantined
from batten.ledger.history.runs import RunLog, list_runs, read_run
from batten.model.value_class import value_class


@value_class
class Overview:
    """What `batten show` prints. `unreadable` names quarantine files that can't be read, `in_hand`
    are the keys of the items that were in hand when the last run was killed. `parts_at` is where
    the parts lie, if that is not where the output is. `slowest` are items that took longest.
    `used` is what calls used by item, if that was asked for. `hints` are what a look at the inputs
    told besides."""

    diagnosis: Diagnosis
    quarantined: tuple[Quarantined, ...]
    unreadable: tuple[str, ...]
    runs: tuple[RunLog, ...]
    in_hand: tuple[str, ...]
    parts_at: str = ""
    slowest: SlowestSeen = field(default_factory=SlowestSeen)
    used: tuple[ItemUsage, ...] | None = None
    hints: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        diagnosis = self.diagnosis
        return {
            "state": diagnosis.state.value,
            "path": diagnosis.path,
            "reason": diagnosis.reason,
            "items": dict(vars(diagnosis.items)),
            "parts": diagnosis.parts,
            "rows": diagnosis.rows,
            "usage": diagnosis.contents.usage.to_json() if diagnosis.contents.usage else None,
            "usage_by_key": None if self.used is None else [each.to_json() for each in self.used],
            "submitted": diagnosis.contents.list_submitted(),
            "quarantined": [dict(vars(item)) for item in self.quarantined],
            "retry": diagnosis.next_run.retry or None,
            "unreadable": list(self.unreadable),
            "in_hand": list(self.in_hand),
            "workers": [worker.to_json() for worker in diagnosis.contents.at_work],
            "slowest": [dict(vars(each)) for each in self.slowest.items],
            "parts_at": self.parts_at or None,
            "destinations": [
                {"target": each.target, "promise": each.promise} for each in diagnosis.destinations
            ],
            "runs": [dict(vars(run.summarize())) for run in self.runs],
        }


def show(
    path: str | os.PathLike[str],
    *,
    lists_usage: bool = False,
    quarantined_max: int | None = None,
    look: FindBehind = find_behind,
) -> Overview:
    """An overview of the output. Reads only.

    With `lists_usage` what the calls of each item used is in it, with `quarantined_max` no more of
    the quarantined items; then other files of them are not read. `look` tells whether a complete
    one is behind what it was made of. Raises `UsageError` if there is no output, and `RefusedError`
    if it is not batten's."""
    place = locate_output(path)
    refuse_tree(place)
    observation = observe_output(place.storage, place.layout)
    refuse_landing(place, observation)
    judgement, _, behind = judge_inputs(place, observation, look=look)
    refuse_unknown(place, judgement)
    refuse_pending(place, judgement)
    refuse_absent(place, judgement)
    unreadable: list[str] = []
    quarantined = read_quarantined(place, observation, unreadable)
    return Overview(
        diagnosis=describe(place, observation, judgement, now_seconds=time.time(), behind=behind),
        quarantined=tuple(islice(quarantined, quarantined_max)),
        unreadable=tuple(unreadable),
        parts_at=place.show(place.layout.data) if place.layout.home else "",
        runs=tuple(
            read_run(place.storage, place.layout, run)
            for run in list_runs(place.storage, place.layout)
        ),
        slowest=find_slowest(place, observation, judgement.plan),
        used=tuple(list_usage(place, judgement.plan)) if lists_usage else None,
        in_hand=()
        if observation.holder is not None
        else tuple(list_in_hand_keys(place, judgement.plan)),
    )

"""The words for what is to be done, and for what an output holds, the same wherever it is shown."""

from __future__ import annotations

import os

from batten.inspect.advising.outlook import Likelihood
from batten.inspect.diagnosis import Diagnosis
from batten.model.disk.destinations.delivery import NOT_COUNTED, Delivery
from batten.model.disk.destinations.targets import show_target
from batten.model.rules.findings import find_blocking
from batten.model.telling.counts import count_of
from batten.model.words import Action, State


def name_action(diagnosis: Diagnosis) -> str:
    """The one safe action, in words."""
    if diagnosis.action is Action.STOP and find_blocking(diagnosis.findings):
        return "stop: do what next says; recover can't mend it"
    if diagnosis.action is Action.LOOK and diagnosis.state is not State.UNKNOWN:
        return "look first, as next says; run nothing yet"
    refused = diagnosis.next_run.refused
    if refused is not None and is_run(diagnosis):
        return f"{refused.undo}, and run as before; if it is to stay, do what next says"
    takes_up = is_run(diagnosis) and diagnosis.items.source and not diagnosis.contents.tables
    return _SAFE_ACTIONS[diagnosis.action.value] + ("; it takes up what is there" * bool(takes_up))


def is_run(diagnosis: Diagnosis) -> bool:
    """Whether the job is to be run."""
    return diagnosis.action is Action.RUN


def tell_again(diagnosis: Diagnosis) -> str:
    """Whether the next run is likely to fail."""
    again = diagnosis.again
    return f"{_AGAIN[again.likelihood]}: {again.because}"


_AGAIN = {
    Likelihood.YES: "likely to fail again",
    Likelihood.NO: "not likely to fail again",
    Likelihood.UNKNOWN: "not known",
}

_SAFE_ACTIONS = {
    "run": "run the job",
    "leave alone": "leave it alone",
    "nothing": "nothing",
    "clean": "clean; do not run again",
    "recover": "recover",
    "stop": "stop: restore what is damaged from a copy; without one, have it computed again",
    "look": "look by hand",
}


def show_output(diagnosis: Diagnosis) -> str:
    """`998 rows in 4 parts`."""
    return f"{count_of(diagnosis.rows, 'row')} in {count_of(diagnosis.parts, 'part')}"


def name_destination(diagnosis: Diagnosis, given: Delivery) -> str:
    """A destination as one would name it from the current folder, as the output was named."""
    if given.is_file:
        return given.target
    folder = os.path.dirname(diagnosis.path)
    return show_target(
        given.shown_as, given.target, lambda path: os.path.normpath(os.path.join(folder, path))
    )


def show_held(diagnosis: Diagnosis, given: Delivery) -> str:
    """What a destination was given."""
    if not given.batches:
        return "nothing of this dataset"
    rows, batches = count_of(given.rows, "row"), count_of(given.batches, "batch", "batches")
    return rows if diagnosis.contents.tables else f"{rows} of {batches}"


def tell_uncounted(given: Delivery) -> str:
    """What the end of its line says where a look at its table can't count its rows."""
    return f"; {NOT_COUNTED}" if given.is_uncounted else ""

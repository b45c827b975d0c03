"""What is refused where nothing is: the name is likely a slip, and names like it are told."""

from __future__ import annotations

from batten.errors import UsageError, usage_error
from batten.inspect.diagnose import diagnose_place
from batten.inspect.diagnosis import Diagnosis
from batten.inspect.paths.output_path import Place
from batten.ledger.judge import Judgement
from batten.model.telling.commands import is_command
from batten.model.words import Action, State


def refuse_absent(place: Place, judgement: Judgement) -> None:
    """Raises `UsageError` if nothing is there."""
    if judgement.verdict.state is State.NEW:
        raise absent_error(diagnose_place(place))


def absent_error(found: Diagnosis) -> UsageError:
    """Of a path where nothing is."""
    told = "Name the output of a job."
    if found.action is Action.LOOK:
        told = f"{found.reason}: {found.next}" if is_command(found.next) else found.next
    return usage_error(f"There is no output {found.path}.", told[:1].upper() + told[1:])

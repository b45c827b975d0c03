"""The call of a step that has workers of its own, in a worker that has the item in hand.

For all that follows from it, it is a call like any other: it returns or raises what the function
did. If the worker that was asked ends, the driver learns of which item (decision 0137).
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from batten.errors import BattenError
from batten.executors.randomness import StepSeeding
from batten.model.value_class import value_class
from batten.work.own_workers.lane import Lane, connect, receive, send

if TYPE_CHECKING:
    from batten.work.usage import Teller


@value_class
class AskedCall:
    """`given` is what the function is called with. `item` is the number in the plan of the one in
    hand, and `attempt` that under which is kept what calls use; `seeded` names the item and the
    call, where these fix random numbers."""

    given: tuple[Any, ...]
    item: int
    attempt: str
    seeded: tuple[str, int] | None


@value_class
class CallReturned:
    """What the function returned."""

    value: Any


@value_class
class CallRaised:
    """What it raised, itself where it can be sent, else its name and its text."""

    error: BaseException | None
    module: str
    name: str
    text: str
    trace: str

    def find_error(self) -> BaseException:
        """The error, or one that is told in the same words."""
        error = self.error
        if error is None:
            error = type(self.name, (Exception,), {"__module__": self.module})(self.text)
        error.__cause__ = _ThereError(self.trace)
        return error


class _ThereError(Exception):
    """Carries the traceback of the worker that was asked."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class AskedWorkerLostError(BattenError):
    """A step's own worker ended with a call in hand; never leaves the driver, which knows why.

    `serving` is the number of the task by which the worker serves, `item` that in hand."""

    def __init__(self, serving: int, item: int) -> None:
        super().__init__("A worker of a step ended with a call in hand.")
        self.serving = serving
        self.item = item


class AskedFunction:
    """Stands for the function of a step that other workers call."""

    def __init__(self, lane: Lane, teller: Teller | None, seeding: StepSeeding | None) -> None:
        self._lane = lane
        self._teller = teller
        self._seeding = seeding

    def __call__(self, *given: Any) -> Any:
        """What the function returned. Raises what it raised, and `AskedWorkerLostError`."""
        teller, seeding = self._teller, self._seeding
        request = AskedCall(
            given=given,
            item=teller.item if teller is not None else -1,
            attempt=teller.name_attempt() if teller is not None else "",
            seeded=seeding.named if seeding is not None else None,
        )
        reply = self._ask(pickle.dumps(request, pickle.HIGHEST_PROTOCOL), request.item)
        if isinstance(reply, CallRaised):
            raise reply.find_error()
        return reply.value

    def _ask(self, payload: bytes, item: int) -> CallReturned | CallRaised:
        while True:
            with connect(self._lane) as connection:
                try:
                    serving = receive(connection)[0].task_id
                except (EOFError, OSError):
                    # It ended before it had the call. Others take its place.
                    continue
                try:
                    send(connection, serving, payload)
                    answer = receive(connection)[1]
                except (EOFError, OSError) as error:
                    raise AskedWorkerLostError(serving, item) from error
            reply: CallReturned | CallRaised = pickle.loads(answer)
            return reply

"""Calling the user's functions: tries, pauses between them, and what became of an item."""

from __future__ import annotations

import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

from batten.errors import FINISHED_KEPT, BattenError, FailedRunError, StorageError
from batten.executors.printing.output import losses
from batten.executors.randomness import Seeding, StepSeeding
from batten.fingerprint.secret import blot
from batten.jobs.devices import PROCESSOR, Worker, first_device
from batten.jobs.retry import Retry
from batten.jobs.step import Step
from batten.model.annotations import signature_of
from batten.model.telling.cutting import cut_middle
from batten.model.telling.hiding import redact
from batten.model.value_class import value_class
from batten.printable import without_modules
from batten.storage.blame import find_machine_failure, is_out_of_memory
from batten.work.calling.cached_steps import find_kept
from batten.work.calling.results import hold_input, list_results
from batten.work.usage import Teller

if TYPE_CHECKING:
    from batten.work.calling.holding import Hold
    from batten.work.own_workers.lane import Lane

ERROR_CHARACTERS_MAX = 1000
TRACE_CHARACTERS_MAX = 20_000
_LOOKED_AT_MAX = 10 * TRACE_CHARACTERS_MAX
"""Of a longer text no more is looked at for secrets, nor kept."""


@value_class
class Failure:
    """An item that failed for good: its number in the batch, the error, and how often it was
    tried."""

    item: int
    error: str
    trace: str
    attempts: int


class ItemFailedError(Exception):
    """Carries a failure out of the calls of one item; never leaves the worker. With
    `is_out_of_memory` less at a time may do."""

    def __init__(
        self, error: str, trace: str, attempts: int, *, is_out_of_memory: bool = False
    ) -> None:
        super().__init__(error)
        self.is_out_of_memory = is_out_of_memory
        self.error = error
        self.trace = trace
        self.attempts = attempts

    def at(self, item: int) -> Failure:
        return Failure(item=item, error=self.error, trace=self.trace, attempts=self.attempts)


def describe_error(error: BaseException) -> tuple[str, str]:
    """One line, and the traceback from the user's own code on."""
    told = without_modules("".join(traceback.format_exception_only(error))[:_LOOKED_AT_MAX])
    text = redact(blot(" ".join(told.split())))
    text = text if len(text) <= ERROR_CHARACTERS_MAX else f"{text[:ERROR_CHARACTERS_MAX]}…"
    trace = error.__traceback__
    while trace is not None and _is_of_calls(trace):
        trace = trace.tb_next
    lines = without_modules("".join(traceback.format_exception(type(error), error, trace)))
    return text, without_secrets(lines)


def without_secrets(told: str) -> str:
    """What is kept of a long text beside an item that failed."""
    looked_at = redact(blot(cut_middle(told, _LOOKED_AT_MAX)))
    return cut_middle(_as_text(looked_at), TRACE_CHARACTERS_MAX)


def _is_of_calls(trace: TracebackType) -> bool:
    name = str(trace.tb_frame.f_globals.get("__name__"))
    return name.startswith(("batten.work.", "batten.deliver.", "batten.jobs.", "batten.sinks."))


def _as_text(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def construct(kind: type, worker: Worker) -> Callable[..., Any]:
    """The object that a step's class makes, to be called for each item."""
    try:
        made: Callable[..., Any] = kind(**_find_asked_for(kind, worker))
    except BaseException as error:
        text, trace = describe_error(error)
        raise FailedRunError(
            f"{kind.__name__}() could not be constructed in a worker: {_as_text(text)}",
            safe=FINISHED_KEPT,
            next="Mend the class and run the job again.",
            trace=trace,
        ) from error
    if not callable(made):
        raise FailedRunError(
            f"{kind.__name__} makes objects that can't be called.",
            safe=FINISHED_KEPT,
            next=f"Give {kind.__name__} a method __call__(self, item).",
        )
    return made


def _find_asked_for(kind: type, worker: Worker) -> dict[str, Any]:
    """What of the worker the class has parameters for, by their names. One that has a default keeps
    it where there is nothing to give."""
    try:
        parameters = signature_of(kind).parameters
    except (TypeError, ValueError):
        return {}
    found: dict[str, Any] = {}
    if "worker" in parameters:
        found["worker"] = worker
    device = parameters.get("device")
    if device is not None and (worker.device is not None or device.default is device.empty):
        found["device"] = worker.device or PROCESSOR
    return found


class _ConstructedLater:
    """The object that a step's class makes, constructed when it is first called."""

    def __init__(self, kind: type, worker: Worker) -> None:
        self._kind = kind
        self._worker = worker
        self._made: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        if self._made is None:
            self._made = construct(self._kind, self._worker)
        return self._made(*arguments)

    async def aclose(self) -> None:
        aclose = getattr(self._made, "aclose", None)
        if aclose is not None:
            await aclose()


def prepare_function(step: Step, worker: Worker) -> Callable[..., Any]:
    """What is to be called for each item. Where results are kept, a class may never be needed."""
    if not isinstance(step.function, type):
        return step.function
    if step.devices is not None and worker.device is None:
        # The steps share this worker, so it has the first one of them.
        worker = replace(worker, device=first_device(step.devices, os.environ))
    if step.cache is None:
        return construct(step.function, worker)
    return _ConstructedLater(step.function, worker)


def list_rows(result: Any) -> list[Any]:
    """What a function of `flat_map` gave. A row by itself would fall into its columns' names."""
    if result is None or isinstance(result, Mapping | str | bytes):
        kind = "None" if result is None else f"of type {type(result).__name__}"
        raise TypeError(f"flat_map takes an iterable of rows, and this is {kind}")
    return list(result)


def as_final(error: BaseException, attempts: int) -> StorageError | ItemFailedError:
    """What to raise when the last try failed. What is the machine's failure ends the run, and
    nothing is quarantined."""
    failure = find_machine_failure(error)
    if failure is not None:
        return failure
    text, trace = describe_error(error)
    return ItemFailedError(
        _as_text(text), trace, attempts, is_out_of_memory=is_out_of_memory(error)
    )


def find_pause(retry: Retry, error: BaseException, attempt: int) -> float:
    """The seconds until the next try; raises what ends the item or the run where there is none."""
    try:
        pause = retry.find_pause(error, attempt)
    except Exception as of_policy:
        raise as_final(of_policy, attempt) from of_policy
    if pause is None:
        raise as_final(error, attempt) from error
    return pause


def _prepare_seeded(step: Step, seeding: StepSeeding | None, worker: Worker) -> Callable[..., Any]:
    """What is to be called. An object that is constructed for it has random numbers of its own,
    too."""
    if seeding is not None:
        seeding.take_up(step.function)
        seeding.begin_try()
    function = prepare_function(step, worker)
    if seeding is not None and function is not step.function:
        seeding.take_up(function)
    return function


BeginTry = Callable[[float], None]


@value_class
class Outfit:
    """What a worker has for its calls: generators that it seeds, who tells what calls use, its
    number and its device, and where workers are asked of those steps that have their own."""

    seeding: Seeding | None = None
    teller: Teller | None = None
    worker: Worker = Worker()
    lanes: Mapping[int, Lane] = field(default_factory=dict)


BARE = Outfit()


class Call:
    """A step's function, ready to be called in this worker; a class is constructed here, once.

    `number` is that of the step. `begin_try` is called with the time limit of each try before it,
    where tries have one. If the step has workers of its own, these call the function, and watch
    over the time."""

    def __init__(self, step: Step, number: int = 0, outfit: Outfit = BARE) -> None:
        self.step = step
        self._teller = outfit.teller
        self.kind = step.kind
        self.begin_try: BeginTry | None = None
        named = None if outfit.seeding is None else outfit.seeding.of_step(number)
        lane = outfit.lanes.get(number)
        limit_seconds = step.timeout_seconds if lane is None else None
        self._limit_seconds = math.inf if limit_seconds is None else limit_seconds
        self._retry = step.retry
        self._named = named
        self._seeding = named if lane is None else None
        if lane is None:
            self.function = self._call = _prepare_seeded(step, named, outfit.worker)
        else:
            from batten.work.own_workers.asking import AskedFunction

            self.function = self._call = AskedFunction(lane, outfit.teller, named)
        self._kept = find_kept(step)
        self._hold: Hold | None = None
        self._makes_files = False
        self._was_out_of_memory = False
        is_plain = named is None and self._kept is None
        # Chosen once, since it is called for every item.
        self.run: Callable[[Any], Any] = self._run if is_plain else self._run_named
        """Gives what the function returns; raises `ItemFailedError` when all tries failed."""

    def seed(self, item: str, calls: int) -> None:
        """The next try is of that call for the item, which is in hand elsewhere."""
        if self._named is not None:
            self._named.name(item, calls)

    def hold(self, hold: Hold, *, makes_files: bool) -> None:
        """Give the function a folder, if it asks for one. With `makes_files`, what it returns are
        the files of an item."""
        from batten.work.calling.holding import takes_folder

        self._hold, self._makes_files = hold, makes_files
        if takes_folder(self.step.function):
            function = self.function
            self._call = lambda value: function(value, hold.make_folder())

    def _take_streams(self, made: Any, hold: Hold) -> Any:
        if self.kind == "flat_map":
            return [hold.take_streams(each) for each in made]
        return hold.take_streams(made)

    def _run_named(self, value: Any) -> Any:
        if self._named is not None:
            self._named.begin_call()
        if self._kept is None:
            return self._run(value)
        if self._hold is not None and self._makes_files:
            return self._kept.get_or_write(value, lambda: self._run(value), self._hold)
        return self._kept.get_or_compute(value, lambda: self._run(value))

    def _run(self, value: Any) -> Any:
        attempt = 1
        while True:
            try:
                return self.try_once(value)
            except BattenError:
                raise
            # Catch anything: extensions in Rust panic with what is no `Exception`.
            except BaseException as error:
                if self.kind == "map_batches" and value.num_rows > 1 and is_out_of_memory(error):
                    raise as_final(error, attempt) from error
                pause = find_pause(self._retry, error, attempt)
            if self.begin_try is not None:
                # A pause is no part of a try.
                self.begin_try(math.inf)
            time.sleep(pause)
            attempt += 1

    def try_once(self, value: Any, *more: Any) -> Any:
        """What the function returns; raises what it raises."""
        while True:
            if self.begin_try is not None:
                self.begin_try(self._limit_seconds)
            if self._was_out_of_memory:
                self._was_out_of_memory = False
                free_device_memory()
            lost = losses.count
            if self._seeding is not None:
                self._seeding.begin_try()
            try:
                result = self._call(value, *more) if more else self._call(value)
                made = list_rows(result) if self.kind == "flat_map" else result
                if self._makes_files and self._hold is not None:
                    made = self._take_streams(made, self._hold)
                if self._seeding is None or not self._seeding.has_new():
                    return made
            except BattenError:
                raise
            except BaseException as error:
                if losses.look() != lost:
                    # The reader of the log went away meanwhile, which may be why it failed.
                    continue
                if self._seeding is not None and self._seeding.has_new():
                    continue
                if self._teller is not None:
                    self._teller.fail_try()
                self._was_out_of_memory = is_out_of_memory(error)
                raise


def free_device_memory() -> None:
    """Have torch give back what it keeps for later, where it is in use."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if cuda is not None and cuda.is_available() and cuda.is_initialized():
        cuda.empty_cache()


def find_last_maker(steps: Sequence[Step]) -> Step | None:
    """The step whose results are what becomes of an item."""
    making = (step for step in reversed(steps) if step.kind in ("map", "flat_map"))
    return next(making, None)


class Chain:
    """Consecutive steps that take one item at a time; `first` is the number of the first one."""

    def __init__(self, steps: Sequence[Step], first: int = 0, outfit: Outfit = BARE) -> None:
        self._teller = outfit.teller
        numbered = enumerate(steps, first)
        self._calls = [Call(step, number, outfit) for number, step in numbered]
        first_step = steps[0] if len(steps) == 1 else None
        is_one_map = first_step is not None and first_step.kind == "map"
        is_plain = first_step is not None and not first_step.keeps_input
        self._map = self._calls[0].run if is_one_map and is_plain else None

    def watch_tries(self, begin_try: BeginTry) -> None:
        for call in self._calls:
            call.begin_try = begin_try

    def hold(self, hold: Hold) -> None:
        """What the last of them returns are files."""
        last = find_last_maker([call.step for call in self._calls])
        for call in self._calls:
            call.hold(hold, makes_files=call.step is last)

    @property
    def functions(self) -> list[Any]:
        return [call.function for call in self._calls]

    def run(self, item: Any) -> list[Any]:
        """What the steps make of the item: any number of values."""
        if self._map is not None:
            return [self._map(item)]
        values = [item]
        for call in self._calls:
            step, results = call.step, []
            for value in values:
                kept = hold_input(step, value)
                results += list_results(step, value, kept, call.run(value))
                if self._teller is not None:
                    self._teller.settle()
            values = results
            if not values:
                break
        return values

"""Calling functions that await: tries, pauses, time limits and the patience that hosts ask for."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

from batten.errors import BattenError
from batten.executors.asynchronous import cut_off, is_cut_off
from batten.executors.call_rates import Limits, Sharing
from batten.executors.marks import SlotMark
from batten.executors.printing.output import losses
from batten.executors.throttle import Throttle
from batten.jobs.batch_api import BatchApi
from batten.jobs.devices import Worker
from batten.jobs.step import Step
from batten.work.calling.cached_steps import find_kept
from batten.work.calling.calls import (
    as_final,
    find_last_maker,
    find_pause,
    list_rows,
    prepare_function,
)
from batten.work.calling.holding import Hold, take_streams, takes_folder
from batten.work.calling.results import hold_input, list_results
from batten.work.own_workers.server import ServerState
from batten.work.submitting.submitter import Submitter
from batten.work.usage import current_teller

FindSubmitter = Callable[[BatchApi], Submitter]


class AsyncCall:
    """A step's function, ready to be called in the event loop; a class is constructed here, once.

    A function that does not await is called in between, without a limit."""

    def __init__(
        self,
        step: Step,
        draining: asyncio.Event,
        find_submitter: FindSubmitter | None = None,
        server: ServerState | None = None,
        sharing: Sharing | None = None,
    ) -> None:
        self.step = step
        self._server = server
        self._heeded = 0
        self.kind = step.kind
        self._function = prepare_function(step, Worker())
        if step.batch_api is not None and find_submitter is not None:
            self._function = partial(find_submitter(step.batch_api).call, step.batch_api)
        self._kept = find_kept(step)
        self._retry = step.retry
        self._timeout_seconds = step.timeout_seconds
        self._takes_folder = takes_folder(step.function)
        self.makes_files = False
        self._draining = draining
        self._throttle: Throttle | None = None
        # Who waits for a vendor's batch calls nobody: its item is not in hand meanwhile.
        if step.is_async and step.batch_api is None:
            self._places = asyncio.Semaphore(step.calls_max)
            self._throttle = Throttle(step.limits or Limits(), step.calls_max, sharing or Sharing())

    def run(self, value: Any, item: int, place: SlotMark, hold: Hold | None) -> Awaitable[Any]:
        """What the function gives; raises `ItemFailedError` when all tries failed. While a try goes
        on, item number `item` of the plan is in hand. What was kept needs no place and no limit.
        With `hold` the steps make files."""
        if self._kept is None:
            return self._run(value, item, place, hold)
        return self._kept.get_or_await(value, lambda: self._run(value, item, place, hold))

    def list_waits(self) -> list[str]:
        """What its calls wait for, in a few words."""
        if self._server is not None and not self._server.is_ready:
            return ["waits for the model server"]
        return self._throttle.list_waits() if self._throttle is not None else []

    async def close(self) -> None:
        """Have the function's object close what it holds, if it has an `aclose`."""
        aclose = getattr(self._function, "aclose", None)
        if aclose is not None:
            await aclose()

    async def _run(self, value: Any, item: int, place: SlotMark, hold: Hold | None) -> Any:
        attempt = 1
        while True:
            lost, downs = losses.count, 0
            try:
                if self._server is not None:
                    downs = await self._server.wait_ready()
                if self._throttle is None:
                    return await self._once(self._call(value, hold))
                async with self._places:
                    return await self._try(value, item, place, self._throttle, hold)
            except (BattenError, asyncio.CancelledError):
                raise
            # Catch anything: extensions in Rust panic with what is no `Exception`.
            except BaseException as error:
                if losses.look() != lost:
                    # The reader of the log went away meanwhile, which may be why it failed.
                    continue
                if (teller := current_teller()) is not None:
                    teller.fail_try()
                if isinstance(error, GeneratorExit):
                    # Python lets nothing wait that was told this.
                    raise as_final(error, attempt) from error
                if self._server is not None and await self._server.was_down(error, downs):
                    continue
                pause = find_pause(self._retry, error, attempt)
            if self._draining.is_set():
                cut_off(asyncio.current_task())
            await asyncio.sleep(pause)
            attempt += 1

    async def _try(
        self, value: Any, item: int, place: SlotMark, throttle: Throttle, hold: Hold | None
    ) -> Any:
        if self._server is not None and self._heeded != self._server.looks:
            self._heeded = self._server.looks
            throttle.heed(self._server.waiting or 0)
        passed = await throttle.begin(value)
        place.begin(item)
        error: BaseException | None = None
        try:
            if self._timeout_seconds is None:
                return await self._once(self._call(value, hold))
            return await self._once(self._within_time(value, self._timeout_seconds, hold))
        except BaseException as caught:
            error = caught
            raise
        finally:
            # A call is cut off where the run ends: then the mark tells that it was in hand.
            if not isinstance(error, asyncio.CancelledError):
                place.end()
            throttle.end(passed, error)

    async def _once(self, making: Awaitable[Any]) -> Any:
        try:
            return await making
        except asyncio.CancelledError:
            if is_cut_off():
                raise
            raise uncancel() from None

    async def _within_time(self, value: Any, seconds: float, hold: Hold | None) -> Any:
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await self._call(value, hold)
        except TimeoutError:
            if not limit.expired():
                raise
            raise TimeoutError(f"the item took longer than {seconds:g} seconds") from None

    async def _call(self, value: Any, hold: Hold | None) -> Any:
        given = (hold.make_folder(),) if hold is not None and self._takes_folder else ()
        made = self._function(value, *given)
        if inspect.isawaitable(made):
            made = await made
        if hold is not None and self.makes_files:
            return await take_streams(made, hold, is_many=self.kind == "flat_map")
        if self.kind != "flat_map":
            return made
        return [row async for row in made] if isinstance(made, AsyncIterable) else list_rows(made)


def uncancel() -> RuntimeError:
    """The error of a function that cancelled the task it is called in, which goes on."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()
    return RuntimeError("the function cancelled itself")


class AsyncChain:
    """The steps of a pipeline, for one item at a time each."""

    def __init__(
        self,
        steps: Sequence[Step],
        draining: asyncio.Event,
        make_submitter: FindSubmitter | None = None,
        servers: Mapping[int, ServerState] = MappingProxyType({}),
        sharing: Sharing | None = None,
    ) -> None:
        self._submitters: dict[tuple[str, str], Submitter] = {}
        self._make_submitter = make_submitter
        find = self._find_submitter if make_submitter is not None else None
        self._calls = [
            AsyncCall(step, draining, find, servers.get(number), sharing)
            for number, step in enumerate(steps)
        ]
        last = find_last_maker(steps)
        for call in self._calls:
            call.makes_files = call.step is last

    async def close(self) -> None:
        for submitter in self._submitters.values():
            submitter.close()
        for call in self._calls:
            await call.close()

    def _find_submitter(self, api: BatchApi) -> Submitter:
        """Steps that ask at one place share what they hand in."""
        if api.place not in self._submitters and self._make_submitter is not None:
            self._submitters[api.place] = self._make_submitter(api)
        return self._submitters[api.place]

    def list_waits(self) -> list[str]:
        """What calls wait for, in a few words."""
        waits = [wait for call in self._calls for wait in call.list_waits()]
        return waits + [wait for each in self._submitters.values() for wait in each.list_waits()]

    async def run(
        self, value: Any, item: int, place: SlotMark, hold: Hold | None = None
    ) -> list[Any]:
        """What the steps make of the item: any number of values."""
        values, teller = [value], current_teller()
        for call in self._calls:
            made: list[Any] = []
            for each in values:
                kept = hold_input(call.step, each)
                result = await call.run(each, item, place, hold)
                if teller is not None:
                    teller.settle()
                made += list_results(call.step, each, kept, result)
            values = made
        return values

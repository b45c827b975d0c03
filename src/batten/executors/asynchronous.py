"""Runs work that awaits: thousands of items in hand in one process.

The event loop has a thread of its own, so that it goes on while the driver publishes, and signals
reach the driver while the loop is busy.
"""

from __future__ import annotations

import asyncio
import inspect
import selectors
import socket
import threading
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar
from weakref import WeakSet

from batten.executors.base import Event, Finished, Raised, Told, Work
from batten.executors.marks import MakeFile, MarkTable, SlotMark

STOP_SECONDS = 5.0
"""How long cancelled work may take to end, before it is left to itself."""

SIDE_THREADS = 2

_cut_off: WeakSet[asyncio.Task[Any]] = WeakSet()

Value = TypeVar("Value")


class AsyncExecutor:
    """All submitted tasks run at once, begun in order. `work` may be a coroutine function; it takes
    a place for each item (`AsyncMark.place`), and there are `concurrency` of those.

    `stop` cancels what runs. Work that is cancelled may stage what it has, and tell it."""

    can_kill = False

    def __init__(self, concurrency: int, *, in_flight: MakeFile | None = None) -> None:
        self.slots = concurrency
        self._in_flight = in_flight
        self._marks: MarkTable | None = None
        self._thread: threading.Thread | None = None
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._outstanding = 0

    def start(self, work: Work) -> None:
        _ensure_loops()
        self._marks = MarkTable(self.slots, self._in_flight)
        self._loop = asyncio.new_event_loop()
        self._side = ThreadPoolExecutor(SIDE_THREADS, thread_name_prefix="batten-side")
        self._run = _Run(work, self._marks, self._events.put, self._side)
        thread = threading.Thread(target=self._serve, daemon=True, name="batten-loop")
        try:
            thread.start()
        except RuntimeError:
            self._loop.close()
            self._marks.close()
            raise
        self._thread = thread

    def submit(self, task_id: int, task: Any, *, in_new_process: bool = False) -> None:
        self._outstanding += 1
        self._loop.call_soon_threadsafe(self._run.begin, task_id, task)

    def wait(self, timeout_seconds: float | None = None) -> list[Event]:
        events: list[Event] = []
        with suppress(Empty):
            if self._outstanding:
                events.append(self._events.get(timeout=timeout_seconds))
            while True:
                events.append(self._events.get_nowait())
        self._outstanding -= sum(not isinstance(event, Told) for event in events)
        return events

    def drain(self) -> None:
        if self._marks is not None:
            self._marks.drain()
            self._loop.call_soon_threadsafe(self._run.draining.set)

    def stop(self) -> None:
        """What was told before the end can still be had from `wait`."""
        self._outstanding = 0
        if self._thread is None or self._marks is None:
            return
        self._loop.call_soon_threadsafe(self._run.stopping.set)
        self._thread.join()
        self._side.shutdown()
        if not self._run.tasks:
            self._loop.close()
            self._marks.close()
        self._thread = self._marks = None

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        serving = self._loop.create_task(self._run.serve())
        serving.add_done_callback(lambda _: self._loop.stop())
        while not serving.done():
            # The user's code may stop the loop, and what its tasks raise so ends the loop, too.
            # Nobody interrupts this thread itself.
            with suppress(SystemExit, KeyboardInterrupt):
                self._loop.run_forever()
        serving.result()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())


def cut_off(task: asyncio.Task[Any] | None) -> None:
    """Cancel the task, since the run ends."""
    if task is not None:
        _cut_off.add(task)
        task.cancel()


def is_cut_off() -> bool:
    """Whether the run cancelled the task that this is called in. Anything else that cancels it is
    the user's code."""
    return asyncio.current_task() in _cut_off


def _ensure_loops() -> None:
    """Raises `OSError` where what an event loop needs of the system can't be had. A loop that can't
    be made would itself complain once more, when it is forgotten."""
    with selectors.DefaultSelector() as selector:
        one, other = socket.socketpair()
        with one, other:
            selector.register(one, selectors.EVENT_READ)


class _Run:
    """What belongs to the loop's thread."""

    def __init__(
        self,
        work: Work,
        marks: MarkTable,
        emit: Callable[[Event], None],
        side: ThreadPoolExecutor,
    ) -> None:
        self.draining = asyncio.Event()
        self.stopping = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()
        self.at_end: list[Callable[[], Awaitable[object]]] = []
        self.count = len(marks.records)
        self.places = asyncio.Semaphore(self.count)
        self.free = [SlotMark(record) for record in reversed(marks.records)]
        self.emit = emit
        self.side = side
        self._work = work

    async def serve(self) -> None:
        """Until it is to stop; then cancel all that runs, the user's own tasks as well."""
        await self.stopping.wait()
        running = asyncio.all_tasks() - {asyncio.current_task()}
        for task in running:
            cut_off(task)
        if running:
            await asyncio.wait(running, timeout=STOP_SECONDS)
        for function in self.at_end:
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await function()
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - all work is done
                told = {"message": "What was to be done at the end failed", "exception": error}
                asyncio.get_running_loop().call_exception_handler(told)

    def begin(self, task_id: int, task: Any) -> None:
        doing = asyncio.get_running_loop().create_task(self._do(task_id, task))
        self.tasks.add(doing)
        doing.add_done_callback(self.tasks.discard)

    async def _do(self, task_id: int, task: Any) -> None:
        event: Event
        mark = AsyncMark(self, task_id)
        try:
            value = self._work(task, mark)
            if inspect.isawaitable(value):
                value = await value
            event = Finished(task_id=task_id, value=value)
        except BaseException as error:  # noqa: BLE001 - the user's code
            event = Raised(task_id=task_id, error=error, trace=traceback.format_exc())
        mark.end()
        if not self.stopping.is_set():
            self.emit(event)


class AsyncMark:
    """What a task's work is given: to say what it has in hand, and what it has done."""

    def __init__(self, run: _Run, task_id: int) -> None:
        self._run = run
        self._task_id = task_id
        self._own: SlotMark | None = None

    @property
    def draining(self) -> asyncio.Event:
        """Set when no further item is to be begun."""
        return self._run.draining

    @property
    def is_draining(self) -> bool:
        """Whether no further item is to be begun."""
        return self._run.draining.is_set()

    def begin(self, item: int, limit_seconds: float | None = None) -> None:
        """For work that does not await while an item is in hand."""
        self._own = self._own or self._run.free[-1]
        self._own.begin(item)

    def end(self) -> None:
        if self._own is not None:
            self._own.end()
            self._own = None

    def retire(self) -> None:
        """There is nobody to follow."""

    @property
    def places(self) -> int:
        """How many items may be in hand at a time."""
        return self._run.count

    async def take_place(self) -> SlotMark:
        """A place for an item, as soon as one is free; those who wait get theirs in order."""
        await self._run.places.acquire()
        return self._run.free.pop()

    def leave_place(self, place: SlotMark) -> None:
        """Where its call was cut off, the mark still says that it is in hand. So that place is the
        last to be taken again."""
        free = self._run.free
        free.insert(len(free) if place.is_idle else 0, place)
        self._run.places.release()

    def tell(self, value: Any) -> None:
        """The driver gets this before the task's end."""
        self._run.emit(Told(task_id=self._task_id, value=value))

    def at_end(self, function: Callable[[], Awaitable[object]]) -> None:
        """Have this awaited when all work has ended or was cancelled."""
        self._run.at_end.append(function)

    async def aside(self, function: Callable[..., Value], *arguments: Any) -> Value:
        """Run a function that does not await, in another thread. Once it was asked for, it is done,
        even if the waiting task is cancelled."""
        loop = asyncio.get_running_loop()
        doing = loop.run_in_executor(self._run.side, function, *arguments)
        # If nobody waits any more, its error does not matter, and asyncio must not report it.
        doing.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(doing)

"""What asks a vendor runs in threads, while the event loop goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Value = TypeVar("Value")


async def in_thread(function: Callable[..., Value], *arguments: Any, **named: Any) -> Value:
    """In a thread that does not hold up the end of the process: a vendor may be slow to answer."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Value] = loop.create_future()

    def settle(error: BaseException | None, value: Any) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(value)

    def run() -> None:
        error, value = None, None
        try:
            value = function(*arguments, **named)
        except BaseException as raised:  # noqa: BLE001 - raised again where it is awaited
            error = raised
        try:
            loop.call_soon_threadsafe(settle, error, value)
        except RuntimeError:
            return  # The loop has ended, and nobody waits.

    threading.Thread(target=run, daemon=True, name="batten-vendor").start()
    return await done

"""Looks at a run at work until it ends: in one place of a terminal, elsewhere now and then."""

from __future__ import annotations

import sys
import time

from batten.cli.looking.screen import count_rows, find_size, fit_watch
from batten.cli.output import emit_lines, emit_object, flush_output
from batten.cli.text.watch_text import list_lines
from batten.inspect.watching import Sight, Watcher
from batten.model.words import State

TERMINAL_SECONDS = 1.0
ELSEWHERE_SECONDS = 10.0
"""Between two looks. One that takes long is followed by a pause four times as long."""


def watch(path: str, *, is_json: bool) -> bool:
    """Show what is there until no run is at work; False if Ctrl-C ended it before."""
    try:
        _watch(Watcher(path), is_json)
    except KeyboardInterrupt:
        return False
    return True


def _watch(watcher: Watcher, is_json: bool) -> None:
    shown = 0
    while True:
        began = time.monotonic()
        sight = watcher.look(began)
        if sight.state is not State.RUNNING:
            _erase(shown)
            return
        if is_json:
            emit_object(sight.to_json())
        else:
            shown = _draw(sight, shown)
        flush_output()
        pause = TERMINAL_SECONDS if find_size() is not None else ELSEWHERE_SECONDS
        time.sleep(max(pause, 4 * (time.monotonic() - began)))


def _draw(sight: Sight, shown: int) -> int:
    """In the place of what was shown; gives how many rows it takes now."""
    size = find_size()
    lines = list(list_lines(sight))
    if size is None:
        emit_lines(lines)
        return 0
    fitting = fit_watch(lines, *size)
    _erase(shown)
    emit_lines(fitting)
    return sum(count_rows(line, size[0]) for line in fitting)


def _erase(rows: int) -> None:
    if rows:
        sys.stdout.write(f"\x1b[{rows}A\x1b[J")

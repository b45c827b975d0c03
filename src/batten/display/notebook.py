"""A bar in a notebook: that of tqdm, where it is installed."""

from __future__ import annotations

import warnings
from typing import Any

from batten.display.rate import list_rest
from batten.printable import escape
from batten.run.progress import Status

_WITHOUT_ETA = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"


def find_notebook_bar() -> NotebookBar | None:
    """One to be shown, or None where tqdm is not installed."""
    try:
        with warnings.catch_warnings():
            # Where its widget is missing, tqdm draws with characters, and need not say so.
            warnings.simplefilter("ignore")
            from tqdm.auto import tqdm
    except ImportError:
        return None
    return NotebookBar(tqdm)


class NotebookBar:
    """A bar of tqdm that is set, not counted up: what was there before counts, too."""

    def __init__(self, make: Any) -> None:
        self._make = make
        self._bar: Any = None

    def show(self, status: Status) -> None:
        if self._bar is None:
            # What was there before is not of this run's speed.
            self._bar = self._make(total=status.source, initial=status.finished, unit=" items")
        self._bar.total = status.source
        self._bar.n = status.finished
        if status.is_stopping:
            self._bar.bar_format = _WITHOUT_ETA
        self._bar.set_postfix_str(", ".join(each.text for each in list_rest(status)), refresh=False)
        self._bar.refresh()

    def note(self, text: str) -> None:
        self._make.write(escape(text))

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

"""Lines of JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from batten.sources.text import RecordFile, Syntax, TextSource


class JsonLinesSource(TextSource):
    """The JSON values of a file in UTF-8, one a line; blank lines are no items.

    A line that cannot be understood is an item too, which is `Unavailable`; with `key`, so is one
    without that field, and its key is `//line:17`.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, key: str | None = None, folder: Path
    ) -> None:
        super().__init__(path, key=key, folder=folder)

    @property
    def identity(self) -> dict[str, str]:
        return self._describe("jsonl")

    def _begin(self, file: RecordFile) -> tuple[Syntax, int]:
        return JsonLinesSyntax(), 1


JSON_SPACE = " \t\r\n"

_decoder = json.JSONDecoder()


class JsonLinesSyntax:
    """A record is a line."""

    blank = b" \t\r\n"

    def is_open_after(self, line: bytes, is_open: bool) -> bool:
        return False

    def parse(self, data: bytes) -> Any:
        try:
            text = data.decode().strip(JSON_SPACE)
            value, end = _decoder.raw_decode(text)
            # What is wrong with the rest is told by the slower way.
            return value if end == len(text) else json.loads(text)
        except UnicodeDecodeError as error:
            raise ValueError(f"the line is not UTF-8: {error}") from error
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the line is not JSON: {error}") from error

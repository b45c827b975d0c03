"""JSON that somebody else may have written. All that is read from a file is parsed here."""

from __future__ import annotations

import json
from typing import Any


def parse_json(data: bytes | str) -> Any:
    """The value of a text in JSON. Bytes are UTF-8. Raises `ValueError` for what is none, and for
    what is nested too deeply."""
    try:
        # Of bytes, json would first find out which UTF they are.
        return json.loads(data if isinstance(data, str) else data.decode())
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error

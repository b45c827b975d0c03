"""Ages and sizes as arguments of commands."""

from __future__ import annotations

import argparse
import re

from batten.model.telling.sizes import parse_bytes

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_age(text: str) -> float:
    """Seconds of `90s`, `30m`, `24h`, `7d`; raises as argparse wants it."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not an age such as 90s, 30m, 24h or 7d")
    return float(match[1]) * _UNITS[match[2]]


def parse_size(text: str) -> int:
    """Bytes of `1000`, `500M`, `20GB`; raises as argparse wants it."""
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None

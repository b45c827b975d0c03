"""A small file of each item."""

import batten


def make(number: int) -> bytes:
    return number.to_bytes(8, "big") * 512


def pipeline(files: int) -> object:
    return batten.from_range(files).map(make).write_files("small/{key}.bin")

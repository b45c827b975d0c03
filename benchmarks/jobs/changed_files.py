"""A small file made of each file."""

import hashlib
from pathlib import Path

import batten


def digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).hexdigest().encode()


source = batten.from_files("in/*.txt", removed="drop")
pipeline = source.map(digest).write_files("by_batten/{stem}.txt")

"""Files of a few kilobytes that stand for more memory than a call may take."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from batten.model.disk.records import PART_KEY, seal_record

ROWS = 270
"""Of the part that has one long text in each; the others have two."""
_ABOUT = b"#" * 4096
"""In the place of what a part says of itself."""
_TEXT_BYTES = 300 << 20

_made: dict[str, bytes] = {}


def prepare_bombs(root: Path) -> None:
    """Make them, in a process of its own: they take much memory here, too."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            _write_all(root)
            status = 0
        finally:
            os._exit(status)
    if os.waitpid(pid, 0)[1]:
        raise RuntimeError("the bombs could not be made")
    for path in sorted(root.iterdir()):
        _made[path.name] = path.read_bytes()
        path.unlink()


def choose_part(dice: random.Random, described: bytes) -> bytes:
    """A part, which says `described` of itself: a record in JSON without its checksum."""
    name = dice.choice(sorted(each for each in _made if each.endswith("parquet")))
    room = len(_ABOUT) - len(seal_record(described).rstrip())
    # Spaces before an object are no part of what it says.
    own = seal_record(b" " * room + described).rstrip() if room >= 0 else _ABOUT
    return _made[name].replace(_ABOUT, own)


def choose_arrow(dice: random.Random) -> bytes:
    """A file of the plan, or a chunk."""
    return _made[dice.choice(sorted(each for each in _made if each.endswith("arrow")))]


def _write_all(root: Path) -> None:
    root.mkdir(parents=True)
    keys = pa.array(["0", "1"])
    zeros = pa.array(["0" * _TEXT_BYTES, ""])
    _write(root / "page.parquet", {"key": keys, "double": pa.array([0, 2]), "text": zeros}, ["key"])
    long = pa.DictionaryArray.from_arrays(pa.array([0] * ROWS, pa.int32()), ["x" * (1 << 20)])
    many = {"key": pa.array(["0"] * ROWS), "double": pa.array([0] * ROWS), "text": long}
    _write(root / "texts.parquet", many, ["key", "text"])
    nulls = pa.nulls(_TEXT_BYTES // 8, pa.int64())
    lists = pa.ListArray.from_arrays(pa.array([0, len(nulls), len(nulls)], pa.int32()), nulls)
    _write(root / "lists.parquet", {"key": keys, "double": lists, "text": keys}, ["key"])
    errors = {
        "key": many["key"],
        "item": many["double"],
        "error": long,
        "traceback": long,
        "attempts": many["double"],
        "time": many["key"],
    }
    _write(root / "errors.parquet", errors, ["key", "error", "traceback", "time"])
    binary = pa.array([b"\0" * (2 * _TEXT_BYTES)], pa.large_binary())
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    for name in ("value", "key"):
        table = pa.table({name: binary})
        with pa.ipc.new_file(str(root / f"{name}.arrow"), table.schema, options=options) as writer:
            writer.write_table(table)


def _write(path: Path, columns: dict[str, pa.Array], texts: list[str]) -> None:
    table = pa.table(columns).replace_schema_metadata({PART_KEY: _ABOUT.decode()})
    pq.write_table(table, path, compression="zstd", use_dictionary=texts, store_schema=False)

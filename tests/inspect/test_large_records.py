"""A record that is larger than any of its kind is damage, though nothing else is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batten.cli.main import main
from batten.model.disk.bounds import RECORD_BYTES_MAX
from batten.model.disk.records import Replacing, encode_record, open_record, seal_record
from batten.storage.base import READ_BYTES_MAX

Built = Any
"""One of conftest."""

FILES: dict[str, Callable[[Built], Path]] = {
    "config": lambda built: built.file(built.layout.config),
    "schema": lambda built: built.file(built.layout.schema),
    "segment": lambda built: built.file(built.layout.segment(0)),
    "commit": lambda built: built.commit(1),
    "completion": lambda built: built.file(built.layout.complete),
    "quarantine": lambda built: built.file(built.layout.quarantined(1)),
    "replacing": lambda built: built.file(built.layout.replacing),
}


def enlarge(path: Path, size: int) -> None:
    if size > READ_BYTES_MAX or path.suffix != ".json":
        os.truncate(path, size)
        return
    body = open_record(path.read_bytes())
    data = seal_record(body.replace(b"{", b"{" + b" " * size, 1))
    path.write_bytes(data)


@pytest.mark.parametrize("kind", FILES)
def test_it_is_told(build: Callable[..., Built], kind: str, capsys: Any) -> None:
    built = build()
    path = FILES[kind](built)
    if kind == "replacing":
        journal = Replacing(entries=["COMPLETE"], run="r", time="t")
        path.write_bytes(encode_record(journal))
    enlarge(path, RECORD_BYTES_MAX[kind] + 1)
    before = path.stat().st_mtime_ns
    # Of what failed, `diagnose` reads nothing.
    for command in ("verify",) if kind == "quarantine" else ("diagnose", "verify"):
        code = main([command, str(built.path)])
        told = "".join(capsys.readouterr())
        assert code == 4, (command, told)
        assert path.name in told
        assert "than any file of its kind" in told, told
    for command in ("show", "clean", "recover"):
        assert main([command, str(built.path)]) in (0, 4, 5)
    assert path.stat().st_mtime_ns == before

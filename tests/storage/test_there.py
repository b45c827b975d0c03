"""What can't be looked at is not taken for what is not there, on any version of Python."""

from __future__ import annotations

from collections.abc import Callable
from errno import ENAMETOOLONG
from pathlib import Path

import pytest

from batten.storage.local.there import exists, is_file, is_folder, is_link

ALL = pytest.mark.parametrize("ask", [exists, is_file, is_folder, is_link])


@ALL
def test_what_cannot_be_told_raises(ask: Callable[[Path], bool], tmp_path: Path) -> None:
    with pytest.raises(OSError, match="name too long") as raised:
        ask(tmp_path / ("x" * 300))
    assert raised.value.errno == ENAMETOOLONG


@ALL
def test_what_is_not_there(ask: Callable[[Path], bool], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("missing", "file/below", "zero\0byte"):
        assert not ask(tmp_path / name)


def test_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "link").symlink_to("file")
    kinds = {
        name: [ask(tmp_path / name) for ask in (exists, is_file, is_folder, is_link)]
        for name in (".", "file", "loop", "link")
    }
    assert kinds == {
        ".": [True, False, True, False],
        "file": [True, True, False, False],
        "loop": [False, False, False, True],
        "link": [True, True, False, True],
    }

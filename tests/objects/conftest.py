"""A real object store, which all tests share; each has a prefix of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from batten.crashlab.servers.object_server import BUCKET, ObjectStoreServer
from batten.storage.staged_here import FOLDER_VARIABLE


@pytest.fixture(scope="session", autouse=True)
def _staged_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is left among the user's caches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("staged")))
        yield


@pytest.fixture(scope="session")
def objects() -> Iterator[ObjectStoreServer]:
    with ObjectStoreServer() as server:
        yield server


@pytest.fixture
def prefix(objects: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """An address under which nothing is, and the environment that leads there."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "staged"))
    for name, value in objects.environment().items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{os.urandom(6).hex()}"

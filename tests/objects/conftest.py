"""A real object store, which all tests share; each has a prefix of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from batten.crashlab.object_server import BUCKET, ObjectStoreServer


@pytest.fixture(scope="session")
def objects() -> Iterator[ObjectStoreServer]:
    with ObjectStoreServer() as server:
        yield server


@pytest.fixture
def prefix(objects: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """An address under which nothing is, and the environment that leads there."""
    for name, value in objects.environment().items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{os.urandom(6).hex()}"

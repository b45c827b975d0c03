"""What all tests share: one seed for everything random, printed, and no deadlines."""

from __future__ import annotations

import os
import random
import secrets

import hypothesis
import pytest

hypothesis.settings.register_profile("batten", deadline=None, print_blob=True)
hypothesis.settings.load_profile("batten")

SEED = "BATTEN_SEED"


def pytest_configure() -> None:
    """Choose the seed where none is given. The workers of xdist inherit it."""
    os.environ.setdefault(SEED, str(secrets.randbits(32)))


def pytest_report_header() -> str:
    return f"{SEED}={os.environ[SEED]}"


@pytest.fixture
def seeded(request: pytest.FixtureRequest) -> random.Random:
    """Randomness that depends on the seed and on the test, not on the order of tests."""
    return random.Random(f"{os.environ[SEED]} {request.node.nodeid}")

"""Commands are tried here as users run them: each by a new Python."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import JobFolder


@pytest.fixture
def job(job: JobFolder) -> JobFolder:
    return dataclasses.replace(job, is_executed=True)

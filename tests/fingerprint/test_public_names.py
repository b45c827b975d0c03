"""A fingerprint names what batten gives as users import it, wherever in the package it lies."""

from __future__ import annotations

from typing import Any

from batten import Limits, Pipeline, StorageError, publish_file, usage
from batten.fingerprint.functions import describe_function

LIMITS = Limits(requests_per_minute=2)
AT_HAND = (publish_file, LIMITS)


def work(item: str, limits: Limits = LIMITS, error: type = StorageError) -> Any:
    publish_file(item, b"")
    usage(dollars=1)
    return Pipeline, AT_HAND, limits, error


def values(parts: dict[str, str]) -> dict[str, str]:
    """By the last word of their names."""
    return {name.replace(":", ".").split(".")[-1].strip(): text for name, text in parts.items()}


def test_a_module_that_moved_changes_no_fingerprint() -> None:
    found = values(describe_function(work).parts)

    assert found["publish_file"] == "function batten.publish_file"
    assert found["usage"] == "function batten.usage"
    assert found["Pipeline"] == "class batten.Pipeline"
    assert found["error"] == "class batten.StorageError"
    assert found["limits"] == "batten.Limits"
    assert found["AT_HAND"] == "(function batten.publish_file, batten.Limits)"


def test_what_batten_0_1_wrote_is_compared_with_the_names_that_it_had() -> None:
    found = values(describe_function(work).parts_before)

    assert found["publish_file"] == "function batten.storage.atomic.publish_file"
    assert found["Pipeline"] == "class batten.engine.pipeline.Pipeline"
    assert found["error"] == "class batten.errors.StorageError"
    assert found["limits"] == "batten.executors.limits.Limits"
    assert found["AT_HAND"].startswith("(function batten.storage.atomic.publish_file, ")

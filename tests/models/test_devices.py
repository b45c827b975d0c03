"""Which devices a step's own workers get, and how each of them sees its own alone."""

from __future__ import annotations

from typing import Any

import pytest

import batten
from batten.errors import UsageError
from batten.jobs.devices import AUTO, VISIBLE, Device, Devices, find_devices, read_devices


def seen(name: str) -> Device:
    return Device(name="cuda:0", environment={VISIBLE: name})


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        (2, ("cuda:0", "cuda:1")),
        ("cpu", ("cpu",)),
        (["xpu:1", "xpu:1"], ("xpu:1", "xpu:1")),
        (AUTO, AUTO),
        (None, None),
    ],
)
def test_devices_are_named_counted_or_looked_for(wanted: Any, meant: object) -> None:
    assert read_devices(wanted) == meant


@pytest.mark.parametrize("wanted", [0, -1, True, [], [""], [0], "", {"cuda:0": 1}, b"cpu", 1.5])
def test_what_names_no_device_is_refused(wanted: Any) -> None:
    with pytest.raises(UsageError, match="devices is"):
        batten.from_range(1).map(str, devices=wanted)


@pytest.mark.parametrize(
    ("wanted", "visible", "found"),
    [
        (("cuda:1",), None, [seen("1")]),
        (("cuda",), None, [seen("0")]),
        (("cuda:1", "cuda:0"), "4,5", [seen("5"), seen("4")]),
        (AUTO, "4, GPU-8f2c", [seen("4"), seen("GPU-8f2c")]),
        (AUTO, "4,-1,5", [seen("4")]),
        (AUTO, "", [Device(name="cpu", environment={})]),
        (("xpu:1",), "4", [Device(name="xpu:1", environment={})]),
    ],
)
def test_a_worker_sees_the_device_that_is_meant(
    wanted: Devices, visible: str | None, found: list[Device]
) -> None:
    environment = {} if visible is None else {VISIBLE: visible}
    assert find_devices(wanted, environment) == found


def test_a_device_that_is_hidden_from_the_run_is_refused() -> None:
    with pytest.raises(UsageError, match="'cuda:1', and CUDA_VISIBLE_DEVICES shows 1"):
        find_devices(("cuda:0", "cuda:1"), {VISIBLE: "7"})

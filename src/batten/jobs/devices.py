"""What a worker is, and the devices that a step's own workers compute on: one each."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from batten.errors import UsageError, usage_error
from batten.model.value_class import value_class

Devices = tuple[str, ...] | Literal["auto"]

AUTO: Literal["auto"] = "auto"
PROCESSOR = "cpu"
"""The device where there is no other."""

VISIBLE = "CUDA_VISIBLE_DEVICES"
_GPUS = "/proc/driver/nvidia/gpus"
_CUDA = "cuda"


@value_class
class Worker:
    """The worker that a class is constructed in, if its `__init__` has a parameter `worker`.

    Attributes:
        index: The number of the worker, from 0 on. Who takes the place of one that ended has its
            number.
        device: What the worker computes on, as `model.to(device)` takes it; None if the step names
            no devices. A parameter `device` of `__init__` is given this alone.
    """

    index: int = 0
    device: str | None = None


@value_class
class Device:
    """`name` is what a class is given where it is the only one of its kind that the worker sees,
    by this `environment`."""

    name: str
    environment: Mapping[str, str]


def read_devices(wanted: Any) -> Devices | None:
    """What `devices=` of a step means. Raises `UsageError`."""
    if wanted is None or (isinstance(wanted, str) and wanted == AUTO):
        return wanted
    if isinstance(wanted, int) and not isinstance(wanted, bool) and wanted > 0:
        return tuple(f"{_CUDA}:{number}" for number in range(wanted))
    named = [wanted] if isinstance(wanted, str) else wanted
    if isinstance(named, Iterable) and not isinstance(named, Mapping | bytes):
        listed = list(named)
        if listed and all(isinstance(each, str) and each for each in listed):
            return tuple(listed)
    raise usage_error(
        f"devices is {wanted!r}.",
        'Give names, devices=["cuda:0", "cuda:1"], how many GPUs, devices=2, or "auto".',
    )


def find_devices(wanted: Devices, environment: Mapping[str, str]) -> list[Device]:
    """Those that the names mean, for a process with this environment. Raises `UsageError` where one
    is hidden from it."""
    seen = _list_visible(environment)
    if wanted == AUTO:
        count = len(seen) if seen is not None else _count_gpus()
        wanted = tuple(f"{_CUDA}:{number}" for number in range(count)) or (PROCESSOR,)
    return [_find_device(name, seen) for name in wanted]


def first_device(wanted: Devices, environment: Mapping[str, str]) -> str:
    """What a class is given in a worker that all steps share, and from which none is hidden."""
    return find_devices(AUTO, environment)[0].name if wanted == AUTO else wanted[0]


def needs_cuda(wanted: Devices | None, environment: Mapping[str, str]) -> bool:
    """Whether a GPU is meant whose driver does not survive a fork."""
    if wanted is None:
        return False
    return _is_cuda(first_device(wanted, environment)) or any(map(_is_cuda, wanted))


def _is_cuda(name: str) -> bool:
    return name.partition(":")[0] == _CUDA


def _find_device(name: str, seen: list[str] | None) -> Device:
    number = name.partition(":")[2]
    if not _is_cuda(name) or not (number.isdecimal() or not number):
        return Device(name=name, environment={})
    place = int(number or 0)
    if seen is None:
        return Device(name=f"{_CUDA}:0", environment={VISIBLE: str(place)})
    if place >= len(seen):
        raise UsageError(
            f"The job asks for the device {name!r}, and {VISIBLE} shows {len(seen)}.",
            safe="Nothing was computed.",
            next=f'Ask for those that are there, devices="auto", or set {VISIBLE}.',
        )
    return Device(name=f"{_CUDA}:0", environment={VISIBLE: seen[place]})


def _list_visible(environment: Mapping[str, str]) -> list[str] | None:
    """The GPUs that the environment shows; None if it says nothing. What follows one that can't be
    is hidden, as CUDA has it."""
    text = environment.get(VISIBLE)
    if text is None:
        return None
    seen: list[str] = []
    for each in map(str.strip, text.split(",")):
        if not each or each.startswith("-") or each in seen:
            break
        seen.append(each)
    return seen


def _count_gpus() -> int:
    try:
        return len(os.listdir(_GPUS))
    except OSError:
        return 0

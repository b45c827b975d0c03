"""Every durable step has a name, so that a crash or a failure can be put before and after each.

`observer(moment, step, name)` is called with moment "before" and "after"; what it raises before
a step stands for the step's own failure. Environment variables install one from `faults`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal, ParamSpec, TypeVar, get_args

Step = Literal[
    "stage.create",
    "stage.write",
    "stage.sync",
    "stage.discard",
    "publish.link",
    "publish.rename",
    "replace.rename",
    "exchange",
    "sync_names",
    "make_folder",
    "make_link",
    "link",
    "set_attributes",
    "delete",
    "append",
    "append_log",
    "lock",
    "lock.write",
    "lock.clear",
    "publish_file.create",
    "publish_file.sync",
    "publish_file.rename",
    "publish_directory.create",
    "publish_directory.sync",
    "publish_directory.rename",
    "folder.move",
    "folder.protect",
    "folder.unprotect",
    "folder.remove",
    "file.create",
    "file.write",
    "file.sync",
    "file.cut",
    "file.set_time",
    "file.protect",
    "file.remove",
]
STEPS: tuple[str, ...] = get_args(Step)

Observer = Callable[[str, str, str], None]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

observer: Observer | None = None


def do(
    step: Step,
    name: str,
    action: Callable[Arguments, Result],
    *arguments: Arguments.args,
    **options: Arguments.kwargs,
) -> Result:
    """Do one durable step on the file or folder called `name`. There is no "after" if it raises."""
    if observer is None:
        return action(*arguments, **options)
    observer("before", step, name)
    result = action(*arguments, **options)
    observer("after", step, name)
    return result


if any(variable.startswith("BATTEN_") for variable in os.environ):
    from batten.storage.changing import faults

    observer = faults.find_observer(os.environ)

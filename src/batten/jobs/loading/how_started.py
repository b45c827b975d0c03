"""How the job of this process was started: by `batten run`, or by a program of Python."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from batten.fingerprint.ownership import namespace_of_module
from batten.model.disk.bounds import Damaged, build
from batten.model.disk.runs.job_calls import (
    BATTEN,
    JOB_BYTES_MAX,
    MODULE,
    SCRIPT,
    UNKNOWN_CALL,
    JobCall,
)
from batten.model.telling.hiding import is_secret, read_secret_name
from batten.storage.digests import find_digest_of_path
from batten.storage.local.there import current_folder

if TYPE_CHECKING:
    from batten.jobs.loading.job_file import Job


def describe_call(
    job: Job[Any], parameters: Mapping[str, str], options: Mapping[str, object]
) -> JobCall:
    """The call of `batten run` in the current folder. `parameters` and `options` are the given
    ones; an option that was not given is None."""
    file = os.path.abspath(job.path)
    # The name of the variable that holds a secret may be told.
    withheld = [
        name
        for name, text in parameters.items()
        if is_secret(name, text) and not read_secret_name(job.parameters.get(name, ""))
    ]
    call = replace(
        UNKNOWN_CALL,
        kind=BATTEN,
        folder=current_folder(),
        file=file,
        name=job.name if job.is_named else "",
        asked_module=job.asked_module,
        digest=find_digest_of_path(file, bytes_max=JOB_BYTES_MAX),
        parameters={name: text for name, text in parameters.items() if name not in withheld},
        withheld=withheld,
        options={key: f"{value}" for key, value in options.items() if value is not None},
    )
    try:
        kept: JobCall = build(JobCall, vars(call))
    except Damaged:
        return UNKNOWN_CALL
    return kept


def observe_caller() -> JobCall:
    """That of a program that runs a pipeline itself, as far as its main module tells."""
    unknown = replace(UNKNOWN_CALL, folder=current_folder())
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    if main is None or not isinstance(file, str) or not os.path.isfile(file):
        return unknown
    if not namespace_of_module(main).is_own:
        return unknown
    known = replace(unknown, has_arguments=len(sys.argv) > 1)
    if main.__spec__ is not None:
        name = main.__spec__.name.removesuffix(".__main__")
        return replace(known, kind=MODULE, module=name)
    file = os.path.abspath(file)
    digest = find_digest_of_path(file, bytes_max=JOB_BYTES_MAX)
    return replace(known, kind=SCRIPT, file=file, digest=digest)

"""Names of parameters in paths: `out/refunds_{run_date}.csv`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from batten.errors import usage_error
from batten.model.telling.hiding import is_secret, read_secret_name

_NAME = re.compile(r"\{([A-Za-z_]\w*)\}")


def make_filler(parameters: Mapping[str, str]) -> Callable[[str], str]:
    """What puts values in the place of names; raises `UsageError` for a name that no parameter has
    or a value that would lead elsewhere."""

    def value_of(match: re.Match[str]) -> str:
        name = match[1]
        value = parameters.get(name)
        if value is None:
            known = ", ".join(parameters) or "none"
            raise usage_error(
                f"The path holds {match[0]}, and there is no parameter {name!r}.",
                f"Give it: --param {name}=…; the job's parameters are: {known}.",
            )
        if is_secret(name, value) or read_secret_name(value):
            raise usage_error(
                f"The path holds {match[0]}, and {name} looks like a secret: it would be part of a "
                "file's name.",
                "Take it out of the path; name the output by something else.",
            )
        if "/" in value or "\0" in value or value in ("", ".", ".."):
            raise usage_error(
                f"The parameter {name} is {value!r}, which can't be part of a file's name.",
                "Give a value without a slash.",
            )
        return value

    return lambda text: _NAME.sub(value_of, text)

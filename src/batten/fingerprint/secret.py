"""A key or a password that a job uses and batten never keeps."""

from __future__ import annotations

import os
import re
from typing import Any

from batten.errors import usage_error
from batten.model.telling.disguises import CHARACTERS_MIN, take_out
from batten.model.telling.hiding import is_secret_text

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_USUAL_NAME = re.compile(r"[A-Z_][A-Z0-9_]*", re.ASCII)

_made: dict[str, None] = {}


class Secret:
    """A secret by the name of the environment variable that holds it: `batten.Secret("API_KEY")`.

    Only the name is ever stored, shown or compared. So a run goes on when the value was changed.
    Before it writes anything, a run checks that the variables are set.

    As an annotation of a job's parameter (`def pipeline(api_key: batten.Secret)`) the parameter's
    value is the name of the variable: `--param api_key=OPENAI_API_KEY`.

    Args:
        name: The name of the variable.

    Raises:
        UsageError: `name` is no name of a variable. Nothing was read or written.
    """

    __slots__ = ("__weakref__", "name")

    def __init__(self, name: str) -> None:
        if not is_variable_name(name):
            raise usage_error(
                "batten.Secret takes the name of an environment variable, not the value.",
                'Set the variable outside of the job, and name it: batten.Secret("API_KEY").',
            )
        self.name = name
        _made[name] = None

    def __call__(self) -> str:
        """Read the value from the environment, now; in a worker, too.

        Returns:
            The value.

        Raises:
            UsageError: The variable is not set, or is empty. Nothing was read or written.
        """
        value = os.environ.get(self.name)
        if value:
            return value
        problem = "is empty" if value is not None else "is not set"
        raise usage_error(
            f"The environment variable {self.name} {problem}, and batten.Secret reads it.",
            f"Set it (export {self.name}=…), then run the same command again.",
        )

    def __repr__(self) -> str:
        return f"Secret({self.name!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.name == self.name

    def __hash__(self) -> int:
        return hash((Secret, self.name))

    def __reduce__(self) -> tuple[Any, ...]:
        return (Secret, (self.name,))


def is_variable_name(name: object) -> bool:
    """Whether it may name an environment variable, and does not look like what one holds."""
    return isinstance(name, str) and bool(_NAME.fullmatch(name)) and not is_secret_text(name)


def read_parameter(text: str) -> Secret:
    """A job's parameter as a secret: `text` is the name of a variable, which is set. Raises
    `ValueError` that does not tell the text, where that may be the secret itself."""
    name = text.removeprefix("Secret('").removesuffix("')")
    if not is_variable_name(name) or not (_USUAL_NAME.fullmatch(name) or name in os.environ):
        raise ValueError("not the name of an environment variable that is set")
    return Secret(name)


def secret_values() -> dict[str, str]:
    """The names of the secrets that this process knows, by their values of now."""
    found = {os.environ.get(name, ""): name for name in _made}
    return {value: name for value, name in found.items() if len(value) >= CHARACTERS_MIN}


def blot(text: str) -> str:
    """The text with names in the place of the values of secrets; for errors that others wrote."""
    values = secret_values() if _made else {}
    return take_out(text, values, lambda name: f"Secret({name!r})") if values else text
